// The CPU backend. Everything else in cpu/ is behind this call.
// Reader: the binding. Threads: by default the physical cores this process may use. Instruction sets: "avx512", "avx2",
// "neon", "portable", those of the build that this processor runs.
#pragma once

#include "../core/op/backend.h"

namespace tilewise::cpu {

Backend& backend();

}  // namespace tilewise::cpu
