// Kernels that two machines run, one after the other on the same memory: what both leave there must be the same bits.
// Between the emulated GPU and PTX, two compilers of one source, there are exceptions:
//
// - fma.rn.f32: nvcc fuses products with sums, the emulated GPU's compiler does not. No exception: here PTX rounds
// both.
// - log2 and tanh, of lse and softcap: nvcc makes sequences of fma.rn.f32, ex2.approx and rcp.approx of them, with an
//   error of a unit or two in the last place, where the emulated GPU calls the host's library. Results of attention and
//   merging may differ by what that makes: 2^-12 of a number, 2^-18 of the largest of its allocation, or a unit in
//   the last place of 16-bit elements; in kernels of 16 bits, where a weight may round the other way, 2^-12 of the
//   largest.
//   Those of selection, which has neither, may not differ at all.
// - NaN: any is like any other, as which one arithmetic makes is left to the machine.
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
