// DocumentRanges: documents one after the other in a row of tokens, and who sees whom. Reader: someone who packs
// documents, or follows documents() into ranges.
// Semantics: the masks of packed training and of prefix language models, under the names of LongCA-bench (arXiv
// 2510.17896): document, shared question, blockwise causal, prefix and block causal masks. Global tokens are
// Longformer's (arXiv 2004.05150).
#pragma once

#include <algorithm>

#include "range_table.h"

namespace tilewise {

// Query q of document d, the tokens [start, end), sees
//     the keys of d up to its horizon that are at most `left` before it and `right` after it,
//     the first `prefix` keys of d, and
//     the first `globalTokens` keys up to its horizon; every key up to there when it is one of them itself.
// The horizon is q + 1 when causal, the end of q's block of `causalBlock` tokens, counted from token 0, or endless.
// With `isShared` all other documents see the first one whole; with `lastSeesAll` the last one sees all others whole.
struct DocumentRanges {
  const int32_t* starts = nullptr;  // [documents + 1] running totals from 0
  int32_t documents = 0;
  bool isCausal = false;
  Token causalBlock = 0;  // 0: none
  Token prefix = 0;
  bool isShared = false, lastSeesAll = false;
  Token globalTokens = 0;
  Token left = kMaxTokens, right = kMaxTokens;

  Token tokens() const { return starts[documents]; }

  // Adds a row for every token.
  void addTo(RangeTable& table) const {
    for (Token query = 0; query < tokens(); ++query) {
      addRow(query, table);
      table.endRow();
    }
  }

 private:
  void addRow(Token query, RangeTable& table) const {
    const int32_t document = int32_t(std::upper_bound(starts, starts + documents + 1, query) - starts) - 1;
    const Range own{starts[document], starts[document + 1]};
    const Token horizon = horizonOf(query);
    Token leading = smaller(query < globalTokens ? tokens() : globalTokens, horizon);
    if (isShared && document > 0) leading = larger<Token>(leading, starts[1]);
    if (lastSeesAll && document == documents - 1) leading = larger(leading, own.begin);
    table.add({0, leading});
    table.add(intersect(own, {own.begin, own.begin + prefix}));
    table.add(intersect(own, {query - left, smaller(horizon, query + right + 1)}));
  }

  Token horizonOf(Token query) const {
    if (isCausal) return query + 1;
    if (causalBlock == 0) return tokens();
    const int64_t end = (int64_t(query) / causalBlock + 1) * causalBlock;
    return Token(smaller<int64_t>(end, tokens()));
  }
};

}  // namespace tilewise
