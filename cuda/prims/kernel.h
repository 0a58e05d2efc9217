// TW_KERNEL: how an entry point is declared.
//
//     TW_KERNEL(attention_bf16_128, AttentionParams, 128, 2) { attend<bf16, 128>(p); }
//
// A kernel of that unmangled name whose one parameter is `const AttentionParams& p`, plain data of at most 4 KB; run by
// blocks of 128 threads, of which a multiprocessor should hold 2. Threads and blocks may be constant expressions;
// such as contain a comma go in parentheses. Write it in a .cu of cuda/kernels, whose name is the kernel's module, and
// the Machine finds it by module and name: in the module's image on a GPU, in a registry when emulated.
// Reader: whoever adds a kernel.
#pragma once

#include "prims.h"

#if defined(TILEWISE_EMULATE)
#include "emulated_kernel.h"
#else
#include <type_traits>

#define TW_KERNEL(name, Params, threads, minBlocks)                                                  \
  static_assert(sizeof(Params) <= 4096, #name ": parameters are limited to 4 KB");                   \
  static_assert(std::is_trivially_copyable_v<Params>, #name ": parameters are copied byte by byte"); \
  extern "C" __global__ void __launch_bounds__((threads), (minBlocks)) name(const __grid_constant__ Params p)
#endif
