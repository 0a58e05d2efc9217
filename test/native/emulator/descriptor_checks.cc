// The five worked examples of PTX ISA, "Canonical layouts", against the decoding of descriptors: shapes and strides as
// printed there, in elements.
#include "../../../emulator/descriptor.h"
#include "../mode.h"
#include "checks.h"
#include "expect.h"

namespace tilewise::emulator {
namespace {

struct Example {
  const char* name;
  bool isMnMajor;
  int swizzleBits;
  Mode mn, k;
  int leadingOffset, strideOffset;  // elements
  int elementBytes;
};

void check(const Example& example) {
  constexpr int kStart = 4096;
  const cuda::Swizzle swizzles[] = {cuda::Swizzle::none, cuda::Swizzle::b32, cuda::Swizzle::b64, cuda::Swizzle::b128};
  const uint64_t descriptor =
      cuda::smem_desc(kStart, uint32_t(example.leadingOffset * example.elementBytes),
                      uint32_t(example.strideOffset * example.elementBytes), swizzles[example.swizzleBits]);
  const Operand operand(descriptor, example.isMnMajor);
  for (int mn = 0; mn < example.mn.extent(); ++mn) {
    for (int k = 0; k < example.k.extent(); ++k) {
      // The decoding counts elements of 16 bits: a tf32 number is two of them along k.
      const int k16 = example.elementBytes == 4 ? 2 * k : k;
      if (k16 >= 16) continue;  // past one instruction
      const int byte = kStart + (example.mn.at(mn) + example.k.at(k)) * example.elementBytes;
      const int want = byte ^ (byte >> 7 & ((1 << example.swizzleBits) - 1)) << 4;
      const int got = int(operand.element(uint32_t(mn), uint32_t(k16)));
      CHECK(got == want, "%s: element %d, %d at %d, not %d", example.name, mn, k, got, want);
    }
  }
}

}  // namespace

void checkDescriptors() {
  check({"K-major, no swizzle, tf32", false, 0, {{8, 2}, {4, 32}}, {{4, 4}, {1, 64}}, 64, 32, 4});
  check({"K-major, 32 bytes, tf32", false, 1, {{8, 2}, {8, 64}}, {{4, 4}, {1, 4}}, 4, 64, 4});
  check({"MN-major, no swizzle, bf16", true, 0, {{8, 1, 2}, {1, 8, 64}}, {{8, 2}, {8, 128}}, 128, 64, 2});
  check({"MN-major, 32 bytes, bf16", true, 1, {{8, 2, 2}, {1, 8, 128}}, {{8, 2}, {16, 256}}, 128, 256, 2});
  check({"MN-major, 64 bytes, bf16", true, 2, {{8, 4, 2}, {1, 8, 256}}, {{8, 2}, {32, 512}}, 256, 512, 2});
}

}  // namespace tilewise::emulator
