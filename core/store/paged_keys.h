// PagedKeys: keys and values are a pool [pages, pageSize, kvHeads, dim], and a table says which pages a sequence has.
// Reader: someone who reads key_store.h. Only entries of pages in use hold page numbers. Not for grids. Idea:
// PagedAttention (arXiv 2309.06180).
#pragma once

#include "stored_rows.h"

namespace tilewise {

struct PagedKeys {
  const int32_t* table = nullptr;  // key t of sequence b is on page table[b * tableBatch + t / pageSize]
  int64_t tableBatch = 0;
  int32_t pages = 0;
  Token pageSize = 1;

  TW_HOST_DEVICE StoredRows rowsOf(const Operand& operand, int64_t b, int64_t head) const {
    return {operand.offset(0, 0, head), operand.token, table + b * tableBatch, operand.batch, pageSize};
  }
  TW_HOST_DEVICE Token consecutive(Token from) const { return pageSize - from % pageSize; }
  // How much of the table such keys use.
  TW_HOST_DEVICE int64_t tableSize(int64_t batch, Token keys) const {
    return batch == 0 ? 0 : (batch - 1) * tableBatch + ceilDiv(int64_t(keys), int64_t(pageSize));
  }
};

}  // namespace tilewise
