// The SIMD vocabulary for AVX-512 (F, BW, DQ, VL). Included inside an anonymous namespace by one translation unit.
// Reader: see avx2.inl, which defines the same names and explains them.

using Vec = __m512;
constexpr int kLanes = 16;

// 8 rows divide the usual head dims. Two tables are compiled: 8x2, whose 32 lanes divide the usual lengths, and 8x3 for
// long sequences, which reads less per product and so draws less power: in L1 a loop in assembly reaches 85 % of the
// FMA peak with 8x2 and 12x2, 91 % with 8x3, 100 % without reading keys (Sapphire Rapids, see docs/design/adr/0004).
constexpr int kTileRows = 8;
#if defined(TILEWISE_WIDE)
constexpr int kTileVecs = 3;
#else
constexpr int kTileVecs = 2;
#endif
constexpr int kUnroll = 1;  // 2 costs 7 points here
constexpr int kDecodeRows = 8;
constexpr int kDecodeAccumulators = 16;
// 1 and 2 panels take 0.66 to 0.71 of the time without (float32), 0.8 to 0.95 (16-bit types); more not measured.
constexpr int kSpreadUpTo = 2;

#define SIMD inline __attribute__((always_inline))

SIMD Vec zero() { return _mm512_setzero_ps(); }
SIMD Vec splat(float x) { return _mm512_set1_ps(x); }
SIMD Vec load(const float* p) { return _mm512_loadu_ps(p); }
SIMD void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
SIMD Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
SIMD Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
SIMD Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
SIMD Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
// div() for b of 1 to 2: an estimate of 1 / b, one step of Newton's and what is left of a, in a fifth of the time.
SIMD Vec divNear(Vec a, Vec b) {
  const Vec estimate = _mm512_rcp14_ps(b);
  const Vec inverse = _mm512_fmadd_ps(estimate, _mm512_fnmadd_ps(b, estimate, _mm512_set1_ps(1.0f)), estimate);
  const Vec quotient = _mm512_mul_ps(a, inverse);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(quotient, b, a), inverse, quotient);
}
SIMD Vec sqrt(Vec a) { return _mm512_sqrt_ps(a); }
SIMD Vec mulAdd(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
SIMD Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
SIMD Vec abs(Vec a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
SIMD Vec withSignOf(Vec magnitude, Vec sign) {
  return _mm512_or_ps(magnitude, _mm512_and_ps(_mm512_set1_ps(-0.0f), sign));
}
SIMD Vec whereLess(Vec a, Vec b, Vec yes, Vec no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
SIMD Vec whereEqual(Vec a, Vec b, Vec yes, Vec no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), no, yes);
}
SIMD Vec exponentOf(Vec bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(bits), 23)); }

SIMD Vec loadFloat16(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
SIMD Vec loadBfloat16(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
SIMD void storeFloat16(uint16_t* p, Vec v) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// Codes of Bits bits, a byte's field-th from the lowest on, as floats. A permutation by the lowest 4 bits of a lane is
// the mask and the conversion in one.
template <int Bits>
SIMD Vec loadCodes(const uint8_t* p, int field) {
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
  if constexpr (Bits == 8) return _mm512_cvtepi32_ps(bytes);
  const Vec codes = Bits == 4 ? _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
                              : _mm512_setr_ps(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
  return _mm512_permutexvar_ps(_mm512_srli_epi32(bytes, unsigned(Bits * field)), codes);
}

SIMD float reduceMax(Vec v) { return _mm512_reduce_max_ps(v); }
SIMD float reduceAdd(Vec v) { return _mm512_reduce_add_ps(v); }

SIMD Vec reduceAddEach(const Vec (&a)[kLanes]) {
  Vec t[8], u[4], w[2];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[i] = _mm512_add_ps(_mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512d x = _mm512_castps_pd(t[2 * i]), y = _mm512_castps_pd(t[2 * i + 1]);
    u[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    w[i] = _mm512_add_ps(_mm512_shuffle_f32x4(u[2 * i], u[2 * i + 1], 0x88),
                         _mm512_shuffle_f32x4(u[2 * i], u[2 * i + 1], 0xDD));
  }
  return _mm512_add_ps(_mm512_shuffle_f32x4(w[0], w[1], 0x88), _mm512_shuffle_f32x4(w[0], w[1], 0xDD));
}

SIMD void transpose(Vec (&r)[kLanes]) {
  Vec t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
    r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
  // r[4j + c] now holds, in 128-bit lane q, rows 4j..4j+3 of column 4q + c.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const Vec low0 = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88), low1 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
    const Vec high0 = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xDD),
              high1 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xDD);
    t[c] = _mm512_shuffle_f32x4(low0, low1, 0x88);
    t[8 + c] = _mm512_shuffle_f32x4(low0, low1, 0xDD);
    t[4 + c] = _mm512_shuffle_f32x4(high0, high1, 0x88);
    t[12 + c] = _mm512_shuffle_f32x4(high0, high1, 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}
