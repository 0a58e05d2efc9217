// Random problems with exact-size buffers, and a float64 answer for each, for the native checks.
// Buffers end where the tensor ends, so that a sanitizer sees any read past it.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "../../core/problem.h"

namespace tilewise {

struct Case {
  Problem problem;
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

class CaseMaker {
 public:
  explicit CaseMaker(uint32_t seed) : random_(seed) {}

  std::unique_ptr<Case> make(int32_t queries, int32_t keys, int32_t headDim, int32_t valueDim) {
    auto made = std::make_unique<Case>();
    Case& c = *made;
    Problem& p = c.problem;
    p.batch = p.sequences = int32_t(pick(2) + 1);
    const int32_t group = int32_t(pick(3) == 0 ? 1 : pick(5) + 1);
    p.kvHeads = int32_t(pick(3) + 1);
    p.queryHeads = p.kvHeads * group;
    if (pick(6) == 0) std::swap(p.kvHeads, p.queryHeads);
    p.pairing = pick(2) ? Pairing::tile : Pairing::interleave;
    p.queries = queries;
    p.keys = keys;
    p.headDim = headDim;
    p.valueDim = valueDim;
    p.dtype = DType(pick(3));
    const bool isBnhd = pick(2) == 0;
    p.query = operand(c, p.queryHeads, queries, headDim, isBnhd);
    p.key = operand(c, p.kvHeads, keys, headDim, isBnhd);
    p.value = operand(c, p.kvHeads, keys, valueDim, isBnhd);
    p.out = operand(c, p.outputHeads(), queries, valueDim, isBnhd);
    p.lse = reinterpret_cast<float*>(buffer(c, int64_t(p.batch) * p.outputHeads() * queries * 4));
    p.lseBatch = int64_t(p.outputHeads()) * queries;
    p.lseHead = queries;
    p.lseToken = 1;
    p.scale = 1 / std::sqrt(float(headDim));
    addOptions(c);
    answer(c);
    return made;
  }

  int pick(int n) { return int(random_() % uint32_t(n)); }

 private:
  float number() { return float(int(random_() % 4001) - 2000) / 1000; }

  char* buffer(Case& c, int64_t bytes) {
    c.buffers.emplace_back(size_t(bytes));
    return c.buffers.back().data();
  }

  Operand operand(Case& c, int32_t heads, int32_t tokens, int32_t dim, bool isBnhd) {
    const Problem& p = c.problem;
    const int64_t count = int64_t(p.batch) * heads * tokens * dim;
    Operand o;
    o.data = buffer(c, count * sizeOf(p.dtype));
    for (int64_t i = 0; i < count; ++i) {
      const float x = number();
      if (p.dtype == DType::float32) static_cast<float*>(o.data)[i] = x;
      if (p.dtype == DType::float16) static_cast<uint16_t*>(o.data)[i] = toFloat16(x);
      if (p.dtype == DType::bfloat16) static_cast<uint16_t*>(o.data)[i] = toBfloat16(x);
    }
    o.batch = int64_t(heads) * tokens * dim;
    o.token = isBnhd ? int64_t(heads) * dim : dim;
    o.head = isBnhd ? dim : int64_t(tokens) * dim;
    return o;
  }

  void addOptions(Case& c) {
    Problem& p = c.problem;
    if (pick(2)) p.window.right = pick(3) ? 0 : pick(9);
    if (pick(3) == 0) p.window.left = pick(40);
    if (pick(4) == 0) p.window.sink = pick(5);
    p.window.align = Align(pick(3));
    p.window.offset = pick(21) - 10;
    if (pick(5) == 0) p.softcap = 3;
    const int64_t scores = int64_t(p.batch) * p.outputHeads() * p.queries * p.keys;
    if (pick(4) == 0) {
      float* bias = reinterpret_cast<float*>(buffer(c, scores * 4));
      for (int64_t i = 0; i < scores; ++i) bias[i] = pick(10) == 0 ? -INFINITY : number();
      p.bias = {
          bias, DType::float32, int64_t(p.outputHeads()) * p.queries * p.keys, int64_t(p.queries) * p.keys, p.keys, 1};
    }
    if (pick(4) == 0) {  // one mask for all queries
      uint8_t* mask = reinterpret_cast<uint8_t*>(buffer(c, int64_t(p.batch) * p.keys));
      for (int64_t i = 0; i < int64_t(p.batch) * p.keys; ++i) mask[i] = pick(4) != 0;
      p.mask = {mask, DType::float32, p.keys, 0, 0, 1};
    }
    if (pick(5) == 0) {
      float* slopes = reinterpret_cast<float*>(buffer(c, p.outputHeads() * 4));
      for (int h = 0; h < p.outputHeads(); ++h) slopes[h] = 0.1f * float(h + 1);
      p.slopes = slopes;
      p.slopesHead = 1;
    }
    if (pick(5) == 0) {
      float* sinks = reinterpret_cast<float*>(buffer(c, p.outputHeads() * 4));
      for (int h = 0; h < p.outputHeads(); ++h) sinks[h] = number();
      p.sinks = sinks;
      p.sinksHead = 1;
    }
    if (pick(5) == 0) {
      int32_t* lengths = reinterpret_cast<int32_t*>(buffer(c, p.batch * 4));
      for (int b = 0; b < p.batch; ++b) lengths[b] = pick(p.keys + 1);
      p.keyLengths = lengths;
    }
    c.name = "queries " + std::to_string(p.queries) + " keys " + std::to_string(p.keys) + " dims " +
             std::to_string(p.headDim) + "/" + std::to_string(p.valueDim) + " heads " + std::to_string(p.queryHeads) +
             "/" + std::to_string(p.kvHeads) + " " + nameOf(p.dtype);
  }

  // Plain loops from the definitions; shares nothing with the code under test but the problem's fields.
  void answer(Case& c) {
    const Problem& p = c.problem;
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
          std::vector<double> score(size_t(keys), -INFINITY);
          double most = p.sinks ? p.sinks[h] : -INFINITY;
          for (int32_t k = 0; k < keys; ++k) {
            const int64_t position = int64_t(q) + offset;
            if (k > position + p.window.right) continue;
            if (k < position - p.window.left && k >= p.window.sink) continue;
            if (p.mask.data && !static_cast<const uint8_t*>(p.mask.data)[p.mask.offset(b, h, q, k)]) continue;
            double s = 0;
            for (int32_t d = 0; d < p.headDim; ++d) {
              s += elementAt(p.query.data, p.dtype, p.query.offset(b, q, queryHead) + d) *
                   elementAt(p.key.data, p.dtype, p.key.offset(b, k, kvHead) + d);
            }
            s *= p.scale;
            if (p.softcap > 0) s = p.softcap * std::tanh(s / p.softcap);
            if (p.bias.data) s += static_cast<const float*>(p.bias.data)[p.bias.offset(b, h, q, k)];
            if (p.slopes) s -= double(p.slopes[h]) * double(std::llabs(position - k));
            score[size_t(k)] = s;
            if (s > -INFINITY) c.largestScore = std::fmax(c.largestScore, std::fabs(s));
            most = std::fmax(most, s);
          }
          if (most == -INFINITY) continue;
          double sum = p.sinks ? std::exp(p.sinks[h] - most) : 0;
          for (double& s : score) sum += (s = std::exp(s - most));
          c.lse[size_t(b * p.lseBatch + h * p.lseHead + q)] = most + std::log(sum);
          for (int32_t d = 0; d < p.valueDim; ++d) {
            double o = 0;
            for (int32_t k = 0; k < keys; ++k) {
              if (score[size_t(k)] > 0)
                o += score[size_t(k)] * elementAt(p.value.data, p.dtype, p.value.offset(b, k, kvHead) + d);
            }
            c.out[size_t(p.out.offset(b, q, h) + d)] = o / sum;
          }
        }
      }
    }
  }

  std::mt19937 random_;
};

}  // namespace tilewise
