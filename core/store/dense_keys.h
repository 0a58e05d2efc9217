// DenseKeys: keys and values are [batch, keys, kvHeads, dim], and packed sequences follow each other in a batch entry.
// Reader: someone who adds a store: it answers these questions, and KeyStore passes them on.
#pragma once

#include "stored_rows.h"

namespace tilewise {

struct DenseKeys {
  // The rows of keys [firstToken, ...) of a batch entry, numbered from 0.
  static TW_HOST_DEVICE StoredRows rowsOf(const Operand& operand, int64_t b, int64_t firstToken, int64_t head) {
    return {operand.offset(b, firstToken, head), operand.token};
  }
};

}  // namespace tilewise
