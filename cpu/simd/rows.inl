// Rows in and out: one token's head as float32, whatever its dtype and stride; and the transposes at the loop's edges.
// Included inside a target's anonymous namespace. Reader: the fused loop.
//
// Converting once per key tile costs 0-1 % when a tile has 64 or more queries, so arithmetic is float32 everywhere.

SIMD Vec loadElements(const float* p) { return load(p); }
SIMD Vec loadElements(const Float16* p) { return loadFloat16(&p->bits); }
SIMD Vec loadElements(const Bfloat16* p) { return loadBfloat16(&p->bits); }
SIMD Vec loadElements(const uint8_t* p) {
  float values[kLanes];
  for (int i = 0; i < kLanes; ++i) values[i] = float(p[i]);
  return load(values);
}

// Requests a row from memory. Nearness: 3 is every cache, 2 leaves L1 out.
template <int Nearness = 3>
SIMD void prefetchRow(const void* row, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const char*>(row) + at, 0, Nearness);
}

constexpr int paddedDim(int dim) { return (dim + 15) & ~15; }  // a multiple of every target's lanes

template <class Element>
void readElements(const Element* from, int64_t stride, int n, float* to) {
  int i = 0;
  if (stride == 1) {
    for (; i + kLanes <= n; i += kLanes) store(to + i, loadElements(from + i));
  }
  for (; i < n; ++i) to[i] = toFloat(from[i * stride]);
}

SIMD const void* elementAt(const void* data, DType type, int64_t offset) {
  return static_cast<const char*>(data) + offset * sizeOf(type);
}

void readRow(const void* from, DType type, int64_t stride, int n, float* to) {
  withElementType(type, [&](auto* element) { readElements(static_cast<decltype(element)>(from), stride, n, to); });
}

// `count` rows that are `rowStride` apart, to rows of `ld` floats.
void readRows(const void* from, DType type, int64_t rowStride, int64_t stride, int count, int n, float* to, int ld) {
  withElementType(type, [&](auto* element) {
    const auto* row = static_cast<decltype(element)>(from);
    for (int i = 0; i < count; ++i) readElements(row + i * rowStride, stride, n, to + int64_t(i) * ld);
  });
}

void writeRow(const float* from, int n, DType type, int64_t stride, void* to) {
  if (type == DType::float32) {
    float* out = static_cast<float*>(to);
    if (stride == 1) {
      __builtin_memcpy(out, from, n * sizeof(float));
    } else {
      for (int i = 0; i < n; ++i) out[i * stride] = from[i];
    }
    return;
  }
  uint16_t* out = static_cast<uint16_t*>(to);
  int i = 0;
  if (type == DType::float16) {
    if (stride == 1) {
      for (; i + kLanes <= n; i += kLanes) storeFloat16(out + i, load(from + i));
    }
    for (; i < n; ++i) out[i * stride] = toFloat16(from[i]);
  } else {
    for (; i < n; ++i) out[i * stride] = toBfloat16(from[i]);
  }
}

// lanes[d * kPanel + lane] = rows[lane][d] * factor for d < dim, rounded up to whole vectors.
void rowsToLanes(const float* const (&rows)[kPanel], int dim, float factor, float* lanes) {
  const Vec f = splat(factor);
  for (int d = 0; d < dim; d += kLanes) {
    for (int lane = 0; lane < kPanel; lane += kLanes) {
      Vec block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) block[i] = load(rows[lane + i] + d);
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store(lanes + (d + i) * kPanel + lane, mul(block[i], f));
    }
  }
}

// rows[lane][d] = lanes[d * kPanel + lane] * factor[lane], dim as above.
void lanesToRows(const float* lanes, const float (&factor)[kPanel], int dim, float* const (&rows)[kPanel]) {
  for (int d = 0; d < dim; d += kLanes) {
    for (int lane = 0; lane < kPanel; lane += kLanes) {
      const Vec f = load(factor + lane);
      Vec block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) block[i] = mul(load(lanes + (d + i) * kPanel + lane), f);
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store(rows[lane + i] + d, block[i]);
    }
  }
}

// Whether rows of this operand can be moved as whole float32 vectors where they are.
SIMD bool isVectorRow(DType type, int64_t stride, int dim) {
  return type == DType::float32 && stride == 1 && dim % kLanes == 0;
}
