// The checks of each file. Reader: main.cc.
#pragma once

namespace tilewise::gpu {
void checkRaces();
void checkFaults();
void checkSchedules();
void checkMachine();
}  // namespace tilewise::gpu

namespace tilewise::emulator {
void checkDescriptors();
}  // namespace tilewise::emulator
