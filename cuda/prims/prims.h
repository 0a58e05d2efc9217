// The one door through which kernels reach the machine. Every primitive is named after its PTX instruction and exists
// twice: as inline PTX (ptx/) and as an emulated operation (emulator, with TILEWISE_EMULATE).
// Reader: whoever writes a kernel. It includes this and core; has no asm, no #ifdef and no __shared__; holds shared
// memory as `saddr`; and so compiles unchanged for both. All lanes of a warp call a .sync.aligned primitive together.
#pragma once

#include "types.h"

#if defined(TILEWISE_EMULATE)
// On the include path that emulator adds: nothing that is shipped knows where it is.
#include "emulated_prims.h"
#elif defined(__CUDACC__)
#include "ptx/shared.h"
#include "ptx/global.h"
#include "ptx/async_copy.h"
#include "ptx/matrix.h"
#include "ptx/math.h"
#include "ptx/warp.h"
#include "ptx/barrier.h"
#include "ptx/mbarrier.h"
#include "ptx/tma.h"
#include "ptx/wgmma.h"
#else
#error "kernels are compiled by nvcc, or with TILEWISE_EMULATE for the host"
#endif
