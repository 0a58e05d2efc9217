// The checks of each file. Reader: main.cc.
#pragma once

namespace tilewise::cuda {
void checkCollectives();
void checkRaces();
void checkFaults();
void checkSchedules();
void checkMachine();
}  // namespace tilewise::cuda

namespace tilewise::emulator {
void checkDescriptors();
}  // namespace tilewise::emulator

namespace tilewise::ptx {
void checkPtx();
void checkOpcodes();
}  // namespace tilewise::ptx
