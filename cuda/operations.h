// The operations of a GPU: a line each. Reader: someone who adds one. Its run.h declares, and its folder defines, for
// its problem:
//   addReasons(reasons, problem, limits)       why a machine with these limits cannot run it
//   stage(staging, problem)                    the problem with all arrays in device memory
//   run(staged, limits, queue, cancel)         its launches, given that. Checks `cancel` between launches
#pragma once

#include "append/run.h"
#include "attention/run.h"
#include "cumulative/run.h"
#include "delta/run.h"
#include "encode/run.h"
#include "linear/run.h"
#include "local_linear/run.h"
#include "merge/run.h"
#include "rotary/run.h"
#include "selection/run.h"
#include "stats/run.h"
#include "summary/run.h"

namespace tilewise::cuda {

// Of operations that explain() does not count by passes.
template <class Problem>
LinearPasses passesOf(const Problem&, const Limits&) {
  return {};
}

}  // namespace tilewise::cuda
