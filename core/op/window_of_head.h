// windowOf(): the window of one head of a sequence. Reader: a kernel whose blocks have one head each.
#pragma once

#include "attention.h"

namespace tilewise {

TW_HOST_DEVICE OneWindow windowOf(const AttentionProblem& p, const Sequence& s, int head) {
  return patternOf<Window>(p, s).of(head);
}

}  // namespace tilewise
