// PagesInUse: the pages that sequences have keys on, numbered anew in the order in which they are met; a page that
// sequences share counts once. Reader: whoever copies a pool in part. Host only, and so are the lists.
#pragma once

#include <cstdint>
#include <vector>

#include "paged_keys.h"

namespace tilewise {

struct PagesInUse {
  std::vector<int32_t> slots;  // of each row of the pool: that of its copy, -1 where there is none
  std::vector<int32_t> table;  // that of the store, which then names the copies
  int32_t count = 0;

  // `lengths`, `starts`: the keys in use of each sequence; null: all `keys`, and from the first on.
  PagesInUse(const PagedKeys& store, int32_t sequences, Token keys, const int32_t* lengths, const int32_t* starts)
      : slots(size_t(store.pages) * size_t(store.pageSize), -1), table(size_t(store.tableSize(sequences, keys)), 0) {
    const Token size = store.pageSize;
    for (int32_t s = 0; s < sequences; ++s) {
      const Token end = ceilDiv(lengths ? lengths[s] : keys, size);
      for (Token i = (starts ? starts[s] : 0) / size; i < end; ++i) {
        const int64_t entry = s * store.tableBatch + i;
        table[size_t(entry)] = copyOf(store.table[entry], size);
      }
    }
  }

  // Names the copies in place of the pages.
  void putInto(PagedKeys& store) const {
    store.table = table.data();
    store.pages = count;
  }

 private:
  int32_t copyOf(int32_t page, Token size) {
    int32_t* const rows = slots.data() + int64_t(page) * size;
    if (rows[0] < 0) {
      for (Token row = 0; row < size; ++row) rows[row] = count * size + row;
      ++count;
    }
    return rows[0] / size;
  }
};

}  // namespace tilewise
