// Scores times their factors (core/score/score_factor.h, cosine.h): before anything is added, while they are in L1.
// Included inside a target's anonymous namespace. Reader: someone who follows a factor into the loops; how its values
// are read and transposed is in rule_table.inl.

// Multiplies the scores of a run of keys, [keys][width], by what each row of queries reads.
template <class Rule, class Rows>
void multiplyScores(float* scores, const Rule& rule, const typename Rule::Row (&row)[Rows::kWidth], const Rows&,
                    const KeyRun& keys) {
  constexpr int kWidth = Rows::kWidth;
  const int n = keys.places.size();
  int64_t first[kWidth];
  const int64_t stride = findValues(rule, row, keys, first);
  rule.withReader([&](const auto& read) {
    if constexpr (kWidth % kLanes == 0) {
      forEachBlock(rule, first, stride, n, read.data, [&](int key, int count, int lane, const Vec(&block)[kLanes]) {
        float* s = scores + key * kWidth + lane;
#pragma GCC unroll 16
        for (int j = 0; j < kLanes; ++j, s += kWidth) {
          if (j < count) store(s, mul(load(s), block[j]));
        }
      });
    } else {
      float factors[(kDecodeKeys + kLanes) * kWidth];
      addPacked(rule, first, stride, n, read.data, true, factors);
      for (int i = 0; i < n * kWidth; i += kLanes) store(scores + i, mul(load(scores + i), load(factors + i)));
      // The last vector repeats the last key.
      for (int i = n * kWidth; i % kLanes != 0; ++i) scores[i] = scores[i - kWidth];
    }
  });
}

// Caps products of a run of keys and multiplies them by their factors. Returns what is left of the scale.
template <class Rows>
ScoreScale applyFactor(float* scores, const AttentionProblem& p, const Rows& rows, const KeyRun& keys,
                       const ScoreScale& scale) {
  ScoreScale left = scale;
  if (scale.hasCap()) {
    const Vec inCap = splat(scale.inCap);
    const int n = keys.places.size() * Rows::kWidth;
    for (int i = 0; i < n; i += kLanes) store(scores + i, tanh(mul(load(scores + i), inCap)));
    left.inCap = 0;
  }
  multiplyScores(scores, p.scoreFactor, rows.factor, rows, keys);
  return left;
}

// The same with what divides by lengths in front, which is all that extra keys have.
template <class Rows>
ScoreScale applyFactors(float* scores, const AttentionProblem& p, const Rows& rows, const KeyRun& keys, bool areExtra,
                        const ScoreScale& scale) {
  const Cosine& cosine = p.cosine;
  if (cosine.isUsed && areExtra) multiplyScores(scores, cosine.extras, rows.extraLengths, rows, keys);
  if (cosine.isUsed && !areExtra) multiplyScores(scores, cosine.keys, rows.lengths, rows, keys);
  return p.scoreFactor.isPresent() && !areExtra ? applyFactor(scores, p, rows, keys, scale) : scale;
}
