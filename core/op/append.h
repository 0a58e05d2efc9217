// AppendProblem: rows of keys and values written to slots of pages, as the element type that the pages have.
// Reader: backend authors. What a slot is, is said in core/store/page_slots.h.
#pragma once

#include "../base/dtype.h"
#include "../base/operand.h"
#include "../store/page_slots.h"

namespace tilewise {

// What one kind of row, keys or values, is copied from and to.
struct AppendedRows {
  int32_t dim = 0;  // elements of a row; 0: there are no rows of this kind
  Operand from;  // [batch, tokens, heads, dim]
  Operand to;  // the pages
};

struct AppendProblem {
  int32_t batch = 0, heads = 0;
  Token tokens = 0;
  DType from = DType::float32, to = DType::float32;
  AppendedRows keys, values;
  PageSlots slots;  // of rows [batch * tokens]

  TW_HOST_DEVICE int64_t rows() const { return int64_t(batch) * tokens; }
  bool isEmpty() const { return rows() == 0 || heads == 0; }
};

}  // namespace tilewise
