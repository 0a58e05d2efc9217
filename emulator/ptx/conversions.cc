// cvt and cvta. Float32 to integers is not needed; to narrower formats it is as half.h says.
#include "../half.h"
#include "handlers.h"

namespace tilewise::ptx {
namespace {

// A source may be a wider register, of which the lower bits count.
template <class To, class From, class Register>
void convert(Warp& warp, const Instruction& in) {
  const Register* a = lanes<Register>(warp, in, 1);
  write(warp, lanes<To>(warp, in, 0), [&](uint32_t i) { return To(From(a[i])); });
}

// The first source becomes the upper half.
template <uint16_t (*Narrow)(float)>
void packHalves(Warp& warp, const Instruction& in) {
  const float *high = lanes<float>(warp, in, 1), *low = lanes<float>(warp, in, 2);
  write(warp, lanes<uint32_t>(warp, in, 0),
        [&](uint32_t i) { return uint32_t(Narrow(high[i])) << 16 | Narrow(low[i]); });
}

void roundToTf32(Warp& warp, const Instruction& in) {
  const float* a = lanes<float>(warp, in, 1);
  write(warp, lanes<uint32_t>(warp, in, 0), [&](uint32_t i) { return emulator::toTf32(a[i]); });
}

// Generic addresses are those of global memory, and parameters have a window of their own: the numbers stay the same.
void keepAddress(Warp& warp, const Instruction& in) { convert<uint64_t, uint64_t, uint64_t>(warp, in); }

}  // namespace

Opcodes conversionOpcodes() {
  return {
      {"cvt.u16.u32", "h = w", convert<uint16_t, uint32_t, uint32_t>},
      {"cvt.u16.u64", "h = l", convert<uint16_t, uint64_t, uint64_t>},
      {"cvt.u32.u16", "w = h", convert<uint32_t, uint16_t, uint16_t>},
      {"cvt.u32.u64", "w = l", convert<uint32_t, uint64_t, uint64_t>},
      {"cvt.u64.u16", "l = h", convert<uint64_t, uint16_t, uint16_t>},
      {"cvt.u64.u32", "l = w", convert<uint64_t, uint32_t, uint32_t>},
      {"cvt.s64.s32", "l = w", convert<int64_t, int32_t, uint32_t>},
      {"cvt.s64.s32", "l = l", convert<int64_t, int32_t, uint64_t>},
      {"cvt.rn.f32.s32", "w = w", convert<float, int32_t, uint32_t>},
      {"cvt.rn.f32.u16", "w = h", convert<float, uint16_t, uint16_t>},
      {"cvt.rn.bf16x2.f32", "w = w, w", packHalves<emulator::toBf16>},
      {"cvt.rn.f16x2.f32", "w = w, w", packHalves<emulator::toF16>},
      {"cvt.rna.tf32.f32", "w = w", roundToTf32},
      {"cvta.to.global.u64", "l = l", keepAddress},
      {"cvta.param.u64", "l = l", keepAddress},
  };
}

}  // namespace tilewise::ptx
