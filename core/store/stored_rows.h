// StoredRows: where the rows of one batch entry and head are, by token.
// Reader: whoever loads keys or values. Plain data, made by a store's rowsOf(): finding the batch entry and the head is
// done once, and not for each token.
#pragma once

#include "../base/operand.h"

namespace tilewise {

struct StoredRows {
  int64_t first;  // of the batch entry and head, in elements
  int64_t token;  // from token to token, within a page where there are pages
  // Token t is row t % pageSize of page pages[t / pageSize]. null: all tokens follow each other.
  const int32_t* pages = nullptr;
  int64_t page = 0;  // from page to page
  Token pageSize = 1;

  // In elements from the first element of the operand.
  TW_HOST_DEVICE int64_t at(Token t) const { return first + fromFirst(t); }
  TW_HOST_DEVICE int64_t fromFirst(Token t) const {
    if (!pages) return t * token;
    const Token index = t / pageSize;
    return pages[index] * page + (t - index * pageSize) * token;
  }
};

}  // namespace tilewise
