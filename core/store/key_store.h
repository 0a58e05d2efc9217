// KeyStore: how the keys and values of a problem are kept. Loops, plans and copies ask it; nobody else knows pages.
// Reader: whoever loads keys, or adds a store: a file like paged_keys.h, a kind, and a line in each answer here.
// Plain data, the same bytes on host and device.
#pragma once

#include "coded_keys.h"
#include "dense_keys.h"
#include "paged_keys.h"

namespace tilewise {

enum class StoreKind : int32_t { dense = 0, paged = 1 };

struct KeyStore {
  StoreKind kind = StoreKind::dense;
  PagedKeys paged;
  const CodedKeys* codes = nullptr;  // with pages: older tokens have these instead

  // Whether a batch entry's rows are at equal distances from its first key to its last.
  TW_HOST_DEVICE bool isDense() const { return kind == StoreKind::dense; }

  // The rows of keys [firstToken, ...) of a batch entry, numbered from 0.
  TW_HOST_DEVICE StoredRows rowsOf(const Operand& operand, int64_t b, int64_t firstToken, int64_t head) const {
    return isDense() ? DenseKeys::rowsOf(operand, b, firstToken, head) : paged.rowsOf(operand, b, head);
  }

  // How many tokens from `from` on are at equal distances.
  TW_HOST_DEVICE Token consecutive(Token from) const { return isDense() ? kMaxTokens : paged.consecutive(from); }

  // The first two axes of key and value, for a problem of so many batch entries and keys.
  struct Shape {
    int64_t batch, tokens;
  };
  TW_HOST_DEVICE Shape shape(int64_t batch, int64_t keys) const {
    return isDense() ? Shape{batch, keys} : Shape{paged.pages, paged.pageSize};
  }

  // Calls visit(list, length) for the lists by which rows are found.
  template <class Visit>
  void forEachList(int64_t batch, Token keys, Visit&& visit) {
    if (kind == StoreKind::paged) visit(paged.table, paged.tableSize(batch, keys));
  }
};

}  // namespace tilewise
