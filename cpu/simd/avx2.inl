// The SIMD vocabulary for AVX2 + FMA + F16C. Included inside an anonymous namespace by one translation unit.
// Reader: someone porting to a new instruction set; every simd/*.h defines exactly these names.
// max(a, b) returns b when either is NaN, so max(constant, x) lets a NaN in x through.

using Vec = __m256;
constexpr int kLanes = 8;

// Register tile of the products: 6 rows by 2 vectors leave 12 accumulators, 2 operands and 1 broadcast in 16 registers.
// On Zen 3 6x2 measured 93-97 % of peak, 5x2 91-95, 4x3 62 without inline assembly, 8x1 68 (load-bound).
constexpr int kTileRows = 6;
constexpr int kTileVecs = 2;
constexpr int kUnroll = 2;  // steps of a product per loop trip
// Decode accumulators: query rows that share one read of a value row, and vectors of dims per pass.
constexpr int kDecodeRows = 8;  // against 4 by 2 vectors: float32 GQA 8:1 55 % of peak, not 48; halves equal
constexpr int kDecodeAccumulators = 8;
// Panels of a tile up to which rows on pages are requested by SpreadRequests. None: 1 to 4 take 1.2 to 1.4 of the time
// without.
constexpr int kSpreadUpTo = 0;

#define SIMD inline __attribute__((always_inline))

SIMD Vec zero() { return _mm256_setzero_ps(); }
SIMD Vec splat(float x) { return _mm256_set1_ps(x); }
SIMD Vec load(const float* p) { return _mm256_loadu_ps(p); }
SIMD void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
SIMD Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
SIMD Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
SIMD Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
SIMD Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
SIMD Vec divNear(Vec a, Vec b) { return div(a, b); }  // for b of 1 to 2
SIMD Vec sqrt(Vec a) { return _mm256_sqrt_ps(a); }
SIMD Vec mulAdd(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
SIMD Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
SIMD Vec abs(Vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
SIMD Vec withSignOf(Vec magnitude, Vec sign) {
  return _mm256_or_ps(magnitude, _mm256_and_ps(_mm256_set1_ps(-0.0f), sign));
}
SIMD Vec whereLess(Vec a, Vec b, Vec yes, Vec no) { return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
SIMD Vec whereEqual(Vec a, Vec b, Vec yes, Vec no) {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
// The low 8 bits of each lane moved into the exponent field: turns n + 127 into 2^n.
SIMD Vec exponentOf(Vec bits) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(bits), 23)); }

SIMD Vec loadFloat16(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }
SIMD Vec loadBfloat16(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
SIMD void storeFloat16(uint16_t* p, Vec v) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// Codes of Bits bits as floats: of each byte the field-th from the lowest bits on.
template <int Bits>
SIMD Vec loadCodes(const uint8_t* p, int field) {
  const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
  if constexpr (Bits == 8) return _mm256_cvtepi32_ps(bytes);
  const __m256i codes = _mm256_and_si256(_mm256_srli_epi32(bytes, Bits * field), _mm256_set1_epi32((1 << Bits) - 1));
  return _mm256_cvtepi32_ps(codes);
}

SIMD float reduceMax(Vec v) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
SIMD float reduceAdd(Vec v) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

// Lane i of the result is the sum of all lanes of a[i].
SIMD Vec reduceAddEach(const Vec (&a)[kLanes]) {
  const Vec h0 = _mm256_hadd_ps(a[0], a[1]), h1 = _mm256_hadd_ps(a[2], a[3]);
  const Vec h2 = _mm256_hadd_ps(a[4], a[5]), h3 = _mm256_hadd_ps(a[6], a[7]);
  const Vec g0 = _mm256_hadd_ps(h0, h1), g1 = _mm256_hadd_ps(h2, h3);
  return _mm256_add_ps(_mm256_permute2f128_ps(g0, g1, 0x20), _mm256_permute2f128_ps(g0, g1, 0x31));
}

SIMD void transpose(Vec (&r)[kLanes]) {
  Vec t[8], u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}
