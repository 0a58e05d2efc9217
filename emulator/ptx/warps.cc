// What lanes of a warp tell each other: shfl, vote, elect, bar.warp.sync. With .sync, the lanes that are named must all
// be there.
#include <string>

#include "handlers.h"

namespace tilewise::ptx {

void requireMembers(const Warp& warp, const uint32_t* members) {
  forEachLane(warp, [&](uint32_t lane) {
    if (members[lane] == warp.mask) return;
    char text[64];
    std::snprintf(text, sizeof text, "the mask %08x names other lanes than are there, %08x", members[lane], warp.mask);
    fail(warp, lane, text);
  });
}

void requireAllLanes(const Warp& warp) {
  if (warp.mask == kAllLanes) return;
  char text[64];
  std::snprintf(text, sizeof text, "some lanes of the warp are missing, there are %08x", warp.mask);
  fail(warp, text);
}

namespace {

enum class Shuffle { index, up, exclusiveOr };

// PTX ISA, shfl.sync: the third source holds a segment mask in bits 8 to 12 and a bound for the lane in bits 0 to 4.
// Returns the lane that is read; none within bounds gives the lane itself.
template <Shuffle kind>
uint32_t sourceOf(uint32_t lane, uint32_t operand, uint32_t limits, bool& isWithin) {
  const uint32_t segment = limits >> 8 & 31, bound = limits & 31, delta = operand & 31;
  const uint32_t last = (lane & segment) | (bound & ~segment);
  uint32_t source = lane;
  if constexpr (kind == Shuffle::up) {
    isWithin = int32_t(lane) - int32_t(delta) >= int32_t(last);
    source = lane - delta;
  } else {
    source = kind == Shuffle::exclusiveOr ? lane ^ delta : (lane & segment) | (delta & ~segment);
    isWithin = source <= last;
  }
  return isWithin ? source : lane;
}

template <Shuffle kind>
void shuffle(Warp& warp, const Instruction& in) {
  requireMembers(warp, lanes<uint32_t>(warp, in, 5));
  const uint32_t *values = lanes<uint32_t>(warp, in, 2), *operands = lanes<uint32_t>(warp, in, 3),
                 *limits = lanes<uint32_t>(warp, in, 4);
  uint32_t results[kLanes], within = 0;
  forEachLane(warp, [&](uint32_t lane) {
    bool isWithin = false;
    const uint32_t source = sourceOf<kind>(lane, operands[lane], limits[lane], isWithin);
    if ((warp.mask >> source & 1) == 0)
      fail(warp, lane, "reads lane " + std::to_string(source) + ", which is not there");
    results[lane] = values[source];
    within |= uint32_t(isWithin) << lane;
  });
  write(warp, lanes<uint32_t>(warp, in, 0), [&](uint32_t lane) { return results[lane]; });
  writePredicate(warp, predicate(warp, in, 1), within);
}

void ballot(Warp& warp, const Instruction& in) {
  requireMembers(warp, lanes<uint32_t>(warp, in, 2));
  const uint32_t votes = predicate(warp, in, 1) & warp.mask;
  write(warp, lanes<uint32_t>(warp, in, 0), [&](uint32_t) { return votes; });
}

void synchronizeWarp(Warp& warp, const Instruction& in) {
  requireMembers(warp, lanes<uint32_t>(warp, in, 0));
  Block& block = *warp.block;
  if (!block.races.isEnabled()) return;
  uint32_t members[kLanes], count = 0;
  forEachLane(warp, [&](uint32_t lane) { members[count++] = block.threadOf(warp, lane); });
  emulator::synchronize(members, count, [&](uint32_t thread) -> emulator::View& { return block.threads[thread].view; });
}

// Which lane is left open, but always the same one of the same lanes: the first, or by the seed any.
void elect(Warp& warp, const Instruction& in) {
  requireMembers(warp, lanes<uint32_t>(warp, in, 1));
  uint32_t left = warp.mask;
  for (uint64_t skipped = warp.block->options.seed % uint32_t(__builtin_popcount(left)); skipped > 0; --skipped) {
    left &= left - 1;
  }
  writePredicate(warp, predicate(warp, in, 0), left & -left);
}

}  // namespace

Opcodes warpOpcodes() {
  return {
      {"shfl.sync.idx.b32", "w|p = w, w, w, w", shuffle<Shuffle::index>},
      {"shfl.sync.up.b32", "w|p = w, w, w, w", shuffle<Shuffle::up>},
      {"shfl.sync.bfly.b32", "w|p = w, w, w, w", shuffle<Shuffle::exclusiveOr>},
      {"elect.sync", "_|p = w", elect},
      {"vote.sync.ballot.b32", "w = p, w", ballot},
      {"bar.warp.sync", "w", synchronizeWarp, Kind::pause},
  };
}

}  // namespace tilewise::ptx
