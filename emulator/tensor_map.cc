// The rules of cuTensorMapEncodeTiled, for 16-bit elements without interleaving, steps or other fills than zero.
#include "tensor_map.h"

#include <cstring>
#include <string>

#include "emulator.h"

namespace tilewise::emulator {
namespace {

constexpr uint16_t kMagic = 0x7E4A;

void require(bool isMet, const char* rule) {
  if (!isMet) throw Error(std::string("tensor map: ") + rule);
}

}  // namespace

uint32_t SoftTensorMap::rows() const {
  uint32_t count = 1;
  for (int d = 1; d < rank; ++d) count *= box[d];
  return count;
}

uint64_t SoftTensorMap::extentBytes() const {
  uint64_t bytes = dims[0] * kElementBytes;
  for (int d = 1; d < rank; ++d) bytes += (dims[d] - 1) * strides[d - 1];
  return bytes;
}

bool readTensorMap(SoftTensorMap& map, const void* bytes) {
  std::memcpy(&map, bytes, sizeof map);
  return map.magic == kMagic;
}

cuda::TensorMap makeTensorMap(const TensorShape& shape) {
  require(shape.rank >= 1 && shape.rank <= 5, "rank is 1 to 5");
  require(reinterpret_cast<uintptr_t>(shape.base) % 16 == 0, "base is a multiple of 16 bytes");
  SoftTensorMap map{};
  map.base = reinterpret_cast<uint64_t>(shape.base);
  map.rank = uint16_t(shape.rank);
  map.swizzleBytes = uint16_t(shape.swizzleBytes);
  map.magic = kMagic;
  for (int d = 0; d < shape.rank; ++d) {
    require(shape.dims[d] >= 1 && shape.dims[d] <= 1ull << 32, "dims are 1 to 2^32");
    require(shape.box[d] >= 1 && shape.box[d] <= 256, "boxes are 1 to 256");
    map.dims[d] = shape.dims[d];
    map.box[d] = uint16_t(shape.box[d]);
  }
  for (int d = 0; d + 1 < shape.rank; ++d) {
    require(shape.strides[d] % 16 == 0 && shape.strides[d] < 1ull << 40, "strides are multiples of 16 below 2^40");
    map.strides[d] = shape.strides[d];
  }
  const int innerBytes = int(shape.box[0] * kElementBytes);
  require(innerBytes % 16 == 0, "the inner box is a multiple of 16 bytes");
  const int span = shape.swizzleBytes;
  require(span == 0 || span == 32 || span == 64 || span == 128, "swizzles are 0, 32, 64 or 128 bytes");
  // Narrower is allowed on the machine; how it pads is not documented.
  require(span == 0 || innerBytes == span, "the inner box is as wide as the swizzle");
  cuda::TensorMap encoded{};
  std::memcpy(&encoded, &map, sizeof map);
  return encoded;
}

}  // namespace tilewise::emulator
