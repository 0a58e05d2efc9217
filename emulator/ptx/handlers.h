// How what an opcode does reaches lanes and registers.
// Reader: the files of opcodes.
#pragma once

#include <cstdint>
#include <cstring>

#include "block.h"
#include "opcodes.h"

namespace tilewise::ptx {

// A register of all lanes. `i` counts operands in the order of the text, constants and addresses included.
template <class T>
inline T* lanes(const Warp& warp, const Instruction& in, uint32_t i) {
  return reinterpret_cast<T*>(warp.registers + in.slots[i]);
}
inline uint32_t& predicate(const Warp& warp, const Instruction& in, uint32_t i) {
  return *lanes<uint32_t>(warp, in, i);
}

// result[lane] = f(lane) in the lanes that execute. A result may be the same register as a source.
template <class T, class F>
inline void write(const Warp& warp, T* result, F f) {
  if (warp.mask == kAllLanes) {
#pragma GCC ivdep
    for (uint32_t lane = 0; lane < kLanes; ++lane) result[lane] = f(lane);
    return;
  }
  T all[kLanes];
  for (uint32_t lane = 0; lane < kLanes; ++lane) all[lane] = f(lane);
  for (uint32_t lane = 0; lane < kLanes; ++lane) result[lane] = warp.mask >> lane & 1 ? all[lane] : result[lane];
}
inline void writePredicate(const Warp& warp, uint32_t& result, uint32_t bits) {
  result = (result & ~warp.mask) | (bits & warp.mask);
}

template <class F>
inline void forEachLane(const Warp& warp, F f) {
  for (uint32_t left = warp.mask; left != 0; left &= left - 1) f(uint32_t(__builtin_ctz(left)));
}

// d = f(a), f(a, b), f(a, b, c), all of one type.
template <class T, class Operation>
void unary(Warp& warp, const Instruction& in) {
  const T* a = lanes<T>(warp, in, 1);
  write(warp, lanes<T>(warp, in, 0), [&](uint32_t i) { return Operation::of(a[i]); });
}
template <class T, class Operation>
void binary(Warp& warp, const Instruction& in) {
  const T *a = lanes<T>(warp, in, 1), *b = lanes<T>(warp, in, 2);
  write(warp, lanes<T>(warp, in, 0), [&](uint32_t i) { return Operation::of(a[i], b[i]); });
}
template <class T, class Operation>
void ternary(Warp& warp, const Instruction& in) {
  const T *a = lanes<T>(warp, in, 1), *b = lanes<T>(warp, in, 2), *c = lanes<T>(warp, in, 3);
  write(warp, lanes<T>(warp, in, 0), [&](uint32_t i) { return Operation::of(a[i], b[i], c[i]); });
}

// The bytes behind an address, after every check: they exist, are aligned to their size, and nothing races for them.
// Warps keep `warp.instruction` for messages.
uint8_t* sharedAt(Warp& warp, uint32_t lane, uint32_t address, uint32_t bytes, Access access);
uint8_t* sharedAt(Warp& warp, uint32_t lane, uint32_t address, uint32_t bytes, Access access,
                  const emulator::Agent& agent);  // for what works on the lane's behalf
uint8_t* globalAt(Warp& warp, uint32_t lane, uint64_t address, uint32_t bytes, Access access);
const uint8_t* parameterAt(const Warp& warp, uint32_t lane, uint64_t address, uint32_t bytes);
const uint8_t* genericAt(Warp& warp, uint32_t lane, uint64_t address, uint32_t bytes);  // of a parameter, or global

// The lane as the caller of what both machines share.
emulator::Caller callerOf(const Warp& warp, uint32_t lane);

// For .sync: the lanes that `members` names are those that execute. For .aligned: those are all that are left.
void requireMembers(const Warp& warp, const uint32_t* members);
void requireAllLanes(const Warp& warp);

}  // namespace tilewise::ptx
