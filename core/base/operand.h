// Operand: a tensor of four axes as a pointer and strides.
// Reader: anyone who addresses elements. Strides are in elements; 0 broadcasts, negative is allowed.
#pragma once

#include "platform.h"

namespace tilewise {

// [batch, token, head, dim]
struct Operand {
  void* data = nullptr;
  int64_t batch = 0, token = 0, head = 0, dim = 1;
  bool isOnDevice = false;  // data is memory of the device that runs the call

  TW_HOST_DEVICE int64_t offset(int64_t b, int64_t t, int64_t h) const { return b * batch + t * token + h * head; }
};

// An axis of any array, and where its stride is.
struct OperandAxis {
  int64_t size;
  int64_t* stride;
};

}  // namespace tilewise
