// Collectives: each primitive of collectives.h runs when all lanes of a warp call it, and is reported when one stays
// away. Reader: someone who asks whether the emulator notices a collective in a branch that only some lanes take.
#include "../../../cuda/prims/prims.h"
#include "checks.h"
#include "collectives.h"
#include "expect.h"

namespace tilewise::cuda {
namespace {

struct Registers {
  uint32_t a[4] = {};
  float c[4] = {}, d[32] = {};
  uint64_t right = smem_desc(1024, 16, 1024, Swizzle::b128);
};

// The branch depends on memory, so that no compiler can join its sides.
volatile bool isAlone[32];

template <class Call>
void checkCollective(const char* name, Call call) {
  const emulator::Grid grid{1, 128, 8192};
  const auto kernel = [=] {
    Registers r;
    wgmma_fence();
    if (!isAlone[lane_id()]) call(r);
  };
  for (const char* options : {"lazy", "random:1", "races"}) {
    isAlone[0] = false;
    const std::string together = emulator::errorOf(grid, emulator::parseOptions(options), kernel);
    CHECK(together.empty(), "%s, %s: %s", name, options, together.c_str());
    isAlone[0] = true;
    const std::string apart = emulator::errorOf(grid, emulator::parseOptions(options), kernel);
    CHECK(emulator::contains(apart, "deadlock") || emulator::contains(apart, "have exited"),
          "%s, %s, without lane 0: '%s'", name, options, apart.c_str());
  }
}

// Two sides of a branch that call a barrier each: the counts are right, the warp's lanes are not together.
void checkBarriersApart() {
  emulator::expectError(
      "lanes at different barriers", {1, 128, 1024}, "lazy", [] { barrier_sync(lane_id() < 16 ? 1 : 2, 64); },
      "disagree on the barrier");
}

}  // namespace

void checkCollectives() {
#define TW_CHECK(name, call) checkCollective(#name, []([[maybe_unused]] Registers& r) { (void)(call); });
  TW_COLLECTIVES(TW_CHECK)
#undef TW_CHECK
  checkBarriersApart();
}

}  // namespace tilewise::cuda
