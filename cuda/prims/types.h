// What a primitive takes and gives, the same bits on a GPU and emulated.
// Reader: anyone who writes a kernel or a primitive. Included through prims.h.
#pragma once

#include <cstdint>

#include "../../core/base/platform.h"

namespace tilewise::cuda {

// Storage of 16 bits. Arithmetic on it happens in tensor cores only.
struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

// An address in the block's shared window: what PTX wants, and what the emulator can check.
using saddr = uint32_t;

// A CUtensorMap on the device, a description of the same tensor when emulated.
struct alignas(64) TensorMap {
  uint64_t opaque[16];
};

// Which way round an operand of wgmma is in shared memory: consecutive along k, or along m (n).
enum class Major { k, mn };

// The encoding of a shared memory descriptor, which is not the order of CUtensorMapSwizzle.
enum class Swizzle : uint32_t { none = 0, b128 = 1, b64 = 2, b32 = 3 };

// Where an operand of wgmma is: PTX ISA, "Matrix Descriptor". Offsets in bytes, multiples of 16.
TW_HOST_DEVICE constexpr uint64_t smem_desc(uint32_t start, uint32_t leadingOffset, uint32_t strideOffset,
                                            Swizzle swizzle) {
  return uint64_t((start & 0x3FFFF) >> 4) | uint64_t((leadingOffset & 0x3FFFF) >> 4) << 16 |
         uint64_t((strideOffset & 0x3FFFF) >> 4) << 32 | uint64_t(swizzle) << 62;
}

}  // namespace tilewise::cuda
