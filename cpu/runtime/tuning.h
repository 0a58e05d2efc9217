// The numbers to tune that all operations of the CPU share. Reader: whoever tunes.
#pragma once

#include <chrono>

namespace tilewise::cpu {

// Floating-point operations of a problem below which one thread works alone: waking others costs more than they save.
// From notes on another machine, not measured here.
constexpr double kSerialFlops = 5e6;

// Calls of fewer floating-point operations go before longer ones: about a millisecond of a core. And the time that they
// may be ahead of those on a thread. Not measured against others.
constexpr double kShortFlops = 1e8;
constexpr std::chrono::steady_clock::duration kShortSpell = std::chrono::milliseconds(5);

}  // namespace tilewise::cpu
