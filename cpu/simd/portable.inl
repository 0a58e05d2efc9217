// The SIMD vocabulary in plain C++ (GCC/Clang vector extensions), for any processor. Included inside an anonymous
// namespace by one translation unit. Reader: see avx2.inl, which defines the same names and explains them.

typedef float Vec __attribute__((vector_size(16)));
typedef int32_t IntVec __attribute__((vector_size(16)));
constexpr int kLanes = 4;

constexpr int kTileRows = 6;  // 6 x 2 vectors fit the 16 registers of baseline x86-64
constexpr int kTileVecs = 2;
constexpr int kUnroll = 1;
constexpr int kDecodeRows = 4;
constexpr int kDecodeAccumulators = 8;
constexpr int kSpreadUpTo = 0;  // not measured

#define SIMD inline __attribute__((always_inline))

SIMD Vec splat(float x) { return Vec{x, x, x, x}; }
SIMD Vec zero() { return splat(0); }
SIMD Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
SIMD void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
SIMD Vec add(Vec a, Vec b) { return a + b; }
SIMD Vec sub(Vec a, Vec b) { return a - b; }
SIMD Vec mul(Vec a, Vec b) { return a * b; }
SIMD Vec div(Vec a, Vec b) { return a / b; }
SIMD Vec divNear(Vec a, Vec b) { return div(a, b); }  // for b of 1 to 2
SIMD Vec sqrt(Vec a) {
  return Vec{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
}
SIMD Vec mulAdd(Vec a, Vec b, Vec c) { return a * b + c; }
SIMD Vec select(IntVec mask, Vec yes, Vec no) { return (Vec)((mask & (IntVec)yes) | (~mask & (IntVec)no)); }
SIMD Vec max(Vec a, Vec b) { return select(a > b, a, b); }
SIMD Vec abs(Vec a) { return (Vec)((IntVec)a & 0x7fffffff); }
SIMD Vec withSignOf(Vec magnitude, Vec sign) { return (Vec)((IntVec)magnitude | ((IntVec)sign & ~0x7fffffff)); }
SIMD Vec whereLess(Vec a, Vec b, Vec yes, Vec no) { return select(a < b, yes, no); }
SIMD Vec whereEqual(Vec a, Vec b, Vec yes, Vec no) { return select(a == b, yes, no); }
SIMD Vec exponentOf(Vec bits) { return (Vec)((IntVec)bits << 23); }

SIMD Vec loadFloat16(const uint16_t* p) {
  return Vec{fromFloat16(p[0]), fromFloat16(p[1]), fromFloat16(p[2]), fromFloat16(p[3])};
}
SIMD Vec loadBfloat16(const uint16_t* p) {
  return Vec{fromBfloat16(p[0]), fromBfloat16(p[1]), fromBfloat16(p[2]), fromBfloat16(p[3])};
}
SIMD void storeFloat16(uint16_t* p, Vec v) {
  for (int i = 0; i < kLanes; ++i) p[i] = toFloat16(v[i]);
}

template <int Bits>
SIMD Vec loadCodes(const uint8_t* p, int field) {
  Vec v;
  for (int i = 0; i < kLanes; ++i) v[i] = float((p[i] >> (Bits == 8 ? 0 : Bits * field)) & ((1 << Bits) - 1));
  return v;
}

SIMD float reduceMax(Vec v) {
  float m = v[0];
  for (int i = 1; i < kLanes; ++i) m = larger(m, float(v[i]));
  return m;
}

SIMD float reduceAdd(Vec v) { return (v[0] + v[1]) + (v[2] + v[3]); }

SIMD void transpose(Vec (&r)[kLanes]) {
  const Vec c0{r[0][0], r[1][0], r[2][0], r[3][0]}, c1{r[0][1], r[1][1], r[2][1], r[3][1]};
  const Vec c2{r[0][2], r[1][2], r[2][2], r[3][2]}, c3{r[0][3], r[1][3], r[2][3], r[3][3]};
  r[0] = c0;
  r[1] = c1;
  r[2] = c2;
  r[3] = c3;
}

SIMD Vec reduceAddEach(const Vec (&a)[kLanes]) {
  Vec t[kLanes] = {a[0], a[1], a[2], a[3]};
  transpose(t);
  return (t[0] + t[1]) + (t[2] + t[3]);
}
