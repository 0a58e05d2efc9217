// ld and st: parameters, global and shared memory, and generic addresses, which are global or of parameters.
#include <string>
#include <type_traits>

#include "handlers.h"

namespace tilewise::ptx {

namespace {

void requireAligned(const Warp& warp, uint32_t lane, uint64_t address, uint32_t bytes) {
  if (address % bytes != 0) {
    fail(warp, lane, "misaligned, " + std::to_string(bytes) + " bytes at " + std::to_string(address));
  }
}

// The thread of a lane, at its step.
emulator::Agent agentOf(const Warp& warp, uint32_t lane) {
  const uint32_t thread = warp.block->threadOf(warp, lane);
  const emulator::View& view = warp.block->threads[thread].view;
  const uint32_t clock = warp.block->races.isEnabled() ? view.ordered[thread] : 0;
  return {thread, clock, &view, false, warp.instruction->opcode->name, warp.instruction};
}

}  // namespace

uint8_t* sharedAt(Warp& warp, uint32_t lane, uint32_t address, uint32_t bytes, Access access,
                  const emulator::Agent& agent) {
  Block& block = *warp.block;
  if (!block.hasShared(address, bytes)) fail(warp, lane, block.outsideText(address, bytes));
  requireAligned(warp, lane, address, bytes);
  if (block.races.isEnabled()) {
    block.checkedWarp = &warp;
    block.checkedLane = lane;
    if (access == Access::read) {
      block.races.read(address, bytes, agent);
    } else {
      block.races.write(address, bytes, agent);
    }
  }
  return block.sharedMemory + address;
}

uint8_t* sharedAt(Warp& warp, uint32_t lane, uint32_t address, uint32_t bytes, Access access) {
  return sharedAt(warp, lane, address, bytes, access, agentOf(warp, lane));
}

uint8_t* globalAt(Warp& warp, uint32_t lane, uint64_t address, uint32_t bytes, Access access) {
  requireAligned(warp, lane, address, bytes);
  const emulator::Memory* memory = warp.block->options.memory;
  if (memory != nullptr && !warp.remembered.contains(address, bytes)) {
    warp.remembered = memory->before(address);
    if (!warp.remembered.contains(address, bytes)) fail(warp, lane, "outside every allocation");
  }
  Block& block = *warp.block;
  if (block.races.isEnabled()) {
    block.checkedWarp = &warp;
    block.checkedLane = lane;
    if (access == Access::read) {
      block.races.readGlobal(address, bytes, agentOf(warp, lane));
    } else {
      block.races.writeGlobal(address, bytes, agentOf(warp, lane));
    }
  }
  return reinterpret_cast<uint8_t*>(address);
}

const uint8_t* parameterAt(const Warp& warp, uint32_t lane, uint64_t address, uint32_t bytes) {
  const Block& block = *warp.block;
  const uint64_t offset = address - kParamWindow;
  if (offset > block.kernel.declaration.paramBytes || bytes > block.kernel.declaration.paramBytes - offset) {
    fail(warp, lane, "outside the parameters, at " + std::to_string(int64_t(offset)));
  }
  requireAligned(warp, lane, address, bytes);
  return block.params + offset;
}

const uint8_t* genericAt(Warp& warp, uint32_t lane, uint64_t address, uint32_t bytes) {
  const bool isParameter = address >> 60 == kParamWindow >> 60;
  return isParameter ? parameterAt(warp, lane, address, bytes) : globalAt(warp, lane, address, bytes, Access::read);
}

namespace {

enum class Space { global, shared, param, generic };

template <Space space>
using AddressOf = std::conditional_t<space == Space::shared, uint32_t, uint64_t>;

template <Space space>
const uint8_t* readable(Warp& warp, uint32_t lane, AddressOf<space> address, uint32_t bytes) {
  if constexpr (space == Space::shared) return sharedAt(warp, lane, address, bytes, Access::read);
  if constexpr (space == Space::param) return parameterAt(warp, lane, address, bytes);
  if constexpr (space == Space::generic) return genericAt(warp, lane, address, bytes);
  return globalAt(warp, lane, address, bytes, Access::read);
}

// Count numbers side by side, each into a register that may be wider.
template <Space space, class Memory, class Register, uint32_t Count = 1>
void load(Warp& warp, const Instruction& in) {
  using Address = AddressOf<space>;
  const Address* addresses = lanes<Address>(warp, in, Count);
  Register loaded[Count][kLanes];  // first all, as a result may be the register of the address
  forEachLane(warp, [&](uint32_t lane) {
    Memory values[Count];
    const Address address = Address(addresses[lane] + Address(in.immediates[0]));
    std::memcpy(values, readable<space>(warp, lane, address, sizeof values), sizeof values);
    for (uint32_t n = 0; n < Count; ++n) loaded[n][lane] = Register(values[n]);
  });
  for (uint32_t n = 0; n < Count; ++n) {
    Register* result = lanes<Register>(warp, in, n);
    if (warp.mask == kAllLanes) {
      std::memcpy(result, loaded[n], sizeof loaded[n]);
    } else {
      forEachLane(warp, [&](uint32_t lane) { result[lane] = loaded[n][lane]; });
    }
  }
}

template <Space space, class Memory, class Register, uint32_t Count = 1>
void store(Warp& warp, const Instruction& in) {
  using Address = AddressOf<space>;
  const Address* addresses = lanes<Address>(warp, in, 0);
  forEachLane(warp, [&](uint32_t lane) {
    Memory values[Count];
    for (uint32_t n = 0; n < Count; ++n) values[n] = Memory(lanes<Register>(warp, in, 1 + n)[lane]);
    const Address address = Address(addresses[lane] + Address(in.immediates[0]));
    uint8_t* to = nullptr;
    if constexpr (space == Space::shared) {
      to = sharedAt(warp, lane, address, sizeof values, Access::write);
    } else {
      to = globalAt(warp, lane, address, sizeof values, Access::write);
    }
    std::memcpy(to, values, sizeof values);
  });
}

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s32 = int32_t;
using s64 = int64_t;

}  // namespace

Opcodes memoryOpcodes() {
  constexpr Space global = Space::global, shared = Space::shared, param = Space::param, generic = Space::generic;
  return {
      {"ld.param.u8", "h = [l]", load<param, u8, u16>},
      {"ld.param.u32", "w = [l]", load<param, u32, u32>},
      {"ld.param.u32", "l = [l]", load<param, u32, u64>},
      {"ld.param.f32", "w = [l]", load<param, u32, u32>},
      {"ld.param.s32", "l = [l]", load<param, s32, s64>},
      {"ld.param.u64", "l = [l]", load<param, u64, u64>},
      {"ld.param.v2.u8", "{hh} = [l]", load<param, u8, u16, 2>},
      {"ld.param.v4.u8", "{hhhh} = [l]", load<param, u8, u16, 4>},
      {"ld.param.v2.u32", "{ww} = [l]", load<param, u32, u32, 2>},
      {"ld.param.v2.f32", "{ww} = [l]", load<param, u32, u32, 2>},
      {"ld.global.u8", "h = [l]", load<global, u8, u16>},
      {"ld.global.u8", "w = [l]", load<global, u8, u32>},
      {"ld.global.u16", "h = [l]", load<global, u16, u16>},
      {"ld.global.u16", "w = [l]", load<global, u16, u32>},
      {"ld.global.u16", "l = [l]", load<global, u16, u64>},
      {"ld.global.u32", "w = [l]", load<global, u32, u32>},
      {"ld.global.f32", "w = [l]", load<global, u32, u32>},
      {"ld.global.s32", "l = [l]", load<global, s32, s64>},
      {"ld.global.u64", "l = [l]", load<global, u64, u64>},
      {"ld.global.v2.u32", "{ww} = [l]", load<global, u32, u32, 2>},
      {"ld.global.v4.b32", "{wwww} = [l]", load<global, u32, u32, 4>},
      {"ld.global.v4.u32", "{wwww} = [l]", load<global, u32, u32, 4>},
      {"ld.u8", "w = [l]", load<generic, u8, u32>},
      {"ld.u16", "h = [l]", load<generic, u16, u16>},
      {"ld.u32", "w = [l]", load<generic, u32, u32>},
      {"ld.f32", "w = [l]", load<generic, u32, u32>},
      {"ld.s32", "l = [l]", load<generic, s32, s64>},
      {"ld.u64", "l = [l]", load<generic, u64, u64>},
      {"ld.shared.b16", "h = [w]", load<shared, u16, u16>},
      {"ld.shared.b32", "w = [w]", load<shared, u32, u32>},
      {"ld.shared.f32", "w = [w]", load<shared, u32, u32>},
      {"ld.shared.v4.b32", "{wwww} = [w]", load<shared, u32, u32, 4>},
      {"st.global.u8", "[l], w", store<global, u8, u32>},
      {"st.global.u16", "[l], h", store<global, u16, u16>},
      {"st.global.u16", "[l], l", store<global, u16, u64>},
      {"st.global.u16", "[l], w", store<global, u16, u32>},
      {"st.global.u32", "[l], w", store<global, u32, u32>},
      {"st.global.u32", "[l], l", store<global, u32, u64>},
      {"st.global.f32", "[l], w", store<global, u32, u32>},
      {"st.global.v4.b32", "[l], {wwww}", store<global, u32, u32, 4>},
      {"st.global.v4.u32", "[l], {wwww}", store<global, u32, u32, 4>},
      {"st.shared.b16", "[w], h", store<shared, u16, u16>},
      {"st.shared.b32", "[w], w", store<shared, u32, u32>},
      {"st.shared.f32", "[w], w", store<shared, u32, u32>},
      {"st.shared.v4.b32", "[w], {wwww}", store<shared, u32, u32, 4>},
  };
}

}  // namespace tilewise::ptx
