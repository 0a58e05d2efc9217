// A row whose pairs are rotated. Included inside a target's anonymous namespace. Reader: see core/op/rotary.h for the
// rule. Every row takes the same steps, whatever its type and strides: it is read as floats, rotated and written.

// (a, b) becomes (a cos - b sin, a sin + b cos), for pairs i and i + pairs.
void rotateHalves(float* row, int pairs, const float* cosines, const float* sines) {
  int i = 0;
  for (; i + kLanes <= pairs; i += kLanes) {
    const Vec a = load(row + i), b = load(row + pairs + i), cosine = load(cosines + i), sine = load(sines + i);
    store(row + i, sub(mul(a, cosine), mul(b, sine)));
    store(row + pairs + i, mulAdd(a, sine, mul(b, cosine)));
  }
  for (; i < pairs; ++i) {
    const float a = row[i], b = row[pairs + i];
    row[i] = a * cosines[i] - b * sines[i];
    row[pairs + i] = a * sines[i] + b * cosines[i];
  }
}

// The same for neighbours. Plain, since compilers find the shuffles.
void rotateNeighbours(float* __restrict row, int pairs, const float* __restrict cosines,
                      const float* __restrict sines) {
  for (int i = 0; i < pairs; ++i) {
    const float a = row[2 * i], b = row[2 * i + 1];
    row[2 * i] = a * cosines[i] - b * sines[i];
    row[2 * i + 1] = a * sines[i] + b * cosines[i];
  }
}

void makeRotations(const RotaryProblem& p, int64_t batch, Token token, int32_t head, float* rotations) {
  writeRotations(p, batch, token, head, rotations);
}

void rotateRow(const RotatedRow& r, float* row) {
  const int rotated = 2 * r.pairs;
  readRow(r.from, r.dtype, r.fromStride, rotated, row);
  const auto rotate = r.isInterleaved ? rotateNeighbours : rotateHalves;
  rotate(row, r.pairs, r.rotations, r.rotations + r.pairs);
  writeRow(row, rotated, r.dtype, r.toStride, r.to);
  if (r.from == r.to) return;
  withElementType(r.dtype, [&](auto* element) {
    const auto* from = static_cast<decltype(element)>(r.from);
    auto* to = static_cast<std::remove_const_t<std::remove_pointer_t<decltype(element)>>*>(r.to);
    for (int d = rotated; d < r.headDim; ++d) to[d * r.toStride] = from[d * r.fromStride];
  });
}
