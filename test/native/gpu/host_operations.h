// Operations of a device that is the host: what a kernel may assume of its operands is checked, then the CPU works in
// place. Linked in the place of the kernels' launches. Reader: someone who checks what the backend does around
// launches.
#pragma once

#include <string>

#include "host_machine.h"

namespace tilewise {

extern HostMachine machine;
extern std::string nameOfCase;
extern bool areRowsLaidOut;  // all operands of the running case were on the host

}  // namespace tilewise
