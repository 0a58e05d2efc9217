// The running thread as the caller of an operation, and as an agent of race checking.
#include "thread_order.h"

#include "block.h"

namespace tilewise::emulator {

Caller caller(const char* operation, const void* where) {
  Thread& thread = self();
  thread.operation = operation;
  thread.where = where;
  return {thread.index, &thread.view, where};
}

Agent thisThread(const char* operation, const void* where) {
  const Thread& thread = self();
  return {thread.index, thread.view.ordered[thread.index], &thread.view, false, operation, where};
}

void release(Thread& thread, View& to) { thread.view.release(to, thread.index); }

}  // namespace tilewise::emulator
