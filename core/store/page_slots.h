// PageSlots: where on pages rows are, one slot for each: page * pageSize + row of the page. Reader: whoever writes rows
// to pages, or reads them one by one. Of rows that are written a negative slot keeps nothing, and no two have the same
// one. Idea: the slot mapping of PagedAttention (arXiv 2309.06180).
#pragma once

#include "../base/operand.h"
#include "../base/placed.h"

namespace tilewise {

struct PageSlots {
  int32_t pages = 0;
  Token pageSize = 1;
  Placed<const int32_t> list = nullptr;

  Token rowsOfPage() const { return pageSize; }
  TW_HOST_DEVICE bool keeps(int64_t row) const { return list[row] >= 0; }
  // Of a row that is kept, in elements from the first of [pages, pageSize, heads, dim].
  TW_HOST_DEVICE int64_t offset(const Operand& pool, int64_t row, int64_t head) const {
    const int32_t page = list[row] / pageSize;
    return pool.offset(page, list[row] - page * pageSize, head);
  }
};

}  // namespace tilewise
