// The SIMD vocabulary for 64-bit Arm NEON. Included inside an anonymous namespace by one translation unit.
// Reader: see avx2.inl, which defines the same names and explains them. Speed on real Arm hardware: not measured.

using Vec = float32x4_t;
constexpr int kLanes = 4;

// 6 rows by 3 vectors: 18 accumulators of 32 registers; GCC 12 spills 8x12 floats and 12x8.
constexpr int kTileRows = 6;
constexpr int kTileVecs = 3;
constexpr int kUnroll = 1;
constexpr int kDecodeRows = 4;
constexpr int kDecodeAccumulators = 16;
constexpr int kSpreadUpTo = 0;  // not measured

#define SIMD inline __attribute__((always_inline))

SIMD Vec zero() { return vdupq_n_f32(0); }
SIMD Vec splat(float x) { return vdupq_n_f32(x); }
SIMD Vec load(const float* p) { return vld1q_f32(p); }
SIMD void store(float* p, Vec v) { vst1q_f32(p, v); }
SIMD Vec add(Vec a, Vec b) { return vaddq_f32(a, b); }
SIMD Vec sub(Vec a, Vec b) { return vsubq_f32(a, b); }
SIMD Vec mul(Vec a, Vec b) { return vmulq_f32(a, b); }
SIMD Vec div(Vec a, Vec b) { return vdivq_f32(a, b); }
SIMD Vec divNear(Vec a, Vec b) { return div(a, b); }  // for b of 1 to 2
SIMD Vec sqrt(Vec a) { return vsqrtq_f32(a); }
SIMD Vec mulAdd(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
SIMD Vec max(Vec a, Vec b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
SIMD Vec abs(Vec a) { return vabsq_f32(a); }
SIMD Vec withSignOf(Vec magnitude, Vec sign) { return vbslq_f32(vdupq_n_u32(0x80000000u), sign, magnitude); }
SIMD Vec whereLess(Vec a, Vec b, Vec yes, Vec no) { return vbslq_f32(vcltq_f32(a, b), yes, no); }
SIMD Vec whereEqual(Vec a, Vec b, Vec yes, Vec no) { return vbslq_f32(vceqq_f32(a, b), yes, no); }
SIMD Vec exponentOf(Vec bits) { return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(bits), 23)); }

SIMD Vec loadFloat16(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
SIMD Vec loadBfloat16(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
SIMD void storeFloat16(uint16_t* p, Vec v) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v))); }

template <int Bits>
SIMD Vec loadCodes(const uint8_t* p, int field) {
  uint32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  const uint32x4_t bytes = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
  if constexpr (Bits == 8) return vcvtq_f32_u32(bytes);
  return vcvtq_f32_u32(vandq_u32(vshlq_u32(bytes, vdupq_n_s32(-Bits * field)), vdupq_n_u32((1u << Bits) - 1)));
}

SIMD float reduceMax(Vec v) { return vmaxvq_f32(v); }
SIMD float reduceAdd(Vec v) { return vaddvq_f32(v); }

SIMD Vec reduceAddEach(const Vec (&a)[kLanes]) { return vpaddq_f32(vpaddq_f32(a[0], a[1]), vpaddq_f32(a[2], a[3])); }

SIMD void transpose(Vec (&r)[kLanes]) {
  const Vec t0 = vtrn1q_f32(r[0], r[1]), t1 = vtrn2q_f32(r[0], r[1]);
  const Vec t2 = vtrn1q_f32(r[2], r[3]), t3 = vtrn2q_f32(r[2], r[3]);
  const auto low = [](Vec a, Vec b) { return vcombine_f32(vget_low_f32(a), vget_low_f32(b)); };
  const auto high = [](Vec a, Vec b) { return vcombine_f32(vget_high_f32(a), vget_high_f32(b)); };
  r[0] = low(t0, t2);
  r[1] = low(t1, t3);
  r[2] = high(t0, t2);
  r[3] = high(t1, t3);
}
