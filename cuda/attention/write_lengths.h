// What a cosine divides by, written before attention runs. Reader: someone who reads run.cc.
#pragma once

#include "run.h"

namespace tilewise::cuda {

// Launches what writes the factors of queries, keys and extra keys, in memory of the queue; returns where they are.
Cosine writeLengths(const StagedAttention& staged, Queue& queue, const CancelFlag& cancel);

}  // namespace tilewise::cuda
