// Plain accesses to shared memory, and the checks that every other operation on it shares.
#include "shared_memory.h"

#include "block.h"
#include "errors.h"
#include "thread_order.h"

namespace tilewise::emulator {

uint8_t* sharedBytes(uint32_t address, uint32_t bytes, const char* operation) {
  const Block& running = block();
  if (!running.hasShared(address, bytes)) fail(std::string(operation) + ": " + running.outsideText(address, bytes));
  return running.sharedMemory + address;
}

TW_OPERATION void* shared(uint32_t address, uint32_t bytes, Access access) {
  const bool isRead = access == Access::read;
  const char* operation = isRead ? "ld.shared" : "st.shared";
  if (address % bytes != 0) fail(std::string(operation) + ": misaligned address " + std::to_string(address));
  void* data = sharedBytes(address, bytes, operation);
  RaceChecker& races = block().races;
  if (races.isEnabled()) {
    const Agent agent = thisThread(operation, TW_WHERE);
    if (isRead) {
      races.read(address, bytes, agent);
    } else {
      races.write(address, bytes, agent);
    }
  }
  return data;
}

}  // namespace tilewise::emulator
