// The numbers to tune in the CPU's merge. Reader: whoever tunes.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Rows that a thread takes at once. Not measured.
constexpr Token kRowsPerItem = 256;

}  // namespace tilewise::cpu
