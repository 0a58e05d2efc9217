// HeadWindows: windows that differ from head to head, as plain data on the host or on a device.
// Reader: someone who reads window.h. Idea: DuoAttention's retrieval and streaming heads (arXiv 2410.10819), MoA's
// heads that look back differently far (arXiv 2406.14909).
#pragma once

#include "../base/platform.h"

namespace tilewise {

struct HeadWindow {
  Token left, right, sinkTokens;
};

struct HeadWindows {
  // Three numbers per output head, as in HeadWindow; then the counts of sink tokens that heads have, each once,
  // ascending, without 0. Null: heads do not differ.
  const Token* values = nullptr;
  int32_t heads = 0;
  int32_t sinkSteps = 0;  // how many such counts there are
  int32_t alike = 0;  // so many consecutive heads have the same window

  TW_HOST_DEVICE bool differ() const { return values != nullptr; }
  TW_HOST_DEVICE int64_t length() const { return differ() ? 3 * int64_t(heads) + sinkSteps : 0; }
  TW_HOST_DEVICE HeadWindow of(int32_t head) const {
    const Token* const at = values + 3 * int64_t(head);
    return {at[0], at[1], at[2]};
  }
  TW_HOST_DEVICE Token sinkStep(int32_t i) const { return values[3 * int64_t(heads) + i]; }
};

}  // namespace tilewise
