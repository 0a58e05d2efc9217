// Work of any size as launches: as many blocks as one may have, again and again until all is done.
// Reader: whoever runs a kernel whose threads each take the next piece of work.
#pragma once

#include <string>

#include "../../core/op/backend.h"
#include "machine.h"

namespace tilewise::cuda {

// Launches `kernel` of `module`, whose blocks have so many threads and take `perBlock` pieces of `work`. `first`, a
// field of the parameters, is the launch's first piece. A block asks for so much shared memory. Ends early when
// cancelled.
template <class Params>
void launchAll(Queue& queue, const CancelFlag& cancel, const char* module, const std::string& kernel, int threads,
               Params& params, int64_t& first, int64_t work, int perBlock, int64_t sharedBytes = 0) {
  Launch launch;
  launch.module = module;
  launch.kernel = kernel.c_str();
  launch.threads = threads;
  launch.sharedBytes = uint32_t(sharedBytes);
  launch.params = &params;
  launch.paramBytes = sizeof params;
  for (; first < work && !cancel; first += int64_t(launch.blocks) * perBlock) {
    launch.blocks = uint32_t(smaller(kMaxBlocks, ceilDiv<int64_t>(work - first, perBlock)));
    queue.launch(launch);
  }
}

}  // namespace tilewise::cuda
