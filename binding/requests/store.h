// How a request says where its keys are: fields `pages` and `pageSize`, and a table, which core's KeyStore reads.
// Reader: someone who adds a store, or an op that reads keys.
#pragma once

#include "../../core/store/key_store.h"
#include "reading.h"

namespace tilewise {

// The store as far as operands need it; pages of 0 keys say that there are none.
inline KeyStore readStore(const Numbers& n, size_t pages, size_t pageSize) {
  KeyStore store;
  const Token keys = n.count(pageSize, "pageSize");
  if (keys == 0) return store;
  store.kind = StoreKind::paged;
  store.paged.pages = n.count(pages, "pages");
  store.paged.pageSize = keys;
  return store;
}

// Which keys of each sequence are in use.
struct KeysInUse {
  const int32_t *starts, *lengths;  // no starts: 0
};

// The page table, once lengths are known: entries of pages in use must name pages, the others may be anything. `keys`
// is what a row has room for; nothing happens where there are no pages.
inline void readPageTable(const Views& views, Napi::Env env, const View& view, const KeysInUse& used, int32_t sequences,
                          Token keys, KeyStore& store) {
  if (store.isDense()) return;
  const std::vector<int32_t>& table = views.keep(view);
  PagedKeys& paged = store.paged;
  const int64_t perSequence = ceilDiv<int64_t>(keys, paged.pageSize);
  // No sequences have lengths, too: none.
  const bool hasLengths = used.lengths || sequences == 0;
  if (!hasLengths || int64_t(table.size()) != sequences * perSequence) {
    refuse(env, "pages need lengths, and a table with a row of them for each sequence");
  }
  for (int32_t s = 0; s < sequences; ++s) {
    const int64_t first = used.starts ? used.starts[s] / paged.pageSize : 0;
    for (int64_t i = first; i * paged.pageSize < used.lengths[s]; ++i) {
      const int32_t page = table[size_t(s * perSequence + i)];
      if (page < 0 || page >= paged.pages) refuse(env, "the page table names a page that does not exist");
    }
  }
  paged.table = table.data();
  paged.tableBatch = perSequence;
}

}  // namespace tilewise
