// The steps of decode on a few rows that share each read of a key: scores, softmax, values.
// Included inside a target's anonymous namespace. Reader: someone who reads decode_loop.inl, which calls them in turn.
//
// The panel loop is the wrong shape here: with one query its lanes are empty. Dims are in the lanes instead, up to
// kDotsUpTo rows; slices of more rows that fill more than half of a vector are strips, in the lanes as in panels.

// Up to RowsPad rows that share each read of a key: RowsPad is a power of two, so that whole keys fill a score vector.
template <int RowsPad>
struct DecodeRows {
  const float* query;  // scaled: [RowsPad][paddedDim(headDim)], of a strip [headDim][kLanes]
  float *max, *sum;  // [RowsPad]
  float* output;  // [RowsPad][paddedDim(valueDim)]
  bool isStrip;
};

// Rows are taken kLanes at a time, the rest by the narrowest power of two that holds them.
constexpr int rowsPad(int rows) {
  int pad = kLanes;
  while (pad / 2 >= rows) pad /= 2;
  return pad;
}
constexpr int paddedRows(int rows) { return rows <= kLanes ? rowsPad(rows) : kLanes + paddedRows(rows - kLanes); }
constexpr bool hasStrips(int rows) { return rows > kDotsUpTo; }

// Calls f(width, first row, rows) for each slice of a group's rows that is computed together; width.kRows pads it.
template <int Pad = kLanes, class F>
SIMD void forEachRowSlice(int rows, F&& f, int first = 0) {
  if constexpr (Pad == kLanes) {
    for (; rows - first > kLanes; first += kLanes) f(RegisterTile<kLanes>{}, first, kLanes);
  }
  if (Pad == 1 || rows - first > Pad / 2) return f(RegisterTile<Pad>{}, first, rows - first);
  if constexpr (Pad > 1) forEachRowSlice<Pad / 2>(rows, f, first);
}

// What divides the products of a vector of scores by the lengths of their keys (core/score/cosine.h): of the sums of
// their squares, a lane per score. Keys whose squares overflow are summed once more.
template <int RowsPad, class Element>
__attribute__((noinline)) void withLongLengths(const Element* const (&row)[kLanes / RowsPad], int dim, float* factors) {
  for (int i = 0; i < kLanes; ++i) {
    Vec sum = zero();
    for (int d = 0; d < dim; d += kLanes) {
      const Vec x = mul(loadElements(row[i / RowsPad] + d), splat(kShrink));
      sum = mulAdd(x, x, sum);
    }
    float lanes[kLanes], squares = 0;
    store(lanes, sum);
    for (const float lane : lanes) squares += lane;
    factors[i] = lengthFactor(squares) * kShrink;
  }
}
template <int RowsPad, class Element>
SIMD Vec decodeLengthFactors(Vec sums, const Element* const (&row)[kLanes / RowsPad], int dim) {
  const Vec one = splat(1), infinite = splat(INFINITY);
  const Vec factors = div(one, max(splat(kLeastLength), sqrt(sums)));
  if (reduceMax(whereEqual(sums, infinite, one, zero())) == 0) return factors;
  float longest[kLanes];
  store(longest, factors);
  withLongLengths<RowsPad>(row, dim, longest);
  return whereEqual(sums, infinite, load(longest), factors);
}

// s[key][row] = k[key] . query[row] for `n` keys, a vector of scores at a time: kLanes / RowsPad keys by RowsPad rows.
// The last vector repeats the last key. Returns the maximum, lane by lane. Requests rows to come. A cosine's keys are
// divided by their lengths, which are summed beside the products, half of the keys at a time where registers want it.
template <int RowsPad, bool IsCosine, class Element>
Vec decodeScores(const Element* k, const int64_t* at, int n, const float* query, int ld, int dim, float* s,
                 const Requests& requests) {
  constexpr int kKeys = kLanes / RowsPad;
  // Rows of 16 bits are requested between the products: all at once they cost 12 % more with heads first and 2 to 4 %
  // with tokens first (AVX-512, 32k keys of 128 dims). Of float32 neither is faster.
  constexpr bool kSpreadsRequests = sizeof(Element) < sizeof(float);
  constexpr int kParts = IsCosine && RowsPad <= 2 ? 2 : 1, kPart = kKeys / kParts;
  const int perStep = ceilDiv(kPart * kLanes, dim);
  Vec blockMax = splat(-INFINITY);
  for (int key = 0; key < n; key += kKeys) {
    const Element* row[kKeys];
#pragma GCC unroll 16
    for (int j = 0; j < kKeys; ++j) {
      const int index = smaller(key + j, n - 1);
      row[j] = k + at[index];
      if (!kSpreadsRequests) requests.at(index);
    }
    int requested = kSpreadsRequests ? 0 : kKeys;
    Vec acc[kLanes], squares[kKeys];
#pragma GCC unroll 2
    for (int part = 0; part < kKeys; part += kPart) {
#pragma GCC unroll 16
      for (int i = 0; i < kPart * RowsPad; ++i) acc[part * RowsPad + i] = zero();
#pragma GCC unroll 16
      for (int j = 0; IsCosine && j < kPart; ++j) squares[part + j] = zero();
#pragma GCC unroll 1
      for (int d = 0; d < dim; d += kLanes) {
        for (int j = 0; j < perStep && requested < kKeys; ++j, ++requested)
          requests.at(smaller(key + requested, n - 1));
        Vec x[kPart];
#pragma GCC unroll 16
        for (int j = 0; j < kPart; ++j) x[j] = loadElements(row[part + j] + d);
#pragma GCC unroll 8
        for (int r = 0; r < RowsPad; ++r) {
          const Vec q = load(query + r * ld + d);
#pragma GCC unroll 16
          for (int j = 0; j < kPart; ++j) {
            Vec& sum = acc[(part + j) * RowsPad + r];
            sum = mulAdd(x[j], q, sum);
          }
        }
#pragma GCC unroll 16
        for (int j = 0; IsCosine && j < kPart; ++j) squares[part + j] = mulAdd(x[j], x[j], squares[part + j]);
      }
    }
    Vec scores = reduceAddEach(acc);
    if constexpr (IsCosine) {
      Vec every[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) every[i] = squares[i / RowsPad];
      scores = mul(scores, decodeLengthFactors<RowsPad>(reduceAddEach(every), row, dim));
    }
    store(s + key * RowsPad, scores);
    blockMax = max(scores, blockMax);
  }
  return blockMax;
}

// The same of a strip of rows. Keys of 16 bits are converted to `rows`, those of a register tile at a time, so that
// they are in L1 when they are read; rows to come are requested between the products.
template <class Element>
Vec stripScores(const Element* k, const int64_t* at, int n, const float* query, int dim, bool isCosine, float* s,
                float* rows, const Requests& requests) {
  constexpr int kStep = 16;
  const int ld = paddedDim(dim);
  Vec blockMax = splat(-INFINITY);
  forEachTile<kNarrowTile>(n, [&](auto tile, int first) {
    constexpr int kRows = decltype(tile)::kRows;
    const float* row[kRows];
    for (int r = 0; r < kRows; ++r) {
      const Element* const from = k + at[first + r];
      if constexpr (std::is_same_v<Element, float>) {
        row[r] = from;
      } else {
        readElements(from, 1, dim, rows + r * ld);
        row[r] = rows + r * ld;
      }
    }
    Vec acc[kRows][1];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r][0] = zero();
    const int perStep = ceilDiv(kRows * kStep, dim);
    int requested = 0;
#pragma GCC unroll 1
    for (int d = 0; d < dim; d += kStep) {
      for (int i = 0; i < perStep && requested < kRows; ++i) requests.at(first + requested++);
      addStripProducts(row, d, smaller(dim, d + kStep), query, acc);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      if (isCosine) acc[r][0] = mul(acc[r][0], splat(lengthFactorOf(row[r], dim)));
      store(s + (first + r) * kLanes, acc[r][0]);
      blockMax = max(acc[r][0], blockMax);
    }
  });
  return blockMax;
}

// output[row] = output[row] * rescale[row] + sum over keys of p[key][row] * v[key]. Requests a row to come for each
// key.
template <int RowsPad, class Element>
void decodeValues(const Element* v, const int64_t* at, int n, const float* p, const float* rescale, float* output,
                  int ld, int dim) {
  constexpr int kRows = RowsPad < kDecodeRows ? RowsPad : kDecodeRows;
  constexpr int kVecs = kDecodeAccumulators / kRows;
  const auto strip = [&](auto vecs, int d, int r0) {
    constexpr int kWide = decltype(vecs)::kRows;
    Vec acc[kRows][kWide];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
      for (int c = 0; c < kWide; ++c)
        acc[r][c] = mul(load(output + (r0 + r) * ld + d + c * kLanes), splat(rescale[r0 + r]));
    const float* weight = p + r0;
#pragma GCC unroll 1
    for (int key = 0; key < n; ++key, weight += RowsPad) {
      const Element* row = v + d + at[key];
      Vec x[kWide];
#pragma GCC unroll 16
      for (int c = 0; c < kWide; ++c) x[c] = loadElements(row + c * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Vec w = splat(weight[r]);
#pragma GCC unroll 16
        for (int c = 0; c < kWide; ++c) acc[r][c] = mulAdd(w, x[c], acc[r][c]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
      for (int c = 0; c < kWide; ++c) store(output + (r0 + r) * ld + d + c * kLanes, acc[r][c]);
  };
  for (int r0 = 0; r0 < RowsPad; r0 += kRows) {
    int d = 0;
    for (; d + kVecs * kLanes <= dim; d += kVecs * kLanes) strip(RegisterTile<kVecs>{}, d, r0);
    if constexpr (kVecs > 4) {
      for (; d + 4 * kLanes <= dim; d += 4 * kLanes) strip(RegisterTile<4>{}, d, r0);
    }
    for (; d < dim; d += kLanes) strip(RegisterTile<1>{}, d, r0);
  }
}

// One softmax step over n keys of scores [key][RowsPad].
template <int RowsPad>
void decodeSoftmax(const DecodeRows<RowsPad>& group, float* s, int n, const Vec& blockMax, float* rescale) {
  constexpr int kKeys = kLanes / RowsPad;
  float lanes[kLanes], before[kLanes], base[kLanes];
  store(lanes, blockMax);
  for (int r = 0; r < RowsPad; ++r) {
    float now = group.max[r];
    if (RowsPad == 1) now = larger(now, reduceMax(blockMax));
    for (int j = 0; j < kKeys && RowsPad > 1; ++j) now = larger(now, lanes[j * RowsPad + r]);
    for (int j = 0; j < kKeys; ++j) {
      before[j * RowsPad + r] = group.max[r];
      base[j * RowsPad + r] = subtrahend(now);
    }
    group.max[r] = now;
  }
  const Vec baseVec = load(base);
  store(lanes, exp(sub(load(before), baseVec)));
  for (int r = 0; r < RowsPad; ++r) rescale[r] = lanes[r];
  Vec sum = zero();
  const int whole = n / kKeys * kKeys;
  for (int key = 0; key < whole; key += kKeys) {
    const Vec e = exp(sub(load(s + key * RowsPad), baseVec));
    store(s + key * RowsPad, e);
    sum = add(sum, e);
  }
  if (whole < n) {  // the last vector repeats a key: weigh it once
    float tail[kLanes];
    store(tail, exp(sub(load(s + whole * RowsPad), baseVec)));
    for (int i = (n - whole) * RowsPad; i < kLanes; ++i) tail[i] = 0;
    store(s + whole * RowsPad, load(tail));
    sum = add(sum, load(tail));
  }
  store(lanes, sum);
  for (int r = 0; r < RowsPad; ++r) {
    float total = 0;
    for (int j = 0; j < kKeys && RowsPad > 1; ++j) total += lanes[j * RowsPad + r];
    if (RowsPad == 1) total = reduceAdd(sum);
    group.sum[r] = group.sum[r] * rescale[r] + total;
  }
}

// The same of another activation: weights of n keys by their scores alone.
template <int RowsPad>
void decodeActivation(const DecodeRows<RowsPad>& group, const Activation& activation, Token sequenceKeys, float* s,
                      int n, float* rescale) {
  for (int r = 0; r < RowsPad; ++r) {
    rescale[r] = 1;
    group.max[r] = 0;
  }
  const int count = n * RowsPad;
  withWeights(activation, sequenceKeys, [&](auto&& weigh) {
    for (int i = 0; i < count; i += kLanes) store(s + i, weigh(load(s + i)));
  });
}
