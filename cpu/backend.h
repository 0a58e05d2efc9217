// The CPU backend as the binding sees it. Everything else in cpu/ is behind these calls.
// Reader: the binding.
#pragma once

#include <string>
#include <vector>

#include "../core/op/backend.h"

namespace tilewise::cpu {

Backend& backend();

// Threads that work on one call; default: physical cores this process may use. Takes effect with the next call.
int numThreads();
void setNumThreads(int threads);

// Instruction sets this build contains and this processor runs, best first ("avx512", "avx2", "neon", "portable").
std::vector<std::string> instructionSets();
std::string instructionSet();
bool setInstructionSet(const std::string& name);  // false: not available here

}  // namespace tilewise::cpu
