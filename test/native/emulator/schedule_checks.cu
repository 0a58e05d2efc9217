// Schedules: in order without a seed, drawn from it with one, and the same again for the same seed.
#include <atomic>
#include <set>
#include <vector>

#include "../../../cuda/prims/prims.h"
#include "checks.h"
#include "expect.h"

namespace tilewise::cuda {
namespace {

constexpr uint32_t kThreads = 128;

// The order in which threads come out of a barrier of the block, then of their warp.
std::vector<uint32_t> orderUnder(const emulator::Options& options) {
  std::vector<uint32_t> order;
  emulator::launch({1, kThreads, 0}, options, [&] {
    sync_block();
    order.push_back(thread_index());
    sync_warp();
    order.push_back(thread_index());
  });
  return order;
}

std::vector<uint32_t> blocksUnder(const std::string& options) {
  std::vector<uint32_t> order;
  emulator::launch({50, 32, 0}, emulator::parseOptions(options + ",workers:1"), [&] {
    if (thread_index() == 0) order.push_back(block_index());
  });
  return order;
}

void checkOrders() {
  std::set<std::vector<uint32_t>> seen;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    emulator::Options options = emulator::parseOptions("random:" + std::to_string(seed));
    const auto order = orderUnder(options);
    CHECK(order.size() == 2 * kThreads, "seed %d: %zu of %u", int(seed), order.size(), 2 * kThreads);
    CHECK(order == orderUnder(options), "seed %d: not the same twice", int(seed));
    seen.insert(order);
  }
  CHECK(seen.size() == 20, "%zu orders for 20 seeds", seen.size());
  CHECK(orderUnder({}) == orderUnder({}), "not the same without a seed");

  const auto inOrder = blocksUnder("lazy"), drawn = blocksUnder("random:1");
  for (uint32_t i = 0; i < 50; ++i) CHECK(inOrder[i] == i, "block %u comes as number %u", inOrder[i], i);
  CHECK(drawn != inOrder && std::set<uint32_t>(drawn.begin(), drawn.end()).size() == 50, "blocks under a seed");
}

// Every block runs once, whatever the number of workers.
void checkWorkers() {
  for (const char* options : {"workers:1", "workers:4", "random:3,workers:4"}) {
    std::vector<std::atomic<int>> runs(1000);
    const emulator::Stats stats = emulator::launch({1000, 64, 64}, emulator::parseOptions(options), [&] {
      if (thread_index() == 0) ++runs[block_index()];
      sync_block();
    });
    for (size_t i = 0; i < runs.size(); ++i)
      CHECK(runs[i] == 1, "%s: block %zu runs %d times", options, i, runs[i].load());
    CHECK(stats.switches > 1000 * 64, "%s: %d switches", options, int(stats.switches));
  }
}

void checkOptions() {
  const emulator::Options options = emulator::parseOptions("races,random:7,workers:3");
  CHECK(options.races && options.seed == 7 && options.async == emulator::Async::random && options.workers == 3,
        "parsed");
  CHECK(emulator::parseOptions("").async == emulator::Async::lazy, "nothing is lazy");
  for (const char* wrong : {"random", "random:", "random:x", "random:0", "quick", "races;lazy"}) {
    bool isRefused = false;
    try {
      emulator::parseOptions(wrong);
    } catch (const emulator::Error&) {
      isRefused = true;
    }
    CHECK(isRefused, "'%s' is accepted", wrong);
  }
}

void checkLimits() {
  for (const emulator::Grid grid : {emulator::Grid{0, 32, 0}, emulator::Grid{1, 33, 0}, emulator::Grid{1, 2048, 0},
                                    emulator::Grid{1, 32, 228 * 1024}}) {
    CHECK(emulator::contains(emulator::errorOf(grid, {}, [] {}), "launch: "), "%u blocks of %u threads, %u bytes",
          grid.blocks, grid.threads, grid.sharedBytes);
  }
}

}  // namespace

void checkSchedules() {
  checkOrders();
  checkWorkers();
  checkOptions();
  checkLimits();
}

}  // namespace tilewise::cuda
