// mbarrier, by threads that wait as fibers: see mbarriers.h.
#include "block.h"
#include "errors.h"
#include "scheduler.h"
#include "thread_order.h"

namespace tilewise::emulator {

TW_OPERATION void mbarrierInit(uint32_t address, int count) {
  block().mbarriers.init(address, uint32_t(count), caller("mbarrier.init", TW_WHERE));
}

TW_OPERATION void mbarrierArrive(uint32_t address, uint32_t expectedBytes) {
  block().mbarriers.arrive(address, expectedBytes, caller("mbarrier.arrive", TW_WHERE));
  yieldSometimes();
}

TW_OPERATION void mbarrierWait(uint32_t address, uint32_t parity) {
  const Caller waiter = caller("mbarrier.wait", TW_WHERE);
  while (!block().mbarriers.isOver(address, parity, waiter)) {
    block().mbarriers.await(address, waiter.thread);
    suspend();
  }
  yieldSometimes();
}

TW_OPERATION void fenceMbarrierInit() { block().mbarriers.fence(caller("fence.mbarrier_init", TW_WHERE)); }

TW_OPERATION void fenceProxyAsync() { block().fenceProxy(caller("fence.proxy.async", TW_WHERE)); }

}  // namespace tilewise::emulator
