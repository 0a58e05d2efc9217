// Images of operands: for each element, its place by the canonical layout.
#include "operand.h"

#include "../../mode.h"

namespace tilewise::cuda::conformance {
namespace {

constexpr int kDepth = 64, kChunk = 8;  // elements

struct Canonical {
  Mode mn, k;
  int swizzleBits;
};

// The table, with T = 8 elements of 16 bits; offsets in elements.
Canonical canonical(const Layout& layout, int leading, int stride) {
  const int wide = layout.swizzleBytes / 16, rows = 1 << 16;
  const int bits = layout.swizzleBytes == 128 ? 3 : layout.swizzleBytes / 32;
  if (layout.isMnMajor && wide != 0) {
    return {{{8, wide, rows}, {1, 8, leading}}, {{8, rows}, {8 * wide, stride}}, bits};
  }
  if (layout.isMnMajor) return {{{8, 1, rows}, {1, 8, stride}}, {{8, rows}, {8, leading}}, 0};
  if (wide != 0) return {{{8, rows}, {8 * wide, stride}}, {{8, rows}, {1, 8}}, bits};
  return {{{8, rows}, {8, stride}}, {{8, rows}, {1, leading}}, 0};
}

int swizzled(int byte, int bits) { return byte ^ (byte >> 7 & ((1 << bits) - 1)) << 4; }

class Builder {
 public:
  Builder(const Layout& layout, const std::function<uint32_t(int, int)>& value) : layout_(layout), value_(value) {}

  // Places every element; `panel` bytes further for each `panelDepth` of k.
  Image build(int leading, int stride, int panelDepth, int panel) {
    const Canonical table = canonical(layout_, leading / 2, stride / 2);
    for (int mn = 0; mn < layout_.extent; ++mn) {
      for (int k = 0; k < kDepth; ++k) {
        const int byte = k / panelDepth * panel + (table.mn.at(mn) + table.k.at(k % panelDepth)) * 2;
        put(swizzled(byte, table.swizzleBits), value_(mn, k));
      }
    }
    image_.data.resize((image_.data.size() + 7) / 8 * 8);
    Operand& operand = image_.operand;
    operand.leadingOffset = leading;
    operand.strideOffset = stride;
    operand.bytes = int(image_.data.size()) * 2;
    operand.swizzleField = layout_.swizzleBytes == 128  ? 1
                           : layout_.swizzleBytes == 64 ? 2
                           : layout_.swizzleBytes == 32 ? 3
                                                        : 0;
    return image_;
  }
  void start(int slice, int byte) { image_.operand.starts[slice] = byte; }

 private:
  void put(int byte, uint32_t value) {
    const auto index = size_t(byte) / 2;
    if (image_.data.size() <= index) image_.data.resize(index + 1);
    image_.data[index] = uint16_t(value);
  }
  Layout layout_;
  std::function<uint32_t(int, int)> value_;
  Image image_{};
};

}  // namespace

Image makeImage(const Layout& layout, const std::function<uint32_t(int, int)>& value) {
  Builder builder(layout, value);
  const int rowElements = layout.swizzleBytes / 2, atom = 8 * layout.swizzleBytes;
  if (layout.swizzleBytes == 0) {
    const int near = layout.isFarFirst ? 256 : 128;
    const int leading = layout.isFarFirst ? near : near * (layout.extent / 8);
    const int stride = layout.isFarFirst ? near * (kDepth / kChunk) : near;
    for (int slice = 0; slice < 4; ++slice) builder.start(slice, slice * 2 * leading);
    return builder.build(leading, stride, kDepth, 0);
  }
  if (layout.isMnMajor) {
    const int leading = layout.isFarFirst ? atom : kDepth / 8 * atom;
    const int stride = layout.isFarFirst ? layout.extent / rowElements * atom : atom;
    for (int slice = 0; slice < 4; ++slice) builder.start(slice, slice * 2 * stride);
    return builder.build(leading, stride, kDepth, 0);
  }
  // K-major: panels as wide as the swizzle; a slice of k16 starts inside one.
  const int padding = layout.isFarFirst ? 256 / layout.swizzleBytes : 1;
  const int stride = atom * padding, panel = layout.extent / 8 * stride;
  for (int slice = 0; slice < 4; ++slice) {
    builder.start(slice, slice * 16 / rowElements * panel + slice * 16 % rowElements * 2);
  }
  return builder.build(16, stride, rowElements, panel);
}

}  // namespace tilewise::cuda::conformance
