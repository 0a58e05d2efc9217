// The pattern of a request. Reader: someone who adds a pattern.
#pragma once

#include "reading.h"
#include "request.h"

namespace tilewise {

// The pattern's numbers, once the sizes are read; throws what does not fit them.
void readPattern(const Numbers& n, AttentionRequest& request);
// Its lists and its bias.
void readPatternViews(const Numbers& n, const Views& views, AttentionRequest& request);

}  // namespace tilewise
