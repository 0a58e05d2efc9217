// A machine of emulator/ as device.h wants it.
#include "../../../emulator/machines.h"
#include "device.h"

namespace tilewise {

std::unique_ptr<cuda::Machine> makeCheckedMachine(const std::string& options, const cuda::Limits& limits) {
  return emulator::chooseMachine(options, limits).machine;
}

}  // namespace tilewise
