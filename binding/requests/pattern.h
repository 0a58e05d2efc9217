// The pattern of a request. Reader: someone who adds a pattern.
#pragma once

#include "../../core/op/attention.h"
#include "ops.h"
#include "reading.h"

namespace tilewise {

// The fields and views of an attention request: those of fields.h, then those of the patterns.
extern const Names kAttentionFields, kAttentionViews;

// The pattern's numbers, once the sizes are read; throws what does not fit them.
void readPattern(const Numbers& n, AttentionProblem& p);
// Its lists.
void readPatternViews(const Numbers& n, const Views& views, AttentionProblem& p);

}  // namespace tilewise
