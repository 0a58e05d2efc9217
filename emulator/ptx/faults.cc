// Messages: which thread, which opcode, and the lines it came from.
#include <map>

#include "handlers.h"

namespace tilewise::ptx {
namespace {

constexpr int kFrames = 3;

// Of the kernels themselves: neither a primitive's, nor the toolkit's, nor one the compiler made up.
bool isKernelLine(const Place& place) {
  return place.line != 0 && place.file.find("/prims/") == std::string_view::npos &&
         place.file.find("/include/") == std::string_view::npos;
}

std::string operationAt(const Kernel& kernel, const Instruction& instruction) {
  return std::string(instruction.opcode->name) + " @" + placeOf(kernel, instruction);
}

}  // namespace

std::string placeOf(const Kernel& kernel, const Instruction& instruction) {
  std::string text;
  int frames = 0;
  for (int32_t at = instruction.place; at >= 0 && frames < kFrames; at = kernel.places[size_t(at)].inlinedAt) {
    const Place& place = kernel.places[size_t(at)];
    if (!isKernelLine(place)) continue;
    const std::string_view file = place.file.substr(place.file.find_last_of('/') + 1);
    text += (frames++ > 0 ? " < " : "") + std::string(file) + ":" + std::to_string(place.line);
  }
  return text + (text.empty() ? "" : " ") + "(line " + std::to_string(instruction.line) + " of the PTX" +
         (instruction.isInline ? ", inline)" : ")");
}

std::string withLane(const Warp& warp, uint32_t lane, const std::string& what) {
  const Block& block = *warp.block;
  const std::string thread = lane == kLanes ? "warp " + std::to_string(warp.index)
                                            : "thread " + std::to_string(block.threadOf(warp, lane)) + " (warp " +
                                                  std::to_string(warp.index) + " lane " + std::to_string(lane) + ")";
  return "block " + std::to_string(block.index) + " " + thread + ": " + operationAt(block.kernel, *warp.instruction) +
         ": " + what;
}

void fail(const Warp& warp, uint32_t lane, const std::string& what) {
  throw emulator::Error(withLane(warp, lane, what));
}

std::string Block::placeOf(const void* where) const {
  return ptx::placeOf(kernel, *static_cast<const Instruction*>(where));
}

emulator::Caller callerOf(const Warp& warp, uint32_t lane) {
  Block& block = *warp.block;
  block.checkedWarp = &warp;
  block.checkedLane = lane;
  const uint32_t thread = block.threadOf(warp, lane);
  return {thread, &block.threads[thread].view, warp.instruction};
}

std::string Block::onBehalf(const std::string& what) const { return withLane(*checkedWarp, checkedLane, what); }

void Block::failDeadlocked() const {
  std::string text = "block " + std::to_string(index) + ": deadlock";
  for (const Warp& warp : warps) {
    text += "\n  warp " + std::to_string(warp.index) + ": " +
            (warp.isDone() ? "has left the kernel" : operationAt(kernel, *warp.instruction));
  }
  throw emulator::Error(text + mbarriers.describe());
}

}  // namespace tilewise::ptx
