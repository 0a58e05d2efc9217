// Many callers at once, submitted and cancelled calls, changing thread counts: for the thread sanitizer, and for bits.
#include <cstring>
#include <future>
#include <thread>

#include "../../../cpu/backend.h"
#include "../check.h"
#include "../problems.h"

using namespace tilewise;

namespace {

std::vector<char> outputOf(const Case& c) {
  const AttentionProblem& p = c.problem;
  const char* data = static_cast<const char*>(p.out.data);
  return {data, data + c.out.size() * size_t(sizeOf(p.dtype))};
}

// One caller's work: the same problem again and again, by both routes; every result must have the same bits.
void callRepeatedly(uint32_t seed, int rounds) {
  CaseMaker maker{seed};
  const auto c = maker.make(seed % 2 ? 1 : 70, 1200, 16, 16);
  const CancelFlag go{false};
  cpu::backend().run(c->problem, go);
  const std::vector<char> expected = outputOf(*c);
  for (int i = 0; i < rounds; ++i) {
    std::memset(c->problem.out.data, 0xff, expected.size());
    if (i % 2) {
      cpu::backend().run(c->problem, go);
    } else {
      std::promise<std::exception_ptr> done;
      cpu::backend().submit(c->problem, go, [&](std::exception_ptr error) { done.set_value(error); });
      CHECK(done.get_future().get() == nullptr, "seed %u failed", seed);
    }
    CHECK(outputOf(*c) == expected, "seed %u round %d: other bits", seed, i);
  }
}

void cancelRepeatedly(int rounds) {
  CaseMaker maker{99};
  const auto c = maker.make(300, 1500, 32, 32);
  for (int i = 0; i < rounds; ++i) {
    CancelFlag cancel{false};
    std::promise<void> done;
    cpu::backend().submit(c->problem, cancel, [&](std::exception_ptr) { done.set_value(); });
    std::this_thread::sleep_for(std::chrono::microseconds(300 * i));
    cancel = true;
    done.get_future().get();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 10;
  std::vector<std::thread> callers;
  for (uint32_t i = 0; i < 4; ++i) callers.emplace_back([=] { callRepeatedly(i, rounds); });
  callers.emplace_back([=] { cancelRepeatedly(rounds); });
  for (int i = 0; i < rounds; ++i) {
    cpu::backend().setThreads(1 + i % 5);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (std::thread& caller : callers) caller.join();
  return finish("pool");
}
