// Checks of the emulator: what it accepts, what it finds, and with which message.
#include "../check.h"
#include "checks.h"

int main() {
  tilewise::emulator::checkDescriptors();
  tilewise::cuda::checkSchedules();
  tilewise::cuda::checkFaults();
  tilewise::cuda::checkCollectives();
  tilewise::cuda::checkRaces();
  tilewise::cuda::checkMachine();
  tilewise::ptx::checkPtx();
  tilewise::ptx::checkOpcodes();
  return finish("emulator_checks");
}
