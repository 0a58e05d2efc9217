// Random problems with exact-size buffers, and a float64 answer for each, for the native checks.
// Buffers end where the tensor ends, so that a sanitizer sees any read past it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "../../core/op/attention.h"

namespace tilewise {

struct Case {
  AttentionProblem problem;
  std::vector<std::vector<char>> buffers;
  std::vector<double> out, lse;  // float64 answers, out in the order of problem.out's elements
  double largestScore = 0;       // in magnitude: float32 scores are off by up to its rounding
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

inline double lseError(const Case& c) {
  double worst = 0;
  for (size_t i = 0; i < c.lse.size(); ++i) {
    const double got = c.problem.lse[i], want = c.lse[i];
    if (got == want) continue;  // both -inf
    if (!std::isfinite(got - want)) return INFINITY;
    worst = std::fmax(worst, std::fabs(got - want));
  }
  return worst;
}

class CaseMaker {
 public:
  explicit CaseMaker(uint32_t seed) : random_(seed) {}

  std::unique_ptr<Case> make(int32_t queries, int32_t keys, int32_t headDim, int32_t valueDim) {
    auto made = draw(queries, keys, headDim, valueDim);
    answer(*made);
    return made;
  }

  // A problem without its answer, which takes most of the time.
  std::unique_ptr<Case> draw(int32_t queries, int32_t keys, int32_t headDim, int32_t valueDim) {
    auto made = std::make_unique<Case>();
    Case& c = *made;
    AttentionProblem& p = c.problem;
    p.batch = p.sequences = int32_t(pick(2) + 1);
    p.pattern = pick(2) ? PatternKind::window : PatternKind(1 + pick(3));
    const int32_t group = int32_t(pick(3) == 0 ? 1 : pick(5) + 1);
    p.kvHeads = int32_t(pick(3) + 1);
    p.queryHeads = p.kvHeads * group;
    if (pick(6) == 0) std::swap(p.kvHeads, p.queryHeads);
    p.pairing = pick(2) ? Pairing::tile : Pairing::interleave;
    p.queries = queries;
    p.keys = keys;
    addPattern(c);
    p.headDim = headDim;
    p.valueDim = valueDim;
    p.dtype = DType(pick(3));
    const bool isBnhd = pick(2) == 0;
    p.query = operand(c, p.queryHeads, p.queries, headDim, isBnhd);
    p.key = operand(c, p.kvHeads, p.keys, headDim, isBnhd);
    p.value = operand(c, p.kvHeads, p.keys, valueDim, isBnhd);
    p.out = operand(c, p.outputHeads(), p.queries, valueDim, isBnhd);
    p.lse = reinterpret_cast<float*>(buffer(c, int64_t(p.batch) * p.outputHeads() * p.queries * 4));
    p.lseBatch = int64_t(p.outputHeads()) * p.queries;
    p.lseHead = p.queries;
    p.lseToken = 1;
    p.scale = 1 / std::sqrt(float(headDim));
    if (pick(4) == 0) {
      p.extraKeys = pick(4) == 0 ? 200 : 1 + pick(20);
      p.extraKey = operand(c, p.kvHeads, p.extraKeys, headDim, isBnhd);
      p.extraValue = operand(c, p.kvHeads, p.extraKeys, valueDim, isBnhd);
    }
    addOptions(c);
    return made;
  }

  static int64_t indexOf(const ScoreOperand& o, int64_t b, int64_t h, int64_t q, int64_t k) {
    return b * o.batch + h * o.head + q * o.query + k * o.key;
  }

  // Plain loops from the definitions; shares nothing with the code under test but the problem's fields.
  void answer(Case& c) {
    const AttentionProblem& p = c.problem;
    const ScoreRules& rules = p.rules;
    const int32_t heads = p.queryHeads > p.kvHeads ? p.queryHeads : p.kvHeads;
    c.out.assign(size_t(int64_t(p.batch) * heads * p.queries * p.valueDim), 0);
    c.lse.assign(size_t(int64_t(p.batch) * heads * p.queries), -INFINITY);
    for (int32_t b = 0; b < p.batch; ++b) {
      const int32_t keys = p.keyLengths ? p.keyLengths[b] : p.keys;
      const int32_t offset = p.window.align == Align::bottomRight ? keys - p.queries
                             : p.window.align == Align::topLeft   ? 0
                                                                  : p.window.offset;
      for (int32_t h = 0; h < heads; ++h) {
        const int32_t kvHead = p.kvHeads < heads ? h / (heads / p.kvHeads) : h;
        const int32_t queryHead = p.queryHeads == heads        ? h
                                  : p.pairing == Pairing::tile ? h % p.queryHeads
                                                               : h / (heads / p.queryHeads);
        for (int32_t q = 0; q < p.queries; ++q) {
          std::vector<double> score(size_t(keys) + size_t(p.extraKeys), -INFINITY);
          const auto product = [&](const Operand& key, int32_t k) {
            double s = 0;
            for (int32_t d = 0; d < p.headDim; ++d) {
              s += elementAt(p.query.data, p.dtype, p.query.offset(b, q, queryHead) + d) *
                   elementAt(key.data, p.dtype, key.offset(b, k, kvHead) + d);
            }
            s *= p.scale;
            return p.softcap > 0 ? p.softcap * std::tanh(s / p.softcap) : s;
          };
          for (int32_t k = 0; k < p.extraKeys; ++k) {
            const double s = score[size_t(keys + k)] = product(p.extraKey, k);
            c.largestScore = std::fmax(c.largestScore, std::fabs(s));
          }
          double most = p.sinks ? p.sinks[h] : -INFINITY;
          for (int32_t k = 0; k < keys; ++k) {
            const int64_t position = int64_t(q) + offset;
            if (!sees(p, b, h, q, k, keys)) continue;
            if (rules.mask.data && !static_cast<const uint8_t*>(rules.mask.data.data)[indexOf(rules.mask, b, h, q, k)])
              continue;
            double s = product(p.key, k);
            if (const RelativeBias& relative = rules.relativeBias; relative.data) {
              int32_t qr = q, kr = k;
              int64_t at = h * relative.head;
              for (int a = p.grid.rank - 1; a >= 0; --a) {
                const Token length = p.grid.length[a];
                const Token apart = (kr % length - qr % length) / p.grid.dilation[a];
                at += (apart + p.grid.kernel[a] - 1) * relative.axis[a + kMaxRank - p.grid.rank];
                qr /= length;
                kr /= length;
              }
              s += relative.data[at];
            }
            if (rules.bias.data) s += static_cast<const float*>(rules.bias.data.data)[indexOf(rules.bias, b, h, q, k)];
            if (rules.alibiSlopes.data) s -= double(rules.alibiSlopes.data[h]) * double(std::llabs(position - k));
            score[size_t(k)] = s;
            if (s > -INFINITY) c.largestScore = std::fmax(c.largestScore, std::fabs(s));
          }
          for (const double s : score) most = std::fmax(most, s);
          if (most == -INFINITY) continue;
          double sum = p.sinks ? std::exp(p.sinks[h] - most) : 0;
          std::vector<double> weight;
          for (const double s : score) sum += weight.emplace_back(std::exp(s - most));
          c.lse[size_t(b * p.lseBatch + h * p.lseHead + q)] = most + std::log(sum);
          for (int32_t d = 0; d < p.valueDim; ++d) {
            double o = 0;
            for (int32_t k = 0; k < keys + p.extraKeys; ++k) {
              const Operand& value = k < keys ? p.value : p.extraValue;
              if (score[size_t(k)] == -INFINITY) continue;
              o += weight[size_t(k)] *
                   elementAt(value.data, p.dtype, value.offset(b, k < keys ? k : k - keys, kvHead) + d);
            }
            c.out[size_t(p.out.offset(b, q, h) + d)] = o / sum;
          }
        }
      }
    }
  }

  // A few values become NaN or infinite: queries that see one must say so, the others must not. And one of float32 the
  // largest there is, which must not become infinite.
  void spoilValues(Case& c) {
    const AttentionProblem& p = c.problem;
    const int64_t count = int64_t(p.batch) * p.kvHeads * p.keys * p.valueDim;
    const float spoilt[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; count > 0 && i < 4; ++i) {
      const float x = i == 0 && p.dtype == DType::float32 ? std::numeric_limits<float>::max() : spoilt[pick(3)];
      set(p.value, p.dtype, int64_t(random_()) % count, x);
    }
    answer(c);
  }

  // Nothing is left but the pattern: the GPU has kernels of their own for that.
  void makePlain(Case& c) {
    AttentionProblem& p = c.problem;
    p.softcap = 0;
    p.extraKeys = 0;
    p.rules = {};
    answer(c);
  }

  int pick(int n) { return int(random_() % uint32_t(n)); }

 private:
  float number() { return float(int(random_() % 4001) - 2000) / 1000; }

  char* buffer(Case& c, int64_t bytes) {
    c.buffers.emplace_back(size_t(bytes));
    return c.buffers.back().data();
  }

  // A list of `count` numbers that live as long as the case.
  template <class T>
  T* list(Case& c, size_t count) {
    return reinterpret_cast<T*>(buffer(c, int64_t(count * sizeof(T))));
  }

  void addPattern(Case& c) {
    AttentionProblem& p = c.problem;
    if (p.pattern == PatternKind::neighborhood) {
      Grid& g = p.grid;
      g.rank = 1 + pick(3);
      const int most = g.rank == 1 ? 200 : g.rank == 2 ? 16 : 7;
      p.queries = 1;
      for (int a = 0; a < g.rank; ++a) {
        g.length[a] = 1 + pick(most);
        g.dilation[a] = pick(3) ? 1 : 1 + pick(smaller(g.length[a], 5));
        g.kernel[a] = 1 + pick(g.length[a] / g.dilation[a]);
        g.stride[a] = pick(2) ? 1 : 1 + pick(g.kernel[a]);
        g.isCausal[a] = pick(4) == 0;
        p.queries *= g.length[a];
      }
      p.keys = p.queries;
    } else if (p.pattern == PatternKind::stridedShards) {
      ShardOptions& s = p.shards;
      s = {1 + pick(20), 1 + pick(4), 1 + pick(3), 1 + pick(5), pick(3), pick(5) - 2, pick(3), 1 + pick(3)};
      if (pick(3) == 0) s.firstDense = pick(4);
      s.isRelative = pick(5) == 0;
    } else if (p.pattern == PatternKind::blocks) {
      addLists(c);
    }
  }

  void addLists(Case& c) {
    AttentionProblem& p = c.problem;
    BlockLists& b = p.blocks;
    b.queries = 1 + pick(40);
    b.keys = 1 + pick(20);
    const int32_t heads = p.outputHeads(), kvHeads = smaller(p.kvHeads, p.queryHeads);
    b.headsPerList = pick(2) ? heads / kvHeads : pick(2) ? 1 : heads;
    const int32_t blocks = larger(1, ceilDiv(p.queries, b.queries)), listHeads = heads / b.headsPerList;
    b.byHead = blocks;
    b.byBatch = pick(2) ? 0 : int64_t(blocks) * listHeads;
    const size_t lists = size_t(b.byBatch ? p.batch : 1) * size_t(listHeads) * size_t(blocks);
    b.hasWindow = pick(2);
    int32_t *begins = list<int32_t>(c, lists), *counts = list<int32_t>(c, lists);
    std::vector<int32_t> starts;
    for (size_t i = 0; i < lists; ++i) {
      begins[i] = int32_t(starts.size());
      for (int32_t at = pick(30); at < p.keys; at += b.keys + (pick(2) ? 0 : pick(60))) starts.push_back(at);
      counts[i] = int32_t(starts.size()) - begins[i];
    }
    int32_t* entries = list<int32_t>(c, starts.size());
    std::copy(starts.begin(), starts.end(), entries);
    b.begins = begins;
    b.counts = counts;
    b.starts = entries;
    if (pick(2)) return;
    int32_t* index = list<int32_t>(c, starts.size());
    for (size_t i = 0; i < starts.size(); ++i) index[i] = pick(3) - 1;
    const size_t size = size_t(b.queries) * size_t(b.keys);
    uint8_t* masks = list<uint8_t>(c, 2 * size);
    for (size_t i = 0; i < 2 * size; ++i) masks[i] = pick(2);
    b.maskIndex = index;
    b.masks = masks;
  }

  // Whether the pattern shows key k to query q, from the families' definitions.
  static bool sees(const AttentionProblem& p, int32_t b, int32_t h, int32_t q, int32_t k, int32_t keys) {
    const int32_t offset = p.window.align == Align::bottomRight ? keys - p.queries
                           : p.window.align == Align::topLeft   ? 0
                                                                : p.window.offset;
    const int64_t position = int64_t(q) + offset;
    const bool inWindow = k <= position + p.window.right && (k >= position - p.window.left || k < p.window.sinkTokens);
    if (p.pattern == PatternKind::window) return inWindow;
    if (p.pattern == PatternKind::neighborhood) {
      for (int a = p.grid.rank - 1; a >= 0; --a) {
        const Token length = p.grid.length[a], d = p.grid.dilation[a], kernel = p.grid.kernel[a];
        const Token qi = q % length, ki = k % length;
        q /= length;
        k /= length;
        if (qi % d != ki % d) return false;
        std::vector<Token> group;  // the tokens of the dilation group, by place
        for (Token t = qi % d; t < length; t += d) group.push_back(t);
        const Token n = Token(group.size()), place = qi / d, stride = p.grid.stride[a];
        std::vector<Token> mates;  // the places of the stride group
        for (Token i = 0; i < place / stride * stride + stride; ++i)
          if (i / stride == place / stride) mates.push_back(i);
        Token begin, end;
        if (p.grid.isCausal[a]) {
          const Token leader = mates.back() < n ? mates.back() : n - 1;
          begin = leader + 1 - kernel < 0 ? 0 : leader + 1 - kernel;
          end = place + 1;
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
    if (p.pattern == PatternKind::stridedShards) {
      const ShardOptions& s = p.shards;
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
    const BlockLists& l = p.blocks;
    if (l.hasWindow && (inWindow || k > position)) return inWindow;
    if (!l.hasWindow && k > position + p.window.right) return false;
    const int64_t list = b * l.byBatch + h / l.headsPerList * l.byHead + q / l.queries;
    for (int32_t e = l.begins[list]; e < l.begins[list] + l.counts[list]; ++e) {
      if (k < l.starts[e] || k >= l.starts[e] + l.keys) continue;
      if (!l.maskIndex || l.maskIndex[e] < 0) return true;
      return l.masks[(int64_t(l.maskIndex[e]) * l.queries + q % l.queries) * l.keys + k - l.starts[e]];
    }
    return false;
  }

  static void set(const Operand& o, DType type, int64_t at, float x) {
    if (type == DType::float32) static_cast<float*>(o.data)[at] = x;
    if (type == DType::float16) static_cast<uint16_t*>(o.data)[at] = toFloat16(x);
    if (type == DType::bfloat16) static_cast<uint16_t*>(o.data)[at] = toBfloat16(x);
  }

  Operand operand(Case& c, int32_t heads, int32_t tokens, int32_t dim, bool isBnhd) {
    const AttentionProblem& p = c.problem;
    const int64_t count = int64_t(p.batch) * heads * tokens * dim;
    Operand o;
    o.data = buffer(c, count * sizeOf(p.dtype));
    for (int64_t i = 0; i < count; ++i) set(o, p.dtype, i, number());
    o.batch = int64_t(heads) * tokens * dim;
    o.token = isBnhd ? int64_t(heads) * dim : dim;
    o.head = isBnhd ? dim : int64_t(tokens) * dim;
    return o;
  }

  void addOptions(Case& c) {
    AttentionProblem& p = c.problem;
    if (pick(2)) p.window.right = pick(3) ? 0 : pick(9);
    if (pick(3) == 0) p.window.left = pick(40);
    if (pick(4) == 0) p.window.sinkTokens = pick(5);
    p.window.align = Align(pick(3));
    p.window.offset = pick(21) - 10;
    if (pick(5) == 0) p.softcap = 3;
    const int64_t scores = int64_t(p.batch) * p.outputHeads() * p.queries * p.keys;
    if (pick(4) == 0) {
      float* bias = reinterpret_cast<float*>(buffer(c, scores * 4));
      for (int64_t i = 0; i < scores; ++i) bias[i] = pick(10) == 0 ? -INFINITY : number();
      const int64_t perHead = int64_t(p.queries) * p.keys;
      p.rules.bias = {{bias, p.outputHeads() * perHead, perHead, p.keys, 1}};
    }
    if (pick(4) == 0) {  // one mask for all queries
      uint8_t* mask = reinterpret_cast<uint8_t*>(buffer(c, int64_t(p.batch) * p.keys));
      for (int64_t i = 0; i < int64_t(p.batch) * p.keys; ++i) mask[i] = pick(4) != 0;
      p.rules.mask = {{mask, p.keys, 0, 0, 1}};
    }
    const bool isGrid = p.pattern == PatternKind::neighborhood;
    if (isGrid && pick(3) == 0) {
      RelativeBias& relative = p.rules.relativeBias;
      int64_t size = 1;
      for (int a = kMaxRank - 1, axis = p.grid.rank - 1; axis >= 0; --a, --axis) {
        relative.reach[a] = p.grid.kernel[axis] - 1;
        relative.axis[a] = size;
        size *= 2 * p.grid.kernel[axis] - 1;
      }
      relative.head = size;
      float* values = list<float>(c, size_t(size * p.outputHeads()));
      for (int64_t i = 0; i < size * p.outputHeads(); ++i) values[i] = number();
      relative.data = values;
    }
    if (!isGrid && pick(5) == 0) {
      float* slopes = reinterpret_cast<float*>(buffer(c, p.outputHeads() * 4));
      for (int h = 0; h < p.outputHeads(); ++h) slopes[h] = 0.1f * float(h + 1);
      p.rules.alibiSlopes = {slopes, 0, 1};
    }
    if (pick(5) == 0) {
      float* sinks = reinterpret_cast<float*>(buffer(c, p.outputHeads() * 4));
      for (int h = 0; h < p.outputHeads(); ++h) sinks[h] = number();
      p.sinks = sinks;
      p.sinksHead = 1;
    }
    if (!isGrid && pick(5) == 0) {
      int32_t* lengths = reinterpret_cast<int32_t*>(buffer(c, p.batch * 4));
      for (int b = 0; b < p.batch; ++b) lengths[b] = pick(p.keys + 1);
      p.keyLengths = lengths;
    }
    c.name = "queries " + std::to_string(p.queries) + " keys " + std::to_string(p.keys) + " dims " +
             std::to_string(p.headDim) + "/" + std::to_string(p.valueDim) + " heads " + std::to_string(p.queryHeads) +
             "/" + std::to_string(p.kvHeads) + " " + nameOf(p.dtype) + " pattern " + std::to_string(int(p.pattern));
  }

  std::mt19937 random_;
};

}  // namespace tilewise
