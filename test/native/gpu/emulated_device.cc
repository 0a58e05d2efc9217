// The emulated GPU as device.h wants it.
#include "../../../emulator/emulated_machine.h"
#include "device.h"

namespace tilewise {

std::unique_ptr<gpu::Machine> makeCheckedMachine(const std::string& options, const gpu::Limits& limits) {
  return emulator::makeMachine({limits, emulator::parseOptions(options)});
}

}  // namespace tilewise
