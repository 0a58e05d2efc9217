// Whether the rows of an operand can be moved 16 bytes at a time: elements side by side, every row on a boundary of 16.
// Reader: whoever plans launches; kernels have a path for such rows.
#pragma once

#include "../../core/op/attention.h"

namespace tilewise::cuda {

inline bool hasAlignedRows(const Operand& operand, DType type) {
  const auto isWhole = [&](int64_t stride) { return stride * sizeOf(type) % 16 == 0; };
  return operand.dim == 1 && reinterpret_cast<uintptr_t>(operand.data) % 16 == 0 && isWhole(operand.batch) &&
         isWhole(operand.head) && isWhole(operand.token);
}

}  // namespace tilewise::cuda
