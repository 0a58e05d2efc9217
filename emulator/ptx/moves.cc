// mov: registers, constants, addresses, special registers, halves.
#include "handlers.h"
#include "special_registers.h"

namespace tilewise::ptx {
namespace {

template <class T>
void move(Warp& warp, const Instruction& in) {
  const T* a = lanes<T>(warp, in, 1);
  write(warp, lanes<T>(warp, in, 0), [&](uint32_t i) { return a[i]; });
}

void movePredicate(Warp& warp, const Instruction& in) {
  writePredicate(warp, predicate(warp, in, 0), predicate(warp, in, 1));
}

void joinHalves(Warp& warp, const Instruction& in) {
  const uint16_t *low = lanes<uint16_t>(warp, in, 1), *high = lanes<uint16_t>(warp, in, 2);
  write(warp, lanes<uint32_t>(warp, in, 0), [&](uint32_t i) { return low[i] | uint32_t(high[i]) << 16; });
}
void splitHalves(Warp& warp, const Instruction& in) {
  const uint32_t* a = lanes<uint32_t>(warp, in, 2);
  write(warp, lanes<uint16_t>(warp, in, 0), [&](uint32_t i) { return uint16_t(a[i]); });
  write(warp, lanes<uint16_t>(warp, in, 1), [&](uint32_t i) { return uint16_t(a[i] >> 16); });
}

void readSpecial(Warp& warp, const Instruction& in) {
  const Block& block = *warp.block;
  const auto special = Special(in.immediates[0]);
  write(warp, lanes<uint32_t>(warp, in, 0), [&](uint32_t lane) {
    switch (special) {
      case Special::threadIndex: return block.threadOf(warp, lane);
      case Special::blockThreads: return block.grid.threads;
      case Special::blockIndex: return block.index;
      default: return block.grid.blocks;
    }
  });
}

}  // namespace

Opcodes moveOpcodes() {
  return {
      {"mov.u16", "h = h", move<uint16_t>}, {"mov.b32", "w = w", move<uint32_t>}, {"mov.u32", "w = w", move<uint32_t>},
      {"mov.f32", "w = w", move<uint32_t>}, {"mov.b64", "l = l", move<uint64_t>}, {"mov.u64", "l = l", move<uint64_t>},
      {"mov.pred", "p = p", movePredicate}, {"mov.b32", "w = {hh}", joinHalves},  {"mov.b32", "{hh} = w", splitHalves},
      {"mov.u32", "w = s", readSpecial},
  };
}

}  // namespace tilewise::ptx
