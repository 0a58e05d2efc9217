// A case of bench/gpu/cases.txt as the kernels take it: a line of words becomes a problem, with lists or a selection.
// Reader: someone who adds a case or a word. yardsticks.py reads the same lines for those who are compared.
#pragma once

#include <string>
#include <vector>

#include "../../core/op/selection.h"
#include "../../core/op/tile_rule.h"
#include "../../cuda/attention/launch_plan.h"

namespace tilewise::bench {

struct Case {
  std::string line;
  AttentionProblem problem;                              // operands have strides and no memory
  std::vector<int32_t> begins, counts, starts;  // of lists that come with the call
  bool isSelected = false;                      // lists come from `selection`, part of what is timed
  SelectionProblem selection;
  bool isCold = false;  // keys and values come from memory, not from the cache that the call before left
};

// Throws std::invalid_argument with the word that it cannot read.
Case readCase(const std::string& line);

// The tiles of a plan, for explain(): streams mask the keys at a run's end, gathers never load what no query sees.
TileRule ruleOf(const cuda::LaunchPlan& plan);

}  // namespace tilewise::bench
