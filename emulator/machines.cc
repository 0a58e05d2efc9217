// Which machine, and what is left for the schedule.
#include "machines.h"

#include <algorithm>
#include <cstdlib>

#include "emulated_machine.h"
#include "ptx/ptx_machine.h"
#include "twins.h"

namespace tilewise::emulator {
namespace {

// Takes "<key><folder>" out of the words.
bool takeFolder(std::string& words, const std::string& key, std::string& folder) {
  for (size_t start = 0; start < words.size();) {
    const size_t end = std::min(words.find(',', start), words.size());
    if (words.compare(start, key.size(), key) == 0) {
      folder = words.substr(start + key.size(), end - start - key.size());
      words.erase(start, end - start + 1);
      return true;
    }
    start = end + 1;
  }
  return false;
}

}  // namespace

ChosenMachine chooseMachine(const std::string& words, const cuda::Limits& limits) {
  const char* chosen = std::getenv("TILEWISE_EMULATOR");
  std::string schedule = (chosen ? chosen : "") + ("," + words), folder, second;
  const bool runsPtx = takeFolder(schedule, "ptx:", folder), runsBoth = takeFolder(schedule, "twins:", second);
  const MachineOptions options{limits, parseOptions(schedule), runsBoth};
  const std::string name = runsPtx ? "PTX on the processor" : "emulated GPU";
  const FindKernel find = runsPtx ? ptx::kernelsOf(folder) : findEmulated;
  if (!runsBoth) return {name, makeLocalMachine(options, find)};
  const Likeness likeness = runsPtx ? Likeness::exact : Likeness::compiled;
  return {name + ", and PTX", makeLocalMachine(options, twins(find, ptx::kernelsOf(second), likeness))};
}

}  // namespace tilewise::emulator
