// See packing.h.

#include "packing.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "../../core/base/dtype.h"

namespace tilewise::cuda {
namespace {

template <class T, class Convert>
void gather(const char* host, int64_t stride, int64_t count, char* packed, Convert&& convert) {
  const T* from = reinterpret_cast<const T*>(host);
  auto* to = reinterpret_cast<decltype(convert(*from))*>(packed);
  for (int64_t i = 0; i < count; ++i) to[i] = convert(from[i * stride]);
}
template <class T>
void scatter(const char* packed, int64_t stride, int64_t count, char* host) {
  const T* from = reinterpret_cast<const T*>(packed);
  T* to = reinterpret_cast<T*>(host);
  for (int64_t i = 0; i < count; ++i) to[i * stride] = from[i];
}

}  // namespace

Packing::Packing(const PackAxis* axes, int count, int64_t elementBytes, int64_t rowAlignment, bool isRowDense,
                 Widening widening)
    : widening_(widening), elementBytes_(elementBytes), row_(axes[count - 1]) {
  if (row_.size == 1) row_.stride = 1;
  const bool isOneElement = row_.stride == 0 && !isRowDense;
  if (isOneElement) row_ = {1, 1};
  strides_[count - 1] = isOneElement ? 0 : 1;
  for (int a = 0; a < count; ++a) {
    if (axes[a].size == 0) return;
  }
  pitch_ = (row_.size * elementBytes + rowAlignment - 1) / rowAlignment * rowAlignment;

  int order[kMaxAxes];
  for (int a = 0; a < count - 1; ++a) {
    if (axes[a].size > 1 && axes[a].stride != 0) order[outerCount_++] = a;
  }
  std::stable_sort(order, order + outerCount_,
                   [&](int a, int b) { return std::llabs(axes[a].stride) > std::llabs(axes[b].stride); });
  bytes_ = pitch_;
  for (int i = outerCount_ - 1; i >= 0; --i) {
    outer_[i] = axes[order[i]];
    strides_[order[i]] = bytes_ / elementBytes;
    bytes_ *= outer_[i].size;
  }
  while (outerCount_ > 0 && isCopy() && outer_[outerCount_ - 1].stride == row_.size) {
    row_.size *= outer_[--outerCount_].size;
    pitch_ = row_.size * elementBytes;
  }
  for (int i = 0; i < outerCount_; ++i) runs_ *= outer_[i].size;
}

int64_t Packing::hostOffset(int64_t run) const {
  int64_t offset = 0;
  for (int i = outerCount_ - 1; i >= 0; --i) {
    offset += run % outer_[i].size * outer_[i].stride;
    run /= outer_[i].size;
  }
  return offset * hostBytes();
}

// Counts through the axes instead of dividing for every run: runs may be short.
template <class Visit>
void Packing::forEachRun(int64_t first, int64_t count, Visit&& visit) const {
  int64_t at[kMaxAxes] = {}, rest = first;
  for (int i = outerCount_ - 1; i >= 0; --i) {
    at[i] = rest % outer_[i].size;
    rest /= outer_[i].size;
  }
  int64_t offset = hostOffset(first);
  for (int64_t run = 0; run < count; ++run) {
    visit(run, offset);
    for (int i = outerCount_ - 1; i >= 0; --i) {
      offset += outer_[i].stride * hostBytes();
      if (++at[i] < outer_[i].size) break;
      offset -= outer_[i].size * outer_[i].stride * hostBytes();
      at[i] = 0;
    }
  }
}

void Packing::packRow(const char* from, char* to) const {
  const auto same = [](auto x) { return x; };
  const auto widened = [](auto x) { return toFloat(x); };
  if (widening_ == Widening::float16) return gather<Float16>(from, row_.stride, row_.size, to, widened);
  if (widening_ == Widening::bfloat16) return gather<Bfloat16>(from, row_.stride, row_.size, to, widened);
  if (row_.stride == 1) {
    std::memcpy(to, from, size_t(row_.size * elementBytes_));
  } else if (elementBytes_ == 1) {
    gather<uint8_t>(from, row_.stride, row_.size, to, same);
  } else if (elementBytes_ == 2) {
    gather<uint16_t>(from, row_.stride, row_.size, to, same);
  } else {
    gather<uint32_t>(from, row_.stride, row_.size, to, same);
  }
}

void Packing::pack(const void* host, int64_t first, int64_t count, void* packed) const {
  const int64_t filled = row_.size * elementBytes_;
  forEachRun(first, count, [&](int64_t run, int64_t offset) {
    char* to = static_cast<char*>(packed) + run * pitch_;
    packRow(static_cast<const char*>(host) + offset, to);
    std::memset(to + filled, 0, size_t(pitch_ - filled));
  });
}

void Packing::unpack(void* host, int64_t first, int64_t count, const void* packed) const {
  forEachRun(first, count, [&](int64_t run, int64_t offset) {
    char* to = static_cast<char*>(host) + offset;
    const char* from = static_cast<const char*>(packed) + run * pitch_;
    if (row_.stride == 1) {
      std::memcpy(to, from, size_t(row_.size * elementBytes_));
    } else if (elementBytes_ == 2) {
      scatter<uint16_t>(from, row_.stride, row_.size, to);
    } else {
      scatter<uint32_t>(from, row_.stride, row_.size, to);
    }
  });
}

}  // namespace tilewise::cuda
