// Kernels that two machines run, one after the other on the same memory: what both leave there must be the same bits,
// but for what compilers make of the same source:
//
//   fma.rn.f32   nvcc fuses products with sums, the emulated GPU's compiler does not: here PTX rounds both, as the
//   source says log2, tanh   of lse and softcap: nvcc makes sequences of fma.rn.f32, ex2.approx and rcp.approx of them,
//   with an error of
//                a unit or two, where the emulated GPU calls the host's library; numbers may differ by what that makes
//   any NaN      is like any other: which one arithmetic makes is left to the machine
//
// How many words differ is said when the program ends.
// Reader: machines.cc.
#pragma once

#include "local_machine.h"

namespace tilewise::emulator {

enum class Likeness {
  compiled,  // as above: the emulated GPU, and PTX
  exact,  // two versions of the PTX: no bit may differ, but of NaN
};
FindKernel twins(FindKernel first, FindKernel second, Likeness likeness);

}  // namespace tilewise::emulator
