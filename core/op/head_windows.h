// Windows that differ by head, made from a caller's lists: a number for all heads, one per KV head or one per query
// head. Host only. Reader: someone who follows `left`, `right` and `sinkTokens` from a request to HeadWindows.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "attention.h"

namespace tilewise {

// The index of an output head's entry in a list of so many.
inline size_t entryOf(const AttentionProblem& p, size_t entries, int32_t head) {
  if (entries == 1) return 0;
  return size_t(entries == size_t(p.kvHeads) ? p.kvHeadOf(head) : p.queryHeadOf(head));
}

// Sets the problem's windows from lists of 1, kvHeads or queryHeads numbers each. `values` gets what they point to, and
// must live as long as the problem; it stays empty where all heads are alike.
inline void setHeadWindows(AttentionProblem& p, const std::vector<Token>& left, const std::vector<Token>& right,
                           const std::vector<Token>& sinkTokens, std::vector<Token>& values) {
  const int32_t heads = p.outputHeads();
  WindowOptions& w = p.window;
  w.left = *std::max_element(left.begin(), left.end());
  w.right = *std::max_element(right.begin(), right.end());
  w.sinkTokens = *std::max_element(sinkTokens.begin(), sinkTokens.end());
  const auto of = [&](const std::vector<Token>& list, int32_t head) { return list[entryOf(p, list.size(), head)]; };
  values.clear();
  std::vector<Token> steps;
  int32_t alike = heads;
  for (int32_t head = 0; head < heads; ++head) {
    // A head that sees everything before it sees any sinks, too: those of the others, so that fewer runs end.
    const Token own = of(left, head) == Window::kUnbounded ? w.sinkTokens : of(sinkTokens, head);
    values.insert(values.end(), {of(left, head), of(right, head), own});
    if (own > 0) steps.push_back(own);
    // The largest number that divides every head where the window changes.
    if (head > 0 && !std::equal(values.end() - 3, values.end(), values.end() - 6)) {
      int32_t a = alike, b = head;
      while (b > 0) a = std::exchange(b, a % b);
      alike = a;
    }
  }
  if (alike == heads) {
    w.left = values[0];
    w.right = values[1];
    w.sinkTokens = values[2];
    values.clear();
    return;
  }
  std::sort(steps.begin(), steps.end());
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  values.insert(values.end(), steps.begin(), steps.end());
  w.heads = {values.data(), heads, int32_t(steps.size()), alike};
}

}  // namespace tilewise
