// The running thread as an agent of race checking.
#include "thread_order.h"

#include "block.h"
#include "errors.h"

namespace tilewise::emulator {
namespace {

struct ThreadReporter final : Reporter {
  std::string placeOf(const void* where) const override { return sourceLine(where); }
  std::string onBehalf(const std::string& what) const override { return withThread(what); }
};

}  // namespace

Agent thisThread(const char* operation, const void* where) {
  const Thread& thread = self();
  return {thread.index, thread.view.ordered[thread.index], &thread.view, false, operation, where};
}

void release(View& to) { release(self(), to); }
void release(Thread& thread, View& to) { thread.view.release(to, thread.index); }

void acquire(const View& from) { self().view.join(from); }

const Reporter& threadReporter() {
  static const ThreadReporter reporter;
  return reporter;
}

}  // namespace tilewise::emulator
