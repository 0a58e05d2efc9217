// Attention in float64 on the host, and how far a kernel's bfloat16 output is from it. Plain loops that share nothing
// with the kernels. Reader: someone who doubts a verdict of attention_probe.cu.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace tilewise::probe {

inline double fromBfloat16(uint16_t bits) {
  const uint32_t wide = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

struct Problem {
  int heads, queries, keys, headDim;
  bool isCausal;  // the last query sees the last key
  double scale() const { return 1 / std::sqrt(double(headDim)); }
  int visible(int query) const {
    const int end = isCausal ? query + 1 + keys - queries : keys;
    return end < 0 ? 0 : end > keys ? keys : end;
  }
  double pairs() const {
    double sum = 0;
    for (int i = 0; i < queries; ++i) sum += visible(i);
    return sum * heads;
  }
};

/** Of rows compared so far. */
struct Error {
  double worst = 0, squares = 0, reference = 0, lse = 0;
  double relative() const { return reference > 0 ? std::sqrt(squares / reference) : 0; }
  bool isSmall() const { return worst < 2e-2 && relative() < 1e-2 && lse < 1e-3; }  // false for NaN
};

/** Compares one row; k, v and lse are of its head, q and out of the row itself. */
inline void compareRow(Error& error, const Problem& p, int row, const uint16_t* q, const uint16_t* k, const uint16_t* v,
                       const uint16_t* out, float lse) {
  const int end = p.visible(row), d = p.headDim;
  std::vector<double> scores(end), expected(d, 0.0);
  double most = -INFINITY, sum = 0;
  for (int j = 0; j < end; ++j) {
    double dot = 0;
    for (int c = 0; c < d; ++c) dot += fromBfloat16(q[c]) * fromBfloat16(k[size_t(j) * d + c]);
    scores[j] = dot * p.scale();
    most = std::max(most, scores[j]);
  }
  for (int j = 0; j < end; ++j) {
    const double weight = std::exp(scores[j] - most);
    sum += weight;
    for (int c = 0; c < d; ++c) expected[c] += weight * fromBfloat16(v[size_t(j) * d + c]);
  }
  auto worse = [](double a, double b) { return a >= b ? a : b; };  // NaN as b stays, and stays once it is a
  for (int c = 0; c < d; ++c) {
    const double want = end > 0 ? expected[c] / sum : 0, off = std::abs(want - fromBfloat16(out[c]));
    error.worst = worse(error.worst, off);
    error.squares += off * off;
    error.reference += want * want;
  }
  const double want = end > 0 ? most + std::log(sum) : -INFINITY;
  if (want != lse) error.lse = worse(error.lse, std::abs(want - lse));
}

}  // namespace tilewise::probe
