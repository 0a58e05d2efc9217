// Decode: few query rows against many keys, at memory speed. Dims lie in the lanes, every query head of a KV head shares
// one read of its keys and values. Included inside a target's anonymous namespace. Reader: start at decode() at the end.
//
// The panel loop is the wrong shape here: with one query its lanes are empty, and 8-wide panels are load-bound.

constexpr int kDecodeKeys = 64;  // keys per softmax step
// Rows ahead of the current one that are requested from memory. Without this, GQA 8:1 float16 took 1.4 times as long.
constexpr int kPrefetchBytes = 4096;

// The state of one group of up to `RowsPad` rows: a power of two, so that whole keys fill a vector of scores.
template <int RowsPad>
struct DecodeRows {
  QueryRows<RowsPad> rows;
  Box<1> tokens;
  const float* query;  // [RowsPad][paddedDim], scaled
  float* output;       // [RowsPad][paddedDim]
  float max[RowsPad], sum[RowsPad];
};

SIMD void prefetchRow(const void* row, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const char*>(row) + at);
}

// s[key][row] = k[key] . query[row] for `n` keys, a multiple of kLanes / RowsPad at a time (the rest repeats a key).
template <int RowsPad, class Element>
void decodeScores(const Element* k, int64_t stride, int n, const float* query, int ld, int dim, float* s) {
  constexpr int kKeys = kLanes / RowsPad;  // keys whose scores make up one vector
  const int64_t ahead = larger<int64_t>(1, kPrefetchBytes / (int64_t(dim) * sizeof(Element))) * stride;
  for (int key = 0; key < n; key += kKeys) {
    const Element* row[kKeys];
#pragma GCC unroll 16
    for (int j = 0; j < kKeys; ++j) {
      row[j] = k + smaller(key + j, n - 1) * stride;
      prefetchRow(row[j] + ahead, dim * sizeof(Element));
    }
    Vec acc[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) acc[i] = zero();
#pragma GCC unroll 1
    for (int d = 0; d < dim; d += kLanes) {
#pragma GCC unroll 16
      for (int j = 0; j < kKeys; ++j) {
        const Vec x = loadElements(row[j] + d);
#pragma GCC unroll 8
        for (int r = 0; r < RowsPad; ++r) acc[j * RowsPad + r] = mulAdd(x, load(query + r * ld + d), acc[j * RowsPad + r]);
      }
    }
    store(s + key * RowsPad, reduceAddEach(acc));
  }
}

// output[row] = output[row] * rescale[row] + sum over keys of p[key][row] * v[key]
template <int RowsPad, class Element>
void decodeValues(const Element* v, int64_t stride, int n, const float* p, const float* rescale, float* output, int ld,
                  int dim) {
  constexpr int kRows = RowsPad < kDecodeRows ? RowsPad : kDecodeRows;
  constexpr int kVecs = kDecodeAccumulators / kRows;
  const int64_t ahead = larger<int64_t>(1, kPrefetchBytes / (int64_t(dim) * sizeof(Element))) * stride;
  const auto strip = [&](auto vecs, int d, int r0) {
    constexpr int kWide = decltype(vecs)::kRows;
    Vec acc[kRows][kWide];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
      for (int c = 0; c < kWide; ++c)
        acc[r][c] = mul(load(output + (r0 + r) * ld + d + c * kLanes), splat(rescale[r0 + r]));
    const Element* row = v + d;
    const float* weight = p + r0;
#pragma GCC unroll 1
    for (int key = 0; key < n; ++key, row += stride, weight += RowsPad) {
      prefetchRow(row + ahead, kWide * kLanes * sizeof(Element));
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
void decodeSoftmax(DecodeRows<RowsPad>& group, float* s, int n, const Vec& most, float (&rescale)[RowsPad]) {
  constexpr int kKeys = kLanes / RowsPad;
  float lanes[kLanes], base[kLanes];
  store(lanes, most);
  for (int r = 0; r < RowsPad; ++r) {
    float now = group.max[r];
    for (int j = 0; j < kKeys; ++j) now = larger(now, lanes[j * RowsPad + r]);
    const float before = group.max[r];
    group.max[r] = now;
    for (int j = 0; j < kKeys; ++j) base[j * RowsPad + r] = subtrahend(now);
    rescale[r] = std::exp2(before - subtrahend(now));
  }
  const Vec baseVec = load(base);
  Vec sum = zero();
  const int whole = n / kKeys * kKeys;
  for (int key = 0; key < whole; key += kKeys) {
    const Vec e = exp2(sub(load(s + key * RowsPad), baseVec));
    store(s + key * RowsPad, e);
    sum = add(sum, e);
  }
  if (whole < n) {  // the last vector repeats a key: weigh it once
    float tail[kLanes];
    store(tail, exp2(sub(load(s + whole * RowsPad), baseVec)));
    for (int i = (n - whole) * RowsPad; i < kLanes; ++i) tail[i] = 0;
    store(s + whole * RowsPad, load(tail));
    sum = add(sum, load(tail));
  }
  store(lanes, sum);
  for (int r = 0; r < RowsPad; ++r) {
    float total = 0;
    for (int j = 0; j < kKeys; ++j) total += lanes[j * RowsPad + r];
    group.sum[r] = group.sum[r] * rescale[r] + total;
  }
}

struct DecodeScratch {
  float *query, *output;  // [rows][paddedDim]
  float *scores, *table;  // [kDecodeKeys + a vector][RowsPad]
  float *kRows, *vRows, *cleanV;
};

int64_t layOutDecode(const Problem& p, int rows, float* base, DecodeScratch& s) {
  int64_t at = 0;
  const auto take = [&](float*& pointer, int64_t floats) {
    pointer = base ? base + at : nullptr;
    at += (floats + 15) & ~15;
  };
  const int64_t d = paddedDim(p.headDim), dv = paddedDim(p.valueDim), padded = rows + kLanes;
  take(s.query, padded * d);
  take(s.output, padded * dv);
  take(s.scores, (kDecodeKeys + kLanes) * kLanes);
  take(s.table, (kDecodeKeys + kLanes) * kLanes);
  take(s.kRows, kDecodeKeys * d);
  take(s.vRows, kDecodeKeys * dv);
  take(s.cleanV, kDecodeKeys * dv);
  return at;
}

// Keys or values of a block: in place when they can be read as vectors, else converted to contiguous float32.
struct DecodeOperand {
  const void* data;
  DType type;
  int64_t stride;
};
DecodeOperand stageOperand(const Operand& operand, const Problem& p, int64_t base, Range keys, int dim, float* rows) {
  const int64_t at = base + keys.begin * operand.token;
  if (operand.dim == 1 && dim % kLanes == 0) return {elementAt(operand.data, p.dtype, at), p.dtype, operand.token};
  const int ld = paddedDim(dim);
  for (Token key = 0; key < keys.size(); ++key) {
    float* to = rows + key * ld;
    for (int d = dim; d < ld; ++d) to[d] = 0;
    readRow(elementAt(operand.data, p.dtype, at + key * operand.token), p.dtype, operand.dim, dim, to);
  }
  return {rows, DType::float32, ld};
}

// Copies the values with NaN and infinity set to 0; false if there are none.
bool cleanValues(const DecodeOperand& v, int n, int dim, float* clean) {
  const int ld = paddedDim(dim);
  bool found = false;
  for (int key = 0; key < n; ++key) {
    float* row = clean + key * ld;
    readRow(elementAt(v.data, v.type, key * v.stride), v.type, 1, dim, row);
    for (int d = 0; d < ld; ++d) {
      const bool isFinite = d < dim && row[d] - row[d] == 0;
      found |= d < dim && !isFinite;
      if (!isFinite) row[d] = 0;
    }
  }
  return found;
}

template <int RowsPad, class Pattern>
void decodeRun(const Problem& p, const Pattern& pattern, const ScoreScale& scale, const Run& run, const DecodeOperand& k,
               const DecodeOperand& v, const DecodeScratch& s, DecodeRows<RowsPad>& group) {
  const int n = run.keys.size(), ldK = paddedDim(p.headDim), ldV = paddedDim(p.valueDim);
  const int dimK = (p.headDim + kLanes - 1) / kLanes * kLanes, dimV = (p.valueDim + kLanes - 1) / kLanes * kLanes;
  withElementType(k.type, [&](auto* element) {
    decodeScores<RowsPad>(static_cast<decltype(element)>(k.data), k.stride, n, group.query, ldK, dimK, s.scores);
  });
  const bool isMasked = !run.isInterior || p.mask.data || p.bias.data || p.slopes;
  const int vectors = ceilDiv(n * RowsPad, kLanes);
  if (isMasked) {
    for (int i = n * RowsPad; i < vectors * kLanes; ++i) s.table[i] = kHidden;
    fillTable(p, pattern, group.rows, run, s.table);
  }
  Vec most[1] = {splat(-INFINITY)};
  modifyScores(s.scores, isMasked ? s.table : nullptr, vectors, scale.softcap, most);
  float rescale[RowsPad];
  decodeSoftmax(group, s.scores, n, most[0], rescale);

  const bool isClean = !isMasked || !cleanValues(v, n, p.valueDim, s.cleanV);
  const DecodeOperand values = isClean ? v : DecodeOperand{s.cleanV, DType::float32, ldV};
  withElementType(values.type, [&](auto* element) {
    decodeValues<RowsPad>(static_cast<decltype(element)>(values.data), values.stride, n, s.scores, rescale, group.output,
                          ldV, dimV);
  });
  if (isClean) return;
  withElementType(v.type, [&](auto* element) {  // what cleaning left out, for the rows that do see it
    const auto* rows = static_cast<decltype(element)>(v.data);
    for (int key = 0; key < n; ++key)
      for (int d = 0; d < p.valueDim; ++d) {
        const float x = toFloat(rows[key * v.stride + d]);
        if (x - x == 0) continue;
        for (int r = 0; r < RowsPad; ++r)
          if (s.table[key * RowsPad + r] != kHidden) group.output[r * ldV + d] += s.scores[key * RowsPad + r] * x;
      }
  });
}

// Rows [first, first + n) of the task, n <= RowsPad, against the task's keys.
template <int RowsPad, class Pattern>
void decodeGroup(const DecodeTask& task, const Pattern& pattern, int first, int n, const PartialRows& out,
                 const DecodeScratch& s) {
  const Problem& p = *task.problem;
  const ScoreScale scale(p);
  const int ldK = paddedDim(p.headDim), ldV = paddedDim(p.valueDim);
  DecodeRows<RowsPad> group;
  group.rows.set(p, task.sequence, 0, task.firstHead, task.headsPerToken, first, n);
  group.tokens = {{{group.rows.token[0], group.rows.token[n - 1] + 1}}};
  group.query = s.query;
  group.output = s.output;
  __builtin_memset(s.query, 0, sizeof(float) * RowsPad * ldK);
  __builtin_memset(s.output, 0, sizeof(float) * RowsPad * ldV);
  for (int r = 0; r < RowsPad; ++r) {
    group.max[r] = -INFINITY;
    group.sum[r] = 0;
    if (r >= n) continue;
    float* query = s.query + r * ldK;
    const int64_t at = p.query.offset(task.sequence.batch, task.sequence.queries.begin + group.rows.token[r],
                                      p.queryHeadOf(group.rows.head[r]));
    readRow(elementAt(p.query.data, p.dtype, at), p.dtype, p.query.dim, p.headDim, query);
    for (int d = 0; d < p.headDim; ++d) query[d] *= scale.query;
  }

  const int32_t kvHead = p.kvHeadOf(task.firstHead);
  const int64_t base = task.sequence.keys.begin;
  const int64_t kBase = p.key.offset(task.sequence.batch, base, kvHead);
  const int64_t vBase = p.value.offset(task.sequence.batch, base, kvHead);
  forEachRun(pattern, task.firstHead, group.tokens, task.keys, [&](const Run& whole) {
    for (Token key = whole.keys.begin; key < whole.keys.end; key += kDecodeKeys) {
      const Run run{{key, smaller<Token>(whole.keys.end, key + kDecodeKeys)}, whole.isInterior};
      const DecodeOperand k = stageOperand(p.key, p, kBase, run.keys, p.headDim, s.kRows);
      const DecodeOperand v = stageOperand(p.value, p, vBase, run.keys, p.valueDim, s.vRows);
      decodeRun(p, pattern, scale, run, k, v, s, group);
    }
  });

  for (int r = 0; r < n; ++r) {
    out.max[first + r] = group.max[r];
    out.sum[first + r] = group.sum[r];
    __builtin_memcpy(out.output + (first + r) * out.outputStride, group.output + r * ldV, sizeof(float) * p.valueDim);
  }
}

template <class Pattern>
void decode(const DecodeTask& task, const Pattern& pattern, const PartialRows& out, float* scratch) {
  DecodeScratch s;
  layOutDecode(*task.problem, task.rows, scratch, s);
  constexpr int kWidest = kLanes < 8 ? kLanes : 8;
  int first = 0;
  for (; task.rows - first > kWidest / 2; first += kWidest) {
    decodeGroup<kWidest>(task, pattern, first, smaller(kWidest, task.rows - first), out, s);
  }
  const int rest = task.rows - first;
  if (rest > kWidest / 4) {
    decodeGroup<kWidest / 2>(task, pattern, first, rest, out, s);
  } else if (kWidest == 8 && rest > 1) {
    decodeGroup<2>(task, pattern, first, rest, out, s);
  } else if (rest > 0) {
    decodeGroup<1>(task, pattern, first, rest, out, s);
  }
}
