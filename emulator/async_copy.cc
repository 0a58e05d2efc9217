// cp.async: 16 bytes from global to shared memory, at some time between the issue and the wait.
#include "async_copy.h"

#include <algorithm>
#include <cstring>

#include "block.h"
#include "errors.h"
#include "global_memory.h"
#include "shared_memory.h"

namespace tilewise::emulator {
namespace {

constexpr uint32_t kBytes = 16;

void land(const AsyncCopies::Copy& copy) {
  uint8_t* to = block().sharedMemory + copy.to;
  if (copy.bytes > 0) std::memcpy(to, copy.from, size_t(copy.bytes));
  std::memset(to + copy.bytes, 0, kBytes - size_t(copy.bytes));
}

void checkSource(const void* from, int bytes, const void* where) {
  if (bytes < 0 || bytes > int(kBytes)) {
    fail("cp.async: " + std::to_string(bytes) + " bytes of 16 @" + sourceLine(where));
  }
  if (bytes == 0) return;
  if (reinterpret_cast<uintptr_t>(from) % kBytes != 0) fail("cp.async: misaligned source @" + sourceLine(where));
  const Memory* memory = block().options.memory;
  if (memory != nullptr && !memory->contains(from, size_t(bytes))) {
    fail("cp.async: reads outside every allocation @" + sourceLine(where));
  }
}

}  // namespace

TW_OPERATION void asyncCopy(uint32_t to, const void* from, int bytes) {
  Block& running = block();
  AsyncCopies& copies = self().copies;
  checkSource(from, bytes, TW_WHERE);
  if (to % kBytes != 0) fail("cp.async: misaligned destination @" + sourceLine(TW_WHERE));
  uint8_t* destination = sharedBytes(to, kBytes, "cp.async");
  if (running.races.isEnabled()) {
    const Agent agent{
        running.races.copyAgent(self().index), copies.committed + 1, &self().view, false, "cp.async", TW_WHERE};
    running.races.write(to, kBytes, agent);
  }
  const AsyncCopies::Copy copy{to, from, bytes, copies.committed};
  const Async when = running.options.async;
  if (when == Async::eager || (when == Async::random && running.chance(2))) {
    land(copy);
  } else {
    std::memset(destination, kPoison, kBytes);
    copies.issued.push_back(copy);
  }
}

void asyncCopyCommit() { ++self().copies.committed; }

void asyncCopyWait(int pending) {
  AsyncCopies& copies = self().copies;
  const uint32_t groups = copies.committed - std::min(copies.committed, uint32_t(pending));
  while (copies.done < copies.issued.size() && copies.issued[copies.done].group < groups) {
    land(copies.issued[copies.done++]);
  }
  if (copies.done == copies.issued.size()) {
    copies.issued.clear();
    copies.done = 0;
  }
  if (block().races.isEnabled()) self().view.complete(block().races.copyAgent(self().index), groups);
}

}  // namespace tilewise::emulator
