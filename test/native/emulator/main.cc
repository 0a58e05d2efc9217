// Checks of the emulator: what it accepts, what it finds, and with which message.
#include "../check.h"
#include "checks.h"

int main() {
  tilewise::emulator::checkDescriptors();
  tilewise::gpu::checkSchedules();
  tilewise::gpu::checkFaults();
  tilewise::gpu::checkRaces();
  tilewise::gpu::checkMachine();
  return finish("emulator_checks");
}
