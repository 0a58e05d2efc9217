// cp.async: see ../async_copies.h.
#include <string>

#include "handlers.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kBytes = emulator::AsyncCopies::kBytes;

void checkSource(Warp& warp, uint32_t lane, uint64_t from, uint32_t bytes) {
  if (bytes > kBytes) fail(warp, lane, std::to_string(bytes) + " bytes of 16");
  if (bytes == 0) return;
  if (from % kBytes != 0) fail(warp, lane, "misaligned source, at " + std::to_string(from));
  // Byte by byte aligned: there may be fewer than 16.
  for (uint32_t i = 0; i < bytes; ++i) globalAt(warp, lane, from + i, 1, Access::read);
}

void copy(Warp& warp, const Instruction& in) {
  Block& block = *warp.block;
  const uint32_t *to = lanes<uint32_t>(warp, in, 0), *bytes = lanes<uint32_t>(warp, in, 2);
  const uint64_t* from = lanes<uint64_t>(warp, in, 1);
  forEachLane(warp, [&](uint32_t lane) {
    const uint64_t source = from[lane] + uint64_t(in.immediates[1]);
    const uint32_t target = to[lane] + uint32_t(in.immediates[0]);
    checkSource(warp, lane, source, bytes[lane]);
    const uint32_t thread = block.threadOf(warp, lane);
    Thread& issuer = block.threads[thread];
    const emulator::Agent agent{
        block.races.copyAgent(thread), issuer.copies.clock(), &issuer.view, false, "cp.async", &in};
    sharedAt(warp, lane, target, kBytes, Access::write, agent);
    const bool landsAtOnce = block.options.async == emulator::Async::eager ||
                             (block.options.async == emulator::Async::random && block.chance(2));
    issuer.copies.issue(block.sharedMemory, {target, reinterpret_cast<const void*>(source), bytes[lane]}, landsAtOnce);
  });
}

void commit(Warp& warp, const Instruction&) {
  Block& block = *warp.block;
  forEachLane(warp, [&](uint32_t lane) { block.threads[block.threadOf(warp, lane)].copies.commit(); });
}

void wait(Warp& warp, const Instruction& in) {
  Block& block = *warp.block;
  forEachLane(warp, [&](uint32_t lane) {
    const uint32_t index = block.threadOf(warp, lane);
    Thread& thread = block.threads[index];
    const uint32_t complete = thread.copies.wait(block.sharedMemory, uint32_t(in.immediates[0]));
    if (block.races.isEnabled()) thread.view.complete(block.races.copyAgent(index), complete);
  });
}

}  // namespace

Opcodes asyncCopyOpcodes() {
  return {
      {"cp.async.cg.shared.global", "[w], [l], 16, w", copy},
      {"cp.async.commit_group", "", commit},
      {"cp.async.wait_group", "i", wait},
  };
}

}  // namespace tilewise::ptx
