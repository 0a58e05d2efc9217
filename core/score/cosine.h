// Cosine: scores of queries and keys that are divided by their lengths (options.similarity). Reader: someone who
// follows a product of a query and a key to its score. Values are as they are. Idea: cosine attention with a
// temperature, as the memory of M3 (arXiv 2503.16413) has it.
//
// Keys are not copied: 1 / |k| is a factor on the products of a key, before softcap. A backend writes these factors
// before its loops run, 4 bytes for each key and KV head, or computes them where keys are read once; a query is divided
// when it is read, or has a factor too.
#pragma once

#include <cmath>

#include "operand.h"

namespace tilewise {

// A shorter vector is divided by this: a vector of zeros has cosine 0 with all others.
constexpr float kLeastLength = 1e-12f;
// What a vector is multiplied by whose squares are beyond float32.
constexpr float kShrink = 0x1p-70f;

// What divides a vector by its length, of the sum of its squares.
TW_HOST_DEVICE float lengthFactor(float squares) {
  const float length = std::sqrt(squares);
  return 1 / (length < kLeastLength ? kLeastLength : length);
}

// A factor for each of some rows, [batch entry][head][token]. Loops read one as they read what a rule adds.
struct LengthFactors {
  const float* data = nullptr;
  int64_t batch = 0, head = 0;  // strides

  using Row = int64_t;

  TW_HOST_DEVICE Row row(int64_t b, int64_t h, int64_t first) const { return b * batch + h * head + first; }
  TW_HOST_DEVICE int64_t at(int64_t row, const ScoreKey& k) const { return row + k.token; }
  template <class Visit>
  TW_HOST_DEVICE void withReader(Visit&& visit) const {
    visit(readerOf(data));
  }
  template <class N>
  TW_HOST_DEVICE N addend(N factor) const {
    return factor;
  }
};

struct Cosine {
  bool isUsed = false;
  LengthFactors keys, extras;  // of KV heads; batch entries of keys, and of extra keys
  LengthFactors queries;  // of query heads, where they are not divided when they are read

  TW_HOST_DEVICE int64_t rowOfKeys(const ScoreQuery& q) const { return keys.row(q.keyBatch, q.kvHead, q.firstKey); }
  TW_HOST_DEVICE int64_t rowOfExtras(const ScoreQuery& q) const { return extras.row(q.batch, q.kvHead, 0); }
};

}  // namespace tilewise
