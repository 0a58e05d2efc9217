// cp.async.bulk.tensor: boxes of a tensor by TMA, see ../tma_copies.h.
#include <string>

#include "handlers.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kMapAlignment = 64;

// The 128 bytes of a map at a generic address. Half by half: as much as they are aligned to.
const void* mapAt(Warp& warp, uint32_t lane, uint64_t address) {
  static_assert(sizeof(cuda::TensorMap) == 2 * kMapAlignment, "two halves");
  const void* map = genericAt(warp, lane, address, kMapAlignment);
  genericAt(warp, lane, address + kMapAlignment, kMapAlignment);
  return map;
}

void prefetchMap(Warp& warp, const Instruction& in) {
  forEachLane(warp, [&](uint32_t lane) {
    emulator::SoftTensorMap map;
    const uint64_t address = lanes<uint64_t>(warp, in, 0)[lane] + uint64_t(in.immediates[0]);
    if (!emulator::readTensorMap(map, mapAt(warp, lane, address))) fail(warp, lane, "not a tensor map");
  });
}

template <int rank>
struct Corner {
  Corner(const Warp& warp, const Instruction& in, uint32_t first, uint32_t lane) {
    for (uint32_t d = 0; d < rank; ++d) at[d] = lanes<int32_t>(warp, in, first + d)[lane];
  }
  int at[rank];
};

// Sources: to, map, corner, mbarrier.
template <int rank>
void load(Warp& warp, const Instruction& in) {
  const uint32_t *to = lanes<uint32_t>(warp, in, 0), *barriers = lanes<uint32_t>(warp, in, 2 + rank);
  const uint64_t* maps = lanes<uint64_t>(warp, in, 1);
  forEachLane(warp, [&](uint32_t lane) {
    const Corner<rank> corner(warp, in, 2, lane);
    const void* map = mapAt(warp, lane, maps[lane] + uint64_t(in.immediates[1]));
    const uint32_t barrier = barriers[lane] + uint32_t(in.immediates[2]);
    warp.block->tma.load({map, to[lane] + uint32_t(in.immediates[0]), rank, corner.at}, barrier, callerOf(warp, lane));
  });
}

emulator::TmaStores& storesOf(const Warp& warp, uint32_t lane) {
  return warp.block->threads[warp.block->threadOf(warp, lane)].stores;
}

// Sources: map, corner, from.
template <int rank>
void store(Warp& warp, const Instruction& in) {
  const uint64_t* maps = lanes<uint64_t>(warp, in, 0);
  const uint32_t* from = lanes<uint32_t>(warp, in, 1 + rank);
  forEachLane(warp, [&](uint32_t lane) {
    const Corner<rank> corner(warp, in, 1, lane);
    const void* map = mapAt(warp, lane, maps[lane] + uint64_t(in.immediates[0]));
    warp.block->tma.store(storesOf(warp, lane), {map, from[lane] + uint32_t(in.immediates[1]), rank, corner.at},
                          callerOf(warp, lane));
  });
}

void commit(Warp& warp, const Instruction&) {
  forEachLane(warp, [&](uint32_t lane) { storesOf(warp, lane).commit(); });
}

void wait(Warp& warp, const Instruction& in) {
  forEachLane(warp, [&](uint32_t lane) {
    warp.block->tma.wait(storesOf(warp, lane), uint32_t(in.immediates[0]), callerOf(warp, lane));
  });
}

}  // namespace

Opcodes bulkCopyOpcodes() {
  return {
      {"prefetch.tensormap", "[l]", prefetchMap},
      {"cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes", "[w], [l, {ww}], [w]", load<2>,
       Kind::pause},
      {"cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes", "[w], [l, {www}], [w]", load<3>,
       Kind::pause},
      {"cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes", "[w], [l, {wwww}], [w]", load<4>,
       Kind::pause},
      {"cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes", "[w], [l, {wwwww}], [w]", load<5>,
       Kind::pause},
      {"cp.async.bulk.tensor.2d.global.shared::cta.bulk_group", "[l, {ww}], [w]", store<2>, Kind::pause},
      {"cp.async.bulk.tensor.3d.global.shared::cta.bulk_group", "[l, {www}], [w]", store<3>, Kind::pause},
      {"cp.async.bulk.tensor.4d.global.shared::cta.bulk_group", "[l, {wwww}], [w]", store<4>, Kind::pause},
      {"cp.async.bulk.tensor.5d.global.shared::cta.bulk_group", "[l, {wwwww}], [w]", store<5>, Kind::pause},
      {"cp.async.bulk.commit_group", "", commit},
      {"cp.async.bulk.wait_group", "i", wait},
  };
}

}  // namespace tilewise::ptx
