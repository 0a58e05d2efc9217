// The operations of the CPU backend: a line each. Reader: someone who adds one. Its job.h declares, and its folder
// defines, for its problem:
//   addReasons(reasons, problem)                why it cannot run here
//   flopsOf(problem)                            about; small problems do not wake other threads
//   jobsOf(problem)                             how many jobs it takes, one after the other
//   jobOf(problem, index, kernels, threads)     one of them, made once those before it are over
#pragma once

#include "append/job.h"
#include "attention/job.h"
#include "cumulative/job.h"
#include "delta/job.h"
#include "encode/job.h"
#include "linear/job.h"
#include "local_linear/job.h"
#include "merge/job.h"
#include "rotary/job.h"
#include "selection/job.h"
#include "stats/job.h"
#include "summary/job.h"

namespace tilewise::cpu {

// Of operations that explain() does not count by passes.
template <class Problem>
LinearPasses passesOf(const Problem&, int) {
  return {};
}

}  // namespace tilewise::cpu
