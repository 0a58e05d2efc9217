// Bits: logic of integers and predicates, shifts, fields, and choices by a predicate.
#include <algorithm>
#include <type_traits>

#include "handlers.h"

namespace tilewise::ptx {
namespace {

struct And {
  template <class T>
  static T of(T a, T b) {
    return a & b;
  }
};
struct Or {
  template <class T>
  static T of(T a, T b) {
    return a | b;
  }
};
struct Xor {
  template <class T>
  static T of(T a, T b) {
    return a ^ b;
  }
};
struct Not {
  template <class T>
  static T of(T a) {
    return T(~a);
  }
};

template <class Operation>
void logicOfPredicates(Warp& warp, const Instruction& in) {
  writePredicate(warp, predicate(warp, in, 0), Operation::of(predicate(warp, in, 1), predicate(warp, in, 2)));
}
void notOfPredicate(Warp& warp, const Instruction& in) {
  writePredicate(warp, predicate(warp, in, 0), ~predicate(warp, in, 1));
}

// By 32 bits, whatever is shifted. Past its width: zeros, or copies of the sign.
template <class T>
void shiftLeft(Warp& warp, const Instruction& in) {
  constexpr uint32_t bits = sizeof(T) * 8;
  const T* a = lanes<T>(warp, in, 1);
  const uint32_t* amount = lanes<uint32_t>(warp, in, 2);
  write(warp, lanes<T>(warp, in, 0), [&](uint32_t i) { return amount[i] >= bits ? T(0) : T(a[i] << amount[i]); });
}
template <class T>
void shiftRight(Warp& warp, const Instruction& in) {
  constexpr uint32_t bits = sizeof(T) * 8;
  const T* a = lanes<T>(warp, in, 1);
  const uint32_t* amount = lanes<uint32_t>(warp, in, 2);
  write(warp, lanes<T>(warp, in, 0), [&](uint32_t i) {
    const T shifted = T(a[i] >> std::min(amount[i], bits - 1));
    return std::is_unsigned_v<T> && amount[i] >= bits ? T(0) : shifted;
  });
}

// Field a into b, at a position, of a length: 8 bits each.
template <class T>
void insertField(Warp& warp, const Instruction& in) {
  constexpr uint32_t bits = sizeof(T) * 8;
  const T *a = lanes<T>(warp, in, 1), *b = lanes<T>(warp, in, 2);
  const uint32_t *positions = lanes<uint32_t>(warp, in, 3), *lengths = lanes<uint32_t>(warp, in, 4);
  write(warp, lanes<T>(warp, in, 0), [&](uint32_t i) {
    const uint32_t position = positions[i] & 0xff, length = lengths[i] & 0xff;
    if (position >= bits || length == 0) return b[i];
    const T field = T((length >= bits ? T(~T(0)) : T((T(1) << length) - 1)) << position);
    return T((b[i] & ~field) | ((a[i] << position) & field));
  });
}

// Four of the eight bytes of b and a, a's first: each chosen by four bits, of which the highest asks for copies of its
// sign.
void permuteBytes(Warp& warp, const Instruction& in) {
  const uint32_t *a = lanes<uint32_t>(warp, in, 1), *b = lanes<uint32_t>(warp, in, 2);
  const uint32_t* choices = lanes<uint32_t>(warp, in, 3);
  write(warp, lanes<uint32_t>(warp, in, 0), [&](uint32_t i) {
    const uint64_t bytes = uint64_t(b[i]) << 32 | a[i];
    uint32_t result = 0;
    for (uint32_t at = 0; at < 4; ++at) {
      const uint32_t choice = choices[i] >> (4 * at) & 15;
      const uint32_t byte = uint32_t(bytes >> (8 * (choice & 7))) & 0xff;
      result |= (choice < 8 ? byte : byte >= 0x80 ? 0xffu : 0u) << (8 * at);
    }
    return result;
  });
}

void countBits(Warp& warp, const Instruction& in) {
  const uint32_t* a = lanes<uint32_t>(warp, in, 1);
  write(warp, lanes<uint32_t>(warp, in, 0), [&](uint32_t i) { return uint32_t(__builtin_popcount(a[i])); });
}

template <class T>
void select(Warp& warp, const Instruction& in) {
  const T *a = lanes<T>(warp, in, 1), *b = lanes<T>(warp, in, 2);
  const uint32_t holds = predicate(warp, in, 3);
  write(warp, lanes<T>(warp, in, 0), [&](uint32_t i) { return holds >> i & 1 ? a[i] : b[i]; });
}

}  // namespace

Opcodes bitOpcodes() {
  return {
      {"and.b16", "h = h, h", binary<uint16_t, And>},
      {"and.b32", "w = w, w", binary<uint32_t, And>},
      {"and.b64", "l = l, l", binary<uint64_t, And>},
      {"and.pred", "p = p, p", logicOfPredicates<And>},
      {"or.b16", "h = h, h", binary<uint16_t, Or>},
      {"or.b32", "w = w, w", binary<uint32_t, Or>},
      {"or.b64", "l = l, l", binary<uint64_t, Or>},
      {"or.pred", "p = p, p", logicOfPredicates<Or>},
      {"xor.b32", "w = w, w", binary<uint32_t, Xor>},
      {"xor.pred", "p = p, p", logicOfPredicates<Xor>},
      {"not.b32", "w = w", unary<uint32_t, Not>},
      {"not.b64", "l = l", unary<uint64_t, Not>},
      {"not.pred", "p = p", notOfPredicate},
      {"shl.b16", "h = h, w", shiftLeft<uint16_t>},
      {"shl.b32", "w = w, w", shiftLeft<uint32_t>},
      {"shl.b64", "l = l, w", shiftLeft<uint64_t>},
      {"shr.s32", "w = w, w", shiftRight<int32_t>},
      {"shr.u32", "w = w, w", shiftRight<uint32_t>},
      {"shr.s64", "l = l, w", shiftRight<int64_t>},
      {"shr.u64", "l = l, w", shiftRight<uint64_t>},
      {"bfi.b32", "w = w, w, w, w", insertField<uint32_t>},
      {"bfi.b64", "l = l, l, w, w", insertField<uint64_t>},
      {"prmt.b32", "w = w, w, w", permuteBytes},
      {"popc.b32", "w = w", countBits},
      {"selp.b16", "h = h, h, p", select<uint16_t>},
      {"selp.u16", "h = h, h, p", select<uint16_t>},
      {"selp.b32", "w = w, w, p", select<uint32_t>},
      {"selp.u32", "w = w, w, p", select<uint32_t>},
      {"selp.f32", "w = w, w, p", select<uint32_t>},
      {"selp.b64", "l = l, l, p", select<uint64_t>},
  };
}

}  // namespace tilewise::ptx
