// An operand of wgmma laid out in shared memory, from the table of canonical layouts: nested modes and a swizzle,
// evaluated literally. PTX ISA, "Canonical layouts" and "Strides".
// Reader: wgmma.cu.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace tilewise::cuda::conformance {

// For the kernel: descriptor fields, and the start of each of the four slices of k16.
struct Operand {
  int swizzleField, leadingOffset, strideOffset;
  int starts[4];
  int bytes;
};

struct Layout {
  bool isMnMajor;
  int swizzleBytes;  // 0, 32, 64 or 128
  int extent;        // m or n
  bool isFarFirst;   // which offset is the near one; padding between core matrices
};

struct Image {
  Operand operand;
  std::vector<uint16_t> data;
};

// (extent x 64) elements value(mn, k).
Image makeImage(const Layout& layout, const std::function<uint32_t(int, int)>& value);

}  // namespace tilewise::cuda::conformance
