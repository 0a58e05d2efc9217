// The processor quota of this process's cgroup. Reader: someone whose container gets more threads than processors.
#pragma once

#include <string>

namespace tilewise::cpu {

// Processors that cgroups grant this process, rounded up; 0 when nothing limits them. `root` is the root of the file
// system, for tests.
int cgroupProcessors(const std::string& root = "");

}  // namespace tilewise::cpu
