// The backends of this build. Reader: whoever adds one, and the emulated addon of the tests, which has another list.
#pragma once

#include <vector>

#include "../core/op/backend.h"

namespace tilewise {

// The CPU first, then devices in the order in which lib/ prefers them; one that is not available says why. They outlive
// every thread. The first call looks for devices, which takes time where there are some.
const std::vector<Backend*>& backends();

}  // namespace tilewise
