// Operations: problems whose pointers lie on the device become launches on a queue.
// Reader: the backend (cuda/backend.cc), and whoever adds an operation. Each checks `cancel` between launches.
#pragma once

#include <string>
#include <vector>

#include "../core/op/backend.h"
#include "machine/machine.h"

namespace tilewise::gpu {

// All arrays of the problems are device memory, `cuQueries`, `cuKeys` and `keyLengths` too. `lengths` has those three
// as the host knows them; the rest of it is ignored.
void runAttention(const AttentionProblem& problem, const AttentionProblem& lengths, const Limits& limits, Queue& queue,
                  const CancelFlag& cancel);
void runMerge(const MergeProblem& problem, Queue& queue);
void runSelection(const SelectionProblem& problem, const Limits& limits, Queue& queue, const CancelFlag& cancel);

// What the kernels visit or skip as one for a problem, for explain().
TileChoice tilesFor(const AttentionProblem& problem);

// Every reason why a machine with these limits cannot run the problem.
std::vector<std::string> reasonsAgainst(const AttentionProblem& problem, const Limits& limits);
std::vector<std::string> reasonsAgainst(const SelectionProblem& problem, const Limits& limits);

}  // namespace tilewise::gpu
