// The numbers to tune in the CPU's append. Reader: whoever tunes.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Tokens that a thread copies at once. Not measured.
constexpr Token kTokensPerItem = 32;

}  // namespace tilewise::cpu
