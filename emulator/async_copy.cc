// cp.async: 16 bytes from global to shared memory, at some time between the issue and the wait.
#include "async_copies.h"
#include "block.h"
#include "errors.h"
#include "global_memory.h"
#include "shared_memory.h"

namespace tilewise::emulator {
namespace {

constexpr uint32_t kBytes = AsyncCopies::kBytes;

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
  sharedBytes(to, kBytes, "cp.async");
  if (running.races.isEnabled()) {
    const uint32_t agent = running.races.copyAgent(self().index);
    running.races.write(to, kBytes, {agent, copies.clock(), &self().view, false, "cp.async", TW_WHERE});
  }
  const Async when = running.options.async;
  copies.issue(running.sharedMemory, {to, from, uint32_t(bytes)},
               when == Async::eager || (when == Async::random && running.chance(2)));
}

void asyncCopyCommit() { self().copies.commit(); }

void asyncCopyWait(int pending) {
  const uint32_t complete = self().copies.wait(block().sharedMemory, uint32_t(pending));
  if (block().races.isEnabled()) self().view.complete(block().races.copyAgent(self().index), complete);
}

}  // namespace tilewise::emulator
