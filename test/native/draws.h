// Draws: random numbers, and operands and lists of them that live as long as a case. Reader: someone who draws
// problems. Buffers end where the tensor ends, so that a sanitizer sees any read past it.
#pragma once

#include <random>

#include "answer.h"

namespace tilewise {

class Draws {
 public:
  explicit Draws(uint32_t seed) : random_(seed) {}

  uint32_t any() { return uint32_t(random_()); }
  int pick(int n) { return int(any() % uint32_t(n)); }
  float number() { return float(int(any() % 4001) - 2000) / 1000; }

  char* buffer(Case& c, int64_t bytes) {
    c.buffers.emplace_back(size_t(bytes));
    return c.buffers.back().data();
  }

  // A list of `count` numbers that live as long as the case.
  template <class T>
  T* list(Case& c, size_t count) {
    return reinterpret_cast<T*>(buffer(c, int64_t(count * sizeof(T))));
  }

  static void set(const Operand& o, DType type, int64_t at, float x) {
    if (type == DType::float32) static_cast<float*>(o.data)[at] = x;
    if (type == DType::float16) static_cast<uint16_t*>(o.data)[at] = toFloat16(x);
    if (type == DType::bfloat16) static_cast<uint16_t*>(o.data)[at] = toBfloat16(x);
  }

  Operand operand(Case& c, DType type, int32_t heads, int32_t tokens, int32_t dim, bool isBnhd) {
    const AttentionProblem& p = c.problem;
    const int64_t count = int64_t(p.batch) * heads * tokens * dim;
    Operand o;
    o.data = buffer(c, count * sizeOf(type));
    for (int64_t i = 0; i < count; ++i) set(o, type, i, number());
    o.batch = int64_t(heads) * tokens * dim;
    o.token = isBnhd ? int64_t(heads) * dim : dim;
    o.head = isBnhd ? dim : int64_t(tokens) * dim;
    return o;
  }

 private:
  std::mt19937 random_;
};

}  // namespace tilewise
