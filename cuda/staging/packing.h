// Packing: how an array of any strides is laid out on the device, and the copying between there and the host.
// Reader: someone who asks in what shape kernels get host operands. Plain geometry and memcpy; no device is touched.
//
// The last axis is the row: its elements are next to each other on the device, rows begin at multiples of an alignment,
// what is between them is 0. The other axes keep the order of their strides on the host, so that an array without gaps
// stays as it is, whatever its order of axes. Axes of stride 0 keep it. Only elements that the axes address are
// touched. Numbers of 16 bits may become floats on the device, exactly.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tilewise::cuda {

struct PackAxis {
  int64_t size;
  int64_t stride;  // on the host, in elements, any sign
};

enum class Widening { none, float16, bfloat16 };  // of elements: to float, on the way to the device

class Packing {
 public:
  static constexpr int kMaxAxes = 4;

  // Axes outermost first. `elementBytes` on the device; `rowAlignment` in bytes; `isRowDense`: a row of stride 0
  // becomes a row of equal elements.
  Packing(const PackAxis* axes, int count, int64_t elementBytes, int64_t rowAlignment, bool isRowDense,
          Widening widening = Widening::none);

  int64_t bytes() const { return bytes_; }
  // On the device, in elements, of the axes as they were given.
  int64_t stride(int axis) const { return strides_[axis]; }

  // Runs: rows, or as many of them at once as follow each other on both sides.
  int64_t runs() const { return runs_; }
  int64_t runBytes() const { return pitch_; }
  // Whether host and device hold the same bytes of a run.
  bool isCopy() const { return widening_ == Widening::none && row_.stride == 1 && row_.size * elementBytes_ == pitch_; }
  // Where on the host a run begins, in bytes from the first element.
  int64_t hostOffset(int64_t run) const;

  // Runs [first, first + count), one after the other at `packed`.
  void pack(const void* host, int64_t first, int64_t count, void* packed) const;
  void unpack(void* host, int64_t first, int64_t count, const void* packed) const;

 private:
  template <class Visit>
  void forEachRun(int64_t first, int64_t count, Visit&& visit) const;

  int64_t hostBytes() const { return widening_ == Widening::none ? elementBytes_ : 2; }  // of an element
  void packRow(const char* from, char* to) const;

  Widening widening_;
  int64_t elementBytes_, bytes_ = 0, runs_ = 1, pitch_ = 0;
  PackAxis row_;
  PackAxis outer_[kMaxAxes];  // outermost first, in the device's order
  int outerCount_ = 0;
  int64_t strides_[kMaxAxes] = {};
};

}  // namespace tilewise::cuda
