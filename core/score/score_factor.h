// ScoreFactor: a number by which the score of a query and a key is multiplied, after softcap and before anything is
// added (options.scoreFactor). Reader: someone who follows a score in front of the rules. Idea: Gaussian mixture masks
// (arXiv 2309.05375), which multiply scores before the softmax.
//
// It is no rule of the list: rules add. A hidden key stays hidden whatever its factor, and extra keys have none.
#pragma once

#include "operand.h"

namespace tilewise {

struct ScoreFactor : TypedOperand {
  // Loops read a factor as they read what a rule adds.
  template <class N>
  TW_HOST_DEVICE N addend(N factor) const {
    return factor;
  }
};

}  // namespace tilewise
