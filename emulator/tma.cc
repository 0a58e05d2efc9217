// TMA, for emulated threads: see tma_copies.h.
#include "block.h"
#include "errors.h"
#include "scheduler.h"
#include "thread_order.h"

namespace tilewise::emulator {

TW_OPERATION void tmaLoad(uint32_t to, const void* map, uint32_t barrier, int rank, const int* coordinates) {
  const Caller issuer = caller("tma.load", TW_WHERE);
  block().stats.tmaBytes += block().tma.load({map, to, rank, coordinates}, barrier, issuer);
  yieldSometimes();
}

TW_OPERATION void tmaStore(const void* map, uint32_t from, int rank, const int* coordinates) {
  const Caller issuer = caller("tma.store", TW_WHERE);
  block().stats.tmaBytes += block().tma.store(self().stores, {map, from, rank, coordinates}, issuer);
}

void tmaStoreCommit() { self().stores.commit(); }

TW_OPERATION void tmaStoreWait(int pending) {
  block().tma.wait(self().stores, uint32_t(pending), caller("tma.store_wait", TW_WHERE));
}

}  // namespace tilewise::emulator
