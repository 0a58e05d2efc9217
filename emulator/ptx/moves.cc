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

template <class Whole, class Half>
void joinHalves(Warp& warp, const Instruction& in) {
  const Half *low = lanes<Half>(warp, in, 1), *high = lanes<Half>(warp, in, 2);
  write(warp, lanes<Whole>(warp, in, 0), [&](uint32_t i) { return low[i] | Whole(high[i]) << 8 * sizeof(Half); });
}
template <class Whole, class Half>
void splitHalves(Warp& warp, const Instruction& in) {
  const Whole* a = lanes<Whole>(warp, in, 2);
  write(warp, lanes<Half>(warp, in, 0), [&](uint32_t i) { return Half(a[i]); });
  write(warp, lanes<Half>(warp, in, 1), [&](uint32_t i) { return Half(a[i] >> 8 * sizeof(Half)); });
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
      {"mov.u16", "h = h", move<uint16_t>},
      {"mov.b32", "w = w", move<uint32_t>},
      {"mov.u32", "w = w", move<uint32_t>},
      {"mov.f32", "w = w", move<uint32_t>},
      {"mov.b64", "l = l", move<uint64_t>},
      {"mov.u64", "l = l", move<uint64_t>},
      {"mov.pred", "p = p", movePredicate},
      {"mov.b32", "w = {hh}", joinHalves<uint32_t, uint16_t>},
      {"mov.b32", "{hh} = w", splitHalves<uint32_t, uint16_t>},
      {"mov.b64", "l = {ww}", joinHalves<uint64_t, uint32_t>},
      {"mov.b64", "{ww} = l", splitHalves<uint64_t, uint32_t>},
      {"mov.u32", "w = s", readSpecial},
  };
}

}  // namespace tilewise::ptx
