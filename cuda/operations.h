// The operations of a GPU: a line each. Reader: someone who adds one. Its run.h declares, and its folder defines, for
// its problem:
//   addReasons(reasons, problem, limits)       why a machine with these limits cannot run it
//   run(staged, limits, queue, cancel)         its launches, given what Staging::stage() makes of the problem: all
//   arrays
//                                              are device memory. Checks `cancel` between launches
#pragma once

#include "attention/run.h"
#include "merge/run.h"
#include "selection/run.h"
