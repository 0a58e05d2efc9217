// What a TensorMap holds on both machines of this folder, where the driver would have encoded it.
// Reader: tma_copies.cc, tensor_map.cc.
#pragma once

#include <cstdint>

#include "../cuda/prims/types.h"

namespace tilewise::emulator {

constexpr uint32_t kElementBytes = 2;

struct SoftTensorMap {
  uint64_t base;
  uint64_t dims[5];
  uint64_t strides[4];  // of dims 1 and up, in bytes
  uint16_t box[5];
  uint16_t swizzleBytes;
  uint16_t rank;
  uint16_t magic;

  uint32_t rows() const;  // of the innermost dimension, in a box
  uint32_t boxBytes() const { return rows() * box[0] * kElementBytes; }
  uint64_t extentBytes() const;  // from the first element to past the last
};
static_assert(sizeof(SoftTensorMap) <= sizeof(cuda::TensorMap));

// False where the bytes of a TensorMap are none.
bool readTensorMap(SoftTensorMap& map, const void* bytes);

// Swizzle<b, 4, 3>: bits 4 and up of an address are xored with its bits 7 and up, as many as the span has chunks of 16.
inline uint32_t swizzled(uint32_t address, uint32_t spanBytes) {
  if (spanBytes <= 16) return address;
  return address ^ ((address >> 7 & (spanBytes / 16 - 1)) << 4);
}

}  // namespace tilewise::emulator
