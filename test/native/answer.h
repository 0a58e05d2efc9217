// A problem's float64 answer, by plain loops from the definitions: shares nothing with the code under test but the
// problem's fields. Reader: someone who asks what the native checks believe.
#pragma once

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "../../core/op/attention.h"

namespace tilewise {

struct Case {
  AttentionProblem problem;
  std::vector<std::vector<char>> buffers;
  std::vector<double> out, lse;  // float64 answers, out in the order of problem.out's elements
  double largestScore = 0;       // in magnitude: float32 scores are off by up to its rounding
  double largestWeights = 1;     // a row's weights together: 1 with softmax, and errors grow with them
  std::string name;
};

inline double elementAt(const void* data, DType type, int64_t at) {
  if (type == DType::float32) return static_cast<const float*>(data)[at];
  const uint16_t bits = static_cast<const uint16_t*>(data)[at];
  return type == DType::float16 ? fromFloat16(bits) : fromBfloat16(bits);
}

// How far the output is from the answer, less `relative` times the answer; infinite where one is finite and the other
// not. Infinity and NaN are alike: a weight of 1e-60 is zero in float32, and zero times infinity is NaN.
inline double outError(const Case& c, double relative) {
  double worst = 0;
  for (size_t i = 0; i < c.out.size(); ++i) {
    const double got = elementAt(c.problem.out.data, c.problem.dtype, int64_t(i)), want = c.out[i];
    if (std::isfinite(got) != std::isfinite(want)) return INFINITY;
    if (std::isfinite(got)) worst = std::fmax(worst, std::fabs(got - want) - relative * std::fabs(want));
  }
  return worst;
}

// 0 where no lse is asked for.
inline double lseError(const Case& c) {
  if (!c.problem.lse) return 0;
  double worst = 0;
  for (size_t i = 0; i < c.lse.size(); ++i) {
    const double got = c.problem.lse[i], want = c.lse[i];
    if (got == want) continue;  // both infinite
    if (!std::isfinite(got - want)) return INFINITY;
    worst = std::fmax(worst, std::fabs(got - want));
  }
  return worst;
}

// One query of one head, with what follows from its batch entry.
struct AnswerRow {
  int32_t batch, head, query;
  int32_t start;     // first key in use
  int32_t keys;      // where those in use end
  int32_t offset;    // query q is at position q + offset among the keys
  int32_t queryHead, kvHead;

  int64_t position() const { return int64_t(query) + offset; }
  int64_t indexOf(const ScoreOperand& o, int64_t k) const {
    return batch * o.batch + (o.isOfKvHeads ? kvHead : head) * o.head + query * o.query + k * o.key;
  }
};

inline AnswerRow answerRow(const AttentionProblem& p, int32_t b, int32_t h, int32_t q) {
  const int32_t heads = p.queryHeads > p.kvHeads ? p.queryHeads : p.kvHeads;
  const int32_t keys = p.keyLengths ? p.keyLengths[b] : p.keys, start = p.keyStarts ? p.keyStarts[b] : 0;
  const int32_t offset = p.window.align == Align::bottomRight ? keys - p.queries
                         : p.window.align == Align::topLeft   ? 0
                                                              : p.window.offset;
  const int32_t queryHead = p.queryHeads == heads        ? h
                            : p.pairing == Pairing::tile ? h % p.queryHeads
                                                         : h / (heads / p.queryHeads);
  return {b, h, q, start, keys, offset, queryHead, p.kvHeads < heads ? h / (heads / p.kvHeads) : h};
}

inline bool windowShows(const AttentionProblem& p, const AnswerRow& row, int32_t k) {
  const int64_t position = row.position();
  HeadWindow w{p.window.left, p.window.right, p.window.sinkTokens};
  if (p.window.heads.differ()) w = p.window.heads.of(row.head);
  return k <= position + w.right && (k >= position - w.left || k < row.start + w.sinkTokens);
}

// NATTEN's definition, an axis at a time.
inline bool neighborhoodShows(const Grid& grid, int32_t q, int32_t k) {
  for (int a = grid.rank - 1; a >= 0; --a) {
    const Token length = grid.length[a], d = grid.dilation[a], kernel = grid.kernel[a];
    const Token qi = q % length, ki = k % length;
    q /= length;
    k /= length;
    if (qi % d != ki % d) return false;
    std::vector<Token> group;  // the tokens of the dilation group, by place
    for (Token t = qi % d; t < length; t += d) group.push_back(t);
    const Token n = Token(group.size()), place = qi / d, stride = grid.stride[a];
    std::vector<Token> mates;  // the places of the stride group
    for (Token i = 0; i < place / stride * stride + stride; ++i)
      if (i / stride == place / stride) mates.push_back(i);
    Token begin, end;
    if (grid.isCausal[a]) {
      const Token leader = grid.isClipped || mates.back() < n ? mates.back() : n - 1;
      begin = leader + 1 - kernel < 0 ? 0 : leader + 1 - kernel;
      end = place + 1;
    } else if (grid.isClipped) {  // where the window is on an axis without ends
      begin = mates[mates.size() / 2] - kernel / 2;
      end = begin + kernel;
    } else {  // the run of kernel places whose anchor comes nearest to the leader
      const Token middle = mates[mates.size() / 2], leader = middle < n ? middle : n - 1;
      begin = 0;
      for (Token i = 1; i + kernel <= n; ++i)
        if (std::abs(i + kernel / 2 - leader) < std::abs(begin + kernel / 2 - leader)) begin = i;
      end = begin + kernel;
    }
    if (ki / d < begin || ki / d >= end) return false;
  }
  return true;
}

inline bool shardsShow(const ShardOptions& s, int32_t h, int64_t position, int32_t k) {
  const auto blockOf = [&](int64_t t) { return int64_t(std::floor(double(t) / s.blockSize)); };
  const int64_t qb = blockOf(position), kb = blockOf(k), layout = s.headBase + h / s.headsPerLayout;
  if (s.isRelative) {
    const int64_t left = qb - kb - s.localBlocks + 1, right = kb - qb - s.localBlocksRight + 1;
    return ((left > 0 ? left : 0) + (right > 0 ? right : 0)) % s.vertStride == 0;
  }
  if (k > position) return false;
  if (layout >= s.firstDense || qb - kb < s.localBlocks) return true;
  const int64_t shifted = kb + layout * s.headStep + s.headOffset;
  return ((shifted % s.vertStride) + s.vertStride) % s.vertStride == 0;
}

// The entry of a query's list that a key is in; -1: none.
inline int32_t entryOf(const BlockLists& l, const AnswerRow& row, int32_t k) {
  const int64_t list = row.batch * l.byBatch + row.head / l.headsPerList * l.byHead + row.query / l.queries;
  for (int32_t e = l.begins[list]; e < l.begins[list] + l.counts[list]; ++e)
    if (k >= l.starts[e] && k < l.starts[e] + l.keys) return e;
  return -1;
}

inline bool listShows(const AttentionProblem& p, const AnswerRow& row, int32_t k) {
  const BlockLists& l = p.blocks;
  const bool inWindow = windowShows(p, row, k);
  if (l.hasWindow && (inWindow || k > row.position())) return inWindow;
  if (!l.hasWindow && !inWindow) return false;
  const int32_t e = entryOf(l, row, k);
  if (e < 0 || !l.maskIndex || l.maskIndex[e] < 0) return e >= 0;
  return l.masks[(int64_t(l.maskIndex[e]) * l.queries + row.query % l.queries) * l.keys + k - l.starts[e]];
}

// What lists add to a score; a key of their window has no entry.
inline double addendOfList(const AttentionProblem& p, const AnswerRow& row, int32_t k) {
  if (!p.blocks.addends || (p.blocks.hasWindow && windowShows(p, row, k))) return 0;
  return p.blocks.addends[entryOf(p.blocks, row, k)];
}

inline bool rangesShow(const AttentionProblem& p, const AnswerRow& row, int32_t k) {
  const RangeTables& t = p.ranges;
  const int64_t at = (row.batch * t.byBatch + row.head / t.headsPerTable * t.byHead) * p.queries + row.query;
  for (int32_t i = t.offsets[at]; i < t.offsets[at + 1]; ++i)
    if (k >= t.ranges[i].begin && k < t.ranges[i].end) return true;
  return false;
}

inline bool sees(const AttentionProblem& p, const AnswerRow& row, int32_t k) {
  if (k < row.start) return false;
  if (p.pattern == PatternKind::window) return windowShows(p, row, k);
  if (p.pattern == PatternKind::neighborhood) return neighborhoodShows(p.grid, row.query, k);
  if (p.pattern == PatternKind::stridedShards) return shardsShow(p.shards, row.head, row.position(), k);
  if (p.pattern == PatternKind::ranges) return rangesShow(p, row, k);
  return listShows(p, row, k);
}

// Scale and softcap; products of a cosine are divided by the lengths of both.
inline double cappedProduct(const AttentionProblem& p, const AnswerRow& row, const Operand& key, int32_t k) {
  double s = 0, ofQuery = 0, ofKey = 0;
  for (int32_t d = 0; d < p.headDim; ++d) {
    const double a = elementAt(p.query.data, p.dtype, p.query.offset(row.batch, row.query, row.queryHead) + d);
    const double b = elementAt(key.data, p.keyType, key.offset(row.batch, k, row.kvHead) + d);
    s += a * b;
    ofQuery += a * a;
    ofKey += b * b;
  }
  if (p.cosine.isUsed) s /= std::fmax(std::sqrt(ofQuery), kLeastLength) * std::fmax(std::sqrt(ofKey), kLeastLength);
  s *= p.scale;
  return p.softcap > 0 ? p.softcap * std::tanh(s / p.softcap) : s;
}

inline double factorOf(const AttentionProblem& p, const AnswerRow& row, int32_t k) {
  const ScoreFactor& factor = p.scoreFactor;
  return factor.data ? static_cast<const float*>(factor.data.data)[row.indexOf(factor, k)] : 1;
}

// What the score rules add, -inf where they hide the key.
inline double addendOfRules(const AttentionProblem& p, const AnswerRow& row, int32_t k) {
  const ScoreRules& rules = p.rules;
  for (const Mask* mask : {&rules.mask, static_cast<const Mask*>(&rules.keyMask)}) {
    if (mask->data && !static_cast<const uint8_t*>(mask->data.data)[row.indexOf(*mask, k)]) return -INFINITY;
  }
  double sum = 0;
  if (const RelativeBias& relative = rules.relativeBias; relative.data) {
    int32_t qr = row.query, kr = k;
    int64_t at = row.head * relative.head;
    for (int a = p.grid.rank - 1; a >= 0; --a) {
      const Token length = p.grid.length[a];
      const Token apart = (kr % length - qr % length) / p.grid.dilation[a];
      at += (apart + p.grid.kernel[a] - 1) * relative.axis[a + kMaxRank - p.grid.rank];
      qr /= length;
      kr /= length;
    }
    sum += relative.data[at];
  }
  if (rules.bias.data) sum += static_cast<const float*>(rules.bias.data.data)[row.indexOf(rules.bias, k)];
  if (rules.alibiSlopes.data) {
    const RulePositions& at = p.positions;
    const int64_t apart = at.areGiven() ? int64_t(at.ofQuery(row.batch, row.query)) - at.keysOf(row.batch)[k]
                                        : int64_t(row.position()) - k;
    sum -= double(rules.alibiSlopes.data[row.head]) * double(std::llabs(apart));
  }
  return sum;
}

// The weight of a score, of an activation other than softmax, in a sequence of so many keys.
inline double activated(const Activation& a, double score, int32_t keys) {
  if (a.kind == ActivationKind::relu) return score > 0 ? score / keys : 0;
  return 1 / (1 + std::exp(-score - (a.isBiasOfKeys ? -std::log(double(keys)) : double(a.bias))));
}

inline void answer(Case& c, const AnswerRow& row) {
  const AttentionProblem& p = c.problem;
  const float gate = p.gate.of({row.batch, row.query, row.head});
  std::vector<double> score(size_t(row.keys) + size_t(p.extraTokens), -INFINITY);
  for (int32_t k = 0; k < row.keys; ++k) {
    if (!sees(p, row, k)) continue;
    const double addend = addendOfRules(p, row, k);
    if (addend == -INFINITY) continue;
    score[size_t(k)] = cappedProduct(p, row, p.key, k) * factorOf(p, row, k) + addend + addendOfList(p, row, k);
  }
  for (int32_t k = 0; k < p.extraTokens; ++k) score[size_t(row.keys + k)] = cappedProduct(p, row, p.extraKeys, k);
  const double sink = p.sinks ? p.sinks[row.head] : -INFINITY;
  double most = sink;
  for (const double s : score) {
    if (s > -INFINITY) c.largestScore = std::fmax(c.largestScore, std::fabs(s));
    most = std::fmax(most, s);
  }
  if (most == -INFINITY) return;
  double sum = 1;
  std::vector<double> weight;
  if (p.activation.isSoftmax()) {
    sum = sink == INFINITY ? 1 : std::exp(sink - most);
    for (const double s : score) sum += weight.emplace_back(std::exp(s - most));
    c.lse[size_t(row.batch * p.lseBatch + row.head * p.lseHead + row.query)] = most + std::log(sum);
  } else {
    double all = 0;
    for (const double s : score) {
      all += weight.emplace_back(activated(p.activation, s, larger(1, row.keys - row.start)));
    }
    if (std::isfinite(all)) c.largestWeights = std::fmax(c.largestWeights, all);
  }
  for (int32_t d = 0; d < p.valueDim; ++d) {
    double o = 0;
    for (int32_t k = 0; k < row.keys + p.extraTokens; ++k) {
      if (score[size_t(k)] == -INFINITY) continue;
      const bool isExtra = k >= row.keys;
      const Operand& value = isExtra ? p.extraValues : p.value;
      const int64_t at = value.offset(row.batch, isExtra ? k - row.keys : k, row.kvHead) + d;
      o += weight[size_t(k)] * elementAt(value.data, p.keyType, at);
    }
    c.out[size_t(p.out.offset(row.batch, row.query, row.head) + d)] = gate == 0 ? 0 : o / sum * double(gate);
  }
}

inline void answer(Case& c) {
  const AttentionProblem& p = c.problem;
  const int32_t heads = p.queryHeads > p.kvHeads ? p.queryHeads : p.kvHeads;
  c.out.assign(size_t(int64_t(p.batch) * heads * p.queries * p.valueDim), 0);
  c.lse.assign(size_t(int64_t(p.batch) * heads * p.queries), -INFINITY);
  for (int32_t b = 0; b < p.batch; ++b)
    for (int32_t h = 0; h < heads; ++h)
      for (int32_t q = 0; q < p.queries; ++q) answer(c, answerRow(p, b, h, q));
}

}  // namespace tilewise
