// BlockList: every block of queries has a list of keys. It sees the listed keys that the window shows; or it sees the
// window, and the listed keys between its sink tokens and its band. Reader: someone who reads window.h next.
// Lists come from a selector (HiP, arXiv 2406.09827 and 2502.08910) or from users (FlexAttention's BlockMask, CSR).
#pragma once

#include "../base/placed.h"
#include "one_window.h"

namespace tilewise {

// The lists as plain data. Counts and starts are on the device together, where a selection wrote them, and then there
// are no addends and no token masks; begins, addends, mask indices and masks are on the host. List (batch, head, m)
// belongs to queries [m * queries, (m + 1) * queries).
struct BlockLists {
  Token queries = 1;         // tokens per block of queries
  Token keys = 1;            // tokens per entry
  int32_t headsPerList = 1;  // consecutive heads that share a list
  int64_t byBatch = 0, byHead = 0;  // lists from batch entry to batch entry, from head to head
  bool hasWindow = false;    // the window is seen, too
  const int32_t* begins = nullptr;  // per list: its first entry
  Placed<const int32_t> counts = nullptr;  // and how many
  Placed<const int32_t> starts = nullptr;  // per entry: its first token, ascending inside a list
  const float* addends = nullptr;  // per entry: what is added to the scores of its keys; null: nothing is
  const int32_t* maskIndex = nullptr;  // per entry: which token mask it has, -1 for none; absent: none has
  const uint8_t* masks = nullptr;      // [index][queries][keys]; 0 hides

  // How many lists a call reads: the last head's last one and all before it.
  TW_HOST_DEVICE int64_t count(int64_t batch, int32_t heads, Token tokens) const {
    const int64_t blocks = ceilDiv(tokens, queries);
    if (batch == 0 || blocks == 0) return 0;
    return (batch - 1) * byBatch + (heads - 1) / headsPerList * byHead + blocks;
  }

  // Calls visit(list, length) for the lists that so many queries read, as far as they are read. Reads those on the
  // host.
  template <class Visit>
  void forEachList(int64_t batch, int32_t heads, Token tokens, Visit&& visit) {
    if (!begins) return;
    const int64_t lists = count(batch, heads, tokens);
    int64_t entries = 0, known = 0;
    for (int64_t i = 0; i < lists && !counts.isOnDevice; ++i) entries = larger(entries, int64_t(begins[i]) + counts[i]);
    for (int64_t i = 0; i < entries && masks; ++i) known = larger(known, int64_t(maskIndex[i]) + 1);
    visit(begins, lists);
    visit(counts, lists);
    visit(starts, entries);
    visit(addends, entries);
    visit(maskIndex, entries);
    visit(masks, known * queries * keys);
  }
};

struct BlockList {
  static constexpr int kRank = 1;
  static constexpr bool kIsGrid = false;
  static constexpr bool kIsDense = false;
  static constexpr bool kHasTokenMasks = true;
  static constexpr bool kHasAddends = true;
  static constexpr bool kMixesHeads = false;

  BlockLists lists;
  OneWindow window;  // the same for all heads
  int64_t batch = 0;

  struct Sight {
    OneWindow::Sight window;
    int32_t begin, end;  // entries
  };

  // All queries of the box have one list.
  TW_HOST_DEVICE Sight look(int head, const Box<1>& queries) const {
    const Range& q = queries.axis[0];
    const int64_t list = headClass(head) + q.begin / lists.queries;
    const int32_t begin = lists.begins[list];
    return {window.look(0, queries), begin, begin + lists.counts[list]};
  }

  // The listed keys, then the window's. Runs of the list have their entry + 1 in at[0].
  TW_HOST_DEVICE int32_t runs(const Sight& s) const {
    return s.end - s.begin + (lists.hasWindow ? window.runs(s.window) : 0);
  }
  TW_HOST_DEVICE KeyRun run(const Sight& s, int32_t i) const {
    const int32_t entry = s.begin + i;
    if (entry >= s.end) return window.run(s.window, entry - s.end);
    const Token start = lists.starts[entry];
    KeyRun run;
    run.places = intersect({start, start + lists.keys}, some(s, start));
    run.at[0] = entry + 1;
    return run;
  }

  TW_HOST_DEVICE Cut cut(const Sight& s, const KeyRun& run) const {
    if (run.at[0] == 0 || !lists.hasWindow) return window.cut(s.window, run);
    return cutRun(run, some(s, run.places.begin), {window.sinkEnd, s.window.some.begin});
  }

  TW_HOST_DEVICE bool hasAddends() const { return lists.addends != nullptr; }
  TW_HOST_DEVICE float addend(const KeyRun& run) const {
    return lists.addends && run.at[0] > 0 ? lists.addends[run.at[0] - 1] : 0;
  }

  TW_HOST_DEVICE const uint8_t* tokens(const KeyRun& run, Token query) const {
    if (!lists.maskIndex || run.at[0] == 0) return nullptr;
    const int32_t entry = run.at[0] - 1, index = lists.maskIndex[entry];
    if (index < 0) return nullptr;
    const int64_t row = int64_t(index) * lists.queries + query % lists.queries;
    return lists.masks + row * lists.keys + run.places.begin - lists.starts[entry];
  }

  TW_HOST_DEVICE PatternTraits traits() const {
    PatternTraits traits{"blocks"};
    traits.headsAlike = lists.headsPerList;
    traits.queryBlock = lists.queries;
    traits.keyBlock = lists.keys;
    traits.sparsity = 8;  // lists leave most of the keys out
    traits.hasDecodeKernel = true;
    return traits;
  }
  // The first list of the head.
  TW_HOST_DEVICE int64_t headClass(int head) const {
    return batch * lists.byBatch + head / lists.headsPerList * lists.byHead;
  }
  TW_HOST_DEVICE Token visitedKeys() const {
    const int64_t inWindow = lists.hasWindow ? int64_t(window.left) + window.sinkEnd : 0;
    const int64_t listed = int64_t(lists.counts[batch * lists.byBatch]) * lists.keys;
    return Token(smaller<int64_t>(window.keys, listed + inWindow));
  }

 private:
  // What some query of the box sees of an entry. Cut by the window, entries are sink tokens whole or not at all.
  TW_HOST_DEVICE Range some(const Sight& s, Token first) const {
    if (lists.hasWindow) return {window.sinkEnd, s.window.all.begin};
    return {first < window.sinkEnd ? 0 : s.window.some.begin, s.window.some.end};
  }
};

}  // namespace tilewise
