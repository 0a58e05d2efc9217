// Storage types. Arithmetic is float32 on every backend; these say only how a number lies in memory.
// Reader: anyone who loads or stores tensor elements.
#pragma once

#include "platform.h"

namespace tilewise {

enum class DType : int32_t { float32 = 0, float16 = 1, bfloat16 = 2 };

TW_HOST_DEVICE int64_t sizeOf(DType type) { return type == DType::float32 ? 4 : 2; }

inline const char* nameOf(DType type) {
  switch (type) {
    case DType::float32: return "float32";
    case DType::float16: return "float16";
    case DType::bfloat16: return "bfloat16";
  }
  return "unknown";
}

}  // namespace tilewise
