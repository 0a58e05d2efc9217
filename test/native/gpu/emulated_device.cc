// The emulated GPU as device.h wants it.
#include "../../../emulator/emulated_machine.h"
#include "device.h"

namespace tilewise {

std::unique_ptr<cuda::Machine> makeCheckedMachine(const std::string& options, const cuda::Limits& limits) {
  return emulator::makeMachine({limits, emulator::parseOptions(options)});
}

}  // namespace tilewise
