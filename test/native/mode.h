// Mode: one mode of a layout as CuTe writes them, with a shape and a stride for each of its parts.
// Reader: someone who compares with a table of canonical layouts.
#pragma once

#include <cstddef>
#include <vector>

namespace tilewise {

// Coordinates are taken apart by the shape, innermost first.
struct Mode {
  std::vector<int> shape, stride;
  int extent() const {
    int count = 1;
    for (const int n : shape) count *= n;
    return count;
  }
  int at(int coordinate) const {
    int offset = 0;
    for (size_t i = 0; i < shape.size(); ++i) {
      offset += coordinate % shape[i] * stride[i];
      coordinate /= shape[i];
    }
    return offset;
  }
};

}  // namespace tilewise
