// The machines of this folder by the words of TILEWISE_EMULATOR, which is read here: "races,random:7" is the emulated
// GPU under a schedule, "ptx:build/kernel-ptx,races" runs the PTX in a folder under it, and "twins:build/kernel-ptx"
// runs each launch on both, whose results must agree; after "ptx:", on two versions of the PTX. Reader: whatever is
// linked with a machine in the driver's place.
#pragma once

#include <memory>
#include <string>

#include "local_machine.h"

namespace tilewise::emulator {

struct ChosenMachine {
  std::string name;
  std::unique_ptr<cuda::Machine> machine;
};
// `words` of the schedule follow those of TILEWISE_EMULATOR.
ChosenMachine chooseMachine(const std::string& words = "", const cuda::Limits& limits = MachineOptions().limits);

}  // namespace tilewise::emulator
