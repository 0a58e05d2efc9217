// Small numbers from a seed, the same everywhere. Reader: someone who draws a problem for a check.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tilewise {

class Pick {
 public:
  explicit Pick(uint32_t seed) : state_(seed * 2654435761u + 1) {}
  int32_t operator()(int32_t n) { return int32_t((state_ = state_ * 1664525 + 1013904223) >> 8) % n; }
  template <class T, size_t N>
  T of(const T (&values)[N]) {
    return values[(*this)(int32_t(N))];
  }

 private:
  uint32_t state_;
};

}  // namespace tilewise
