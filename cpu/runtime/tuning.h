// The numbers to tune that all operations of the CPU share. Reader: whoever tunes.
#pragma once

namespace tilewise::cpu {

// Floating-point operations of a problem below which one thread works alone: waking others costs more than they save.
// From notes on another machine, not measured here.
constexpr double kSerialFlops = 5e6;

}  // namespace tilewise::cpu
