// Many callers at once, submitted and cancelled calls, changing thread counts: for the thread sanitizer, and for bits.
// How many threads a job has, and how much memory each has.
#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

#include <cstring>
#include <future>
#include <thread>

#include "../../../cpu/backend.h"
#include "../../../cpu/runtime/pool.h"
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

// The most threads that are ever inside a job are as many as were asked for, though the pool has more. Items wait for
// that many, however late the system lets a thread run.
void checkThreads() {
  cpu::Pool& pool = cpu::Pool::shared();
  for (const int threads : {8, 3, 1, 5, 2}) {
    pool.setThreads(threads);
    for (const bool isSubmitted : {true, false}) {
      std::atomic<int> inside{0}, most{0};
      std::promise<void> done;
      const auto job = std::make_shared<cpu::Job>();
      job->items = 300;
      job->work = [&](int64_t, cpu::Worker&) {
        const int now = ++inside;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        for (int waits = 0; most < threads && waits < 20'000; ++waits) {
          std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        --inside;
      };
      job->done = [&](std::exception_ptr) { done.set_value(); };
      if (isSubmitted) {
        pool.submit(job);
      } else {
        pool.run(job);
      }
      done.get_future().get();
      CHECK(most == threads, "%d threads were in a job for %d", most.load(), threads);
    }
  }
}

// Memory is as long as was asked for, whatever was asked for before.
void checkScratch() {
#if __has_include(<malloc.h>)
  for (const int64_t step : {1, 100, 500, 1000, 1024, 1500}) {
    cpu::Scratch scratch;
    for (int64_t count = 1; count < 12000; count += step) {
      const size_t bytes = malloc_usable_size(scratch.floats(count)), asked = size_t(count) * sizeof(float);
      CHECK(bytes >= asked, "%zu bytes for %zu, in steps of %d floats", bytes, asked, int(step));
    }
  }
#endif
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 10;
  checkScratch();
  checkThreads();
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
