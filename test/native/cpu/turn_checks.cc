// Whose turn it is in the pool: short calls beside long ones, cancelled items, threads that are no longer wanted.
// Each check would wait for ever if the pool did not keep its word; the runner's time limit ends it then.
#include <atomic>
#include <chrono>
#include <fstream>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "../../../cpu/runtime/pool.h"
#include "../check.h"

using namespace tilewise::cpu;

namespace {

std::shared_ptr<Job> jobOf(bool isShort, int64_t items, std::function<void(Worker&)> work) {
  auto job = std::make_shared<Job>();
  job->items = items;
  job->isShort = isShort;
  job->work = [work = std::move(work)](int64_t, Worker& worker) { work(worker); };
  return job;
}
std::future<void> submit(const std::shared_ptr<Job>& job) {
  auto ended = std::make_shared<std::promise<void>>();
  job->done = [ended](std::exception_ptr) { ended->set_value(); };
  std::future<void> end = ended->get_future();
  Pool::shared().submit(job);
  return end;
}

// The only thread is inside an item of a long call, which pauses until the short one has run.
void shortCallsRunInsideLongItems() {
  std::atomic<bool> hasRun{false};
  std::promise<void> hasBegun;
  std::future<void> longEnd = submit(jobOf(false, 1, [&](Worker& worker) {
    float* memory = worker.floats(1000);
    memory[999] = 7;
    hasBegun.set_value();
    while (!hasRun) worker.pause();
    CHECK(memory == worker.floats(1000) && memory[999] == 7, "a short call wrote to the memory of the item around it");
  }));
  hasBegun.get_future().get();
  std::future<void> shortEnd = submit(jobOf(true, 3, [&](Worker& worker) {
    for (int i = 0; i < 1000; ++i) worker.floats(1000)[i] = 0;
    hasRun = true;
  }));
  shortEnd.get();
  longEnd.get();
}

// What a short call throws reaches its own caller, not that of the item around it.
void failuresStayApart() {
  std::atomic<bool> hasRun{false};
  std::future<void> longEnd = submit(jobOf(false, 1, [&](Worker& worker) {
    while (!hasRun) worker.pause();
  }));
  std::promise<std::string> shortEnd;
  auto failing = jobOf(true, 1, [&](Worker&) {
    hasRun = true;
    throw std::runtime_error("short");
  });
  failing->done = [&](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
      shortEnd.set_value("nothing");
    } catch (const std::exception& e) {
      shortEnd.set_value(e.what());
    }
  };
  Pool::shared().submit(failing);
  const std::string message = shortEnd.get_future().get();
  CHECK(message == "short", "got '%s'", message.c_str());
  longEnd.get();
}

// Short calls that keep coming hold a long one up by no more than its own time: here it takes 100 ms.
void longCallsAreNotStarved() {
  using Clock = std::chrono::steady_clock;
  const auto busy = [](Clock::duration time) {
    for (const auto end = Clock::now() + time; Clock::now() < end;) continue;
  };
  std::atomic<bool> isOver{false};
  std::atomic<int> running{0};
  std::function<void()> again = [&] {
    ++running;
    auto job = jobOf(true, 1, [&](Worker&) { busy(std::chrono::milliseconds(1)); });
    job->done = [&](std::exception_ptr) {
      if (!isOver) again();
      --running;
    };
    Pool::shared().submit(job);
  };
  for (int i = 0; i < 3; ++i) again();
  std::future<void> end = submit(jobOf(false, 100, [&](Worker&) { busy(std::chrono::milliseconds(1)); }));
  end.get();
  isOver = true;
  while (running > 0) std::this_thread::yield();
  CHECK(true, "not reached if it starves");
}

// An item that never ends of itself learns that its call is cancelled.
void cancelledItemsEnd() {
  std::atomic<bool> cancel{false};
  std::promise<void> hasBegun;
  auto job = jobOf(false, 1, [&](Worker& worker) {
    hasBegun.set_value();
    while (worker.pause()) continue;
  });
  job->cancel = &cancel;
  std::future<void> end = submit(job);
  hasBegun.get_future().get();
  cancel = true;
  end.get();
  CHECK(true, "not reached if it goes on");
}

int threadsOfProcess() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int threads = 0;
    if (word == "Threads:" && status >> threads) return threads;
  }
  return 0;  // no Linux
}

void unwantedThreadsEnd() {
  Pool& pool = Pool::shared();
  pool.setThreads(6);
  submit(jobOf(false, 6, [](Worker&) {})).get();
  const int many = threadsOfProcess();
  if (many == 0) return;
  pool.setThreads(2);
  while (threadsOfProcess() != many - 4) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  submit(jobOf(false, 6, [](Worker&) {})).get();
  CHECK(threadsOfProcess() == many - 4, "%d threads of %d", threadsOfProcess(), many);
}

}  // namespace

int main() {
  Pool::shared().setThreads(1);
  shortCallsRunInsideLongItems();
  failuresStayApart();
  longCallsAreNotStarved();
  cancelledItemsEnd();
  unwantedThreadsEnd();
  return finish("turns");
}
