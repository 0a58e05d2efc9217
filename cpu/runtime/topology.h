// What the machine offers this process. Reader: the pool and the dispatcher.
#pragma once

namespace tilewise::cpu {

// Physical cores this process may use: distinct cores of its affinity mask, at most the processors that its cgroups
// grant; at least 1.
int physicalCores();

}  // namespace tilewise::cpu
