// Kernels that two machines run, one after the other on the same memory: what both leave there must be the same bits.
// Reader: machines.cc.
#pragma once

#include "local_machine.h"

namespace tilewise::emulator {

// Any NaN is like any other: which one arithmetic makes is left to the machine.
FindKernel twins(FindKernel first, FindKernel second);

}  // namespace tilewise::emulator
