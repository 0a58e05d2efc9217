// Carver: cuts one allocation into arrays.
// Reader: whoever lays out a task's scratch. Always inlined, as core is: loops of every target use it.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Every array begins a cache line. With base == nullptr only counts.
class Carver {
 public:
  TW_HOST_DEVICE explicit Carver(float* base) : base_(base) {}

  template <class T>
  TW_HOST_DEVICE void take(T*& array, int64_t count) {
    array = base_ ? reinterpret_cast<T*>(base_ + at_) : nullptr;
    at_ += (count * int64_t(sizeof(T)) + 63) / 64 * 16;
  }
  TW_HOST_DEVICE int64_t floats() const { return at_; }

 private:
  float* base_;
  int64_t at_ = 0;
};

}  // namespace tilewise::cpu
