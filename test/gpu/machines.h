// The machine that checks run on: the linked file decides, emulated_machine.cc or driver_machine.cc.
#pragma once

#include "../../core/backend.h"

namespace tilewise::gpu {

// Leaked: it outlives every call.
Backend& machineBackend();

}  // namespace tilewise::gpu
