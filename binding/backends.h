// The backends of this build. Reader: someone who adds one. Nothing else in binding/ knows them by name.
#pragma once

#include <vector>

#include "../core/op/backend.h"

namespace tilewise {

// The CPU, the first of backends(); a call on it need not look for devices.
Backend& host();

// The host first, then devices in the order in which lib/ prefers them; one that is not available says why. They
// outlive every thread. The first call looks for devices, which takes time where there are some.
const std::vector<Backend*>& backends();

}  // namespace tilewise
