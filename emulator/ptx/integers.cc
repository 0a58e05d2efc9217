// Arithmetic of integers. Signed numbers wrap around, so most opcodes are those of unsigned ones.
#include <algorithm>
#include <type_traits>

#include "handlers.h"

namespace tilewise::ptx {
namespace {

struct Add {
  template <class T>
  static T of(T a, T b) {
    return T(a + b);
  }
};
struct Subtract {
  template <class T>
  static T of(T a, T b) {
    return T(a - b);
  }
};
struct Multiply {
  template <class T>
  static T of(T a, T b) {
    return T(a * b);
  }
};
struct MultiplyHigh {
  static int32_t of(int32_t a, int32_t b) { return int32_t(int64_t(a) * b >> 32); }
};
struct MultiplyAdd {
  static uint32_t of(uint32_t a, uint32_t b, uint32_t c) { return a * b + c; }
};
// Division by zero gives what the machine gives: all ones, and the dividend as remainder. PTX leaves it open.
struct Divide {
  template <class T>
  static T of(T a, T b) {
    if (b == 0) return T(-1);
    if (std::is_signed_v<T> && b == T(-1)) return T(std::make_unsigned_t<T>(0) - std::make_unsigned_t<T>(a));
    return T(a / b);
  }
};
struct Remainder {
  template <class T>
  static T of(T a, T b) {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == T(-1)) return 0;
    return T(a % b);
  }
};
struct Least {
  template <class T>
  static T of(T a, T b) {
    return std::min(a, b);
  }
};
struct Most {
  template <class T>
  static T of(T a, T b) {
    return std::max(a, b);
  }
};
struct Negate {
  template <class T>
  static T of(T a) {
    return T(0 - a);
  }
};

// abs.s32 of the least number is that number.
struct AbsoluteInteger {
  static uint32_t of(uint32_t a) { return a >> 31 != 0 ? 0 - a : a; }
};

template <class Wide, class T>
void multiplyWide(Warp& warp, const Instruction& in) {
  const T *a = lanes<T>(warp, in, 1), *b = lanes<T>(warp, in, 2);
  write(warp, lanes<Wide>(warp, in, 0), [&](uint32_t i) { return Wide(a[i]) * Wide(b[i]); });
}

}  // namespace

Opcodes integerOpcodes() {
  return {
      {"add.s16", "h = h, h", binary<uint16_t, Add>},
      {"add.s32", "w = w, w", binary<uint32_t, Add>},
      {"add.s64", "l = l, l", binary<uint64_t, Add>},
      {"sub.s16", "h = h, h", binary<uint16_t, Subtract>},
      {"sub.s32", "w = w, w", binary<uint32_t, Subtract>},
      {"sub.s64", "l = l, l", binary<uint64_t, Subtract>},
      {"mul.lo.s16", "h = h, h", binary<uint16_t, Multiply>},
      {"mul.lo.s32", "w = w, w", binary<uint32_t, Multiply>},
      {"mul.lo.s64", "l = l, l", binary<uint64_t, Multiply>},
      {"mul.hi.s32", "w = w, w", binary<int32_t, MultiplyHigh>},
      {"mul.wide.u16", "w = h, h", multiplyWide<uint32_t, uint16_t>},
      {"mul.wide.s32", "l = w, w", multiplyWide<int64_t, int32_t>},
      {"mul.wide.u32", "l = w, w", multiplyWide<uint64_t, uint32_t>},
      {"mad.lo.s32", "w = w, w, w", ternary<uint32_t, MultiplyAdd>},
      {"div.s32", "w = w, w", binary<int32_t, Divide>},
      {"div.u32", "w = w, w", binary<uint32_t, Divide>},
      {"div.s64", "l = l, l", binary<int64_t, Divide>},
      {"rem.s32", "w = w, w", binary<int32_t, Remainder>},
      {"rem.u32", "w = w, w", binary<uint32_t, Remainder>},
      {"rem.s64", "l = l, l", binary<int64_t, Remainder>},
      {"min.s32", "w = w, w", binary<int32_t, Least>},
      {"min.s64", "l = l, l", binary<int64_t, Least>},
      {"max.s32", "w = w, w", binary<int32_t, Most>},
      {"max.u32", "w = w, w", binary<uint32_t, Most>},
      {"max.s64", "l = l, l", binary<int64_t, Most>},
      {"abs.s32", "w = w", unary<uint32_t, AbsoluteInteger>},
      {"neg.s32", "w = w", unary<uint32_t, Negate>},
      {"neg.s64", "l = l", unary<uint64_t, Negate>},
  };
}

}  // namespace tilewise::ptx
