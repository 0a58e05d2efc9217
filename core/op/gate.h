// Gate: a number for each row of the output, which multiplies it (options.gate): heads that a router left out for a
// token have 0. Reader: someone who asks which rows are computed. Idea: mixture of heads (arXiv 2410.11842).
//
// A row whose number is 0 is closed: it is 0, whatever its keys and values are, and none of them is read for it alone.
// Where lse is asked for, closed rows are computed: their lse is that of the call without a gate.
#pragma once

#include "../base/dtype.h"
#include "../base/operand.h"
#include "../base/placed.h"

namespace tilewise {

// A row of the output: token within the batch entry.
struct OutputRow {
  int64_t batch, token;
  int32_t head;
};

struct Gate {
  Placed<const void> data;
  DType dtype = DType::float32;
  int64_t batch = 0, token = 0, head = 0;  // strides

  TW_HOST_DEVICE bool isPresent() const { return data; }
  TW_HOST_DEVICE float of(const OutputRow& row) const {
    if (!isPresent()) return 1;
    const int64_t at = row.batch * batch + row.token * token + row.head * head;
    // No switch: a table of jumps hides from the check of machine code where a kernel goes.
    if (dtype == DType::float32) return static_cast<const float*>(data.data)[at];
    const uint16_t bits = static_cast<const uint16_t*>(data.data)[at];
    return dtype == DType::float16 ? fromFloat16(bits) : fromBfloat16(bits);
  }
  TW_HOST_DEVICE bool closes(const OutputRow& row) const { return of(row) == 0; }

  // Calls visit(array, bytes per element, axes): the memory it reads.
  template <class Visit>
  void operand(int64_t batches, int64_t tokens, int64_t heads, Visit&& visit) {
    const OperandAxis axes[] = {{batches, &batch}, {tokens, &token}, {heads, &head}};
    visit(data, sizeOf(dtype), axes);
  }
};

}  // namespace tilewise
