// The numbers to tune in the CPU's rotary embedding. Reader: whoever tunes.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Tokens that a thread takes at once. Not measured.
constexpr Token kTokensPerItem = 16;

}  // namespace tilewise::cpu
