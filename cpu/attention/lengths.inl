// What divides queries and keys by their lengths (core/score/cosine.h).
// Included inside a target's anonymous namespace. Reader: someone who follows a cosine into the loops.

// Of a row of floats.
float lengthFactorOf(const float* x, int dim) {
  const auto squares = [&](float by) {
    const Vec factor = splat(by);
    Vec sums[2] = {zero(), zero()};
    int d = 0;
    for (int odd = 0; d + kLanes <= dim; d += kLanes, odd ^= 1) {
      const Vec v = mul(load(x + d), factor);
      sums[odd] = mulAdd(v, v, sums[odd]);
    }
    float lanes[kLanes], sum = 0;
    store(lanes, add(sums[0], sums[1]));
    for (int i = 0; i < kLanes; ++i) sum += lanes[i];
    for (; d < dim; ++d) sum += x[d] * by * (x[d] * by);
    return sum;
  };
  const float sum = squares(1);
  return sum == INFINITY ? lengthFactor(squares(kShrink)) * kShrink : lengthFactor(sum);
}

// Those of `count` keys that are `rowStride` elements apart; `row` has room for one of them.
void lengthFactors(const void* first, DType type, int64_t rowStride, int64_t dimStride, int dim, int count, float* row,
                   float* to) {
  const bool isInPlace = type == DType::float32 && dimStride == 1;
  for (int i = 0; i < count; ++i) {
    const void* const from = elementAt(first, type, i * rowStride);
    if (!isInPlace) readRow(from, type, dimStride, dim, row);
    to[i] = lengthFactorOf(isInPlace ? static_cast<const float*>(from) : row, dim);
  }
}
