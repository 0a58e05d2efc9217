// The numbers to tune in a GPU's rotary embedding; none of them is measured yet. Reader: someone with a GPU and a
// benchmark. Host and device read the same numbers.
#pragma once

namespace tilewise::cuda {

// Threads of a block, each of which turns one piece of a row and its partner. Not measured.
constexpr int kRotaryThreads = 128;

}  // namespace tilewise::cuda
