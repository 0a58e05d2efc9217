// setp: a predicate from two numbers. Comparisons of float32 hold for no NaN; those that end in u for any.
#include "handlers.h"

namespace tilewise::ptx {
namespace {

struct Equal {
  template <class T>
  static bool of(T a, T b) {
    return a == b;
  }
};
struct NotEqual {  // of float32: or unordered
  template <class T>
  static bool of(T a, T b) {
    return a != b;
  }
};
struct Less {
  template <class T>
  static bool of(T a, T b) {
    return a < b;
  }
};
struct LessEqual {
  template <class T>
  static bool of(T a, T b) {
    return a <= b;
  }
};
struct Greater {
  template <class T>
  static bool of(T a, T b) {
    return a > b;
  }
};
struct GreaterEqual {
  template <class T>
  static bool of(T a, T b) {
    return a >= b;
  }
};
struct LessEqualUnordered {
  static bool of(float a, float b) { return !(a > b); }
};
struct GreaterUnordered {
  static bool of(float a, float b) { return !(a <= b); }
};
struct GreaterEqualUnordered {
  static bool of(float a, float b) { return !(a < b); }
};
struct Unordered {
  static bool of(float a, float b) { return a != a || b != b; }
};

template <class T, class Operation>
void compare(Warp& warp, const Instruction& in) {
  const T *a = lanes<T>(warp, in, 1), *b = lanes<T>(warp, in, 2);
  uint32_t bits = 0;
  for (uint32_t lane = 0; lane < kLanes; ++lane) bits |= uint32_t(Operation::of(a[lane], b[lane])) << lane;
  writePredicate(warp, predicate(warp, in, 0), bits);
}

}  // namespace

Opcodes comparisonOpcodes() {
  return {
      {"setp.eq.s16", "p = h, h", compare<int16_t, Equal>},
      {"setp.ne.s16", "p = h, h", compare<int16_t, NotEqual>},
      {"setp.lt.u16", "p = h, h", compare<uint16_t, Less>},
      {"setp.gt.u16", "p = h, h", compare<uint16_t, Greater>},
      {"setp.eq.b32", "p = w, w", compare<uint32_t, Equal>},
      {"setp.ne.b32", "p = w, w", compare<uint32_t, NotEqual>},
      {"setp.eq.s32", "p = w, w", compare<int32_t, Equal>},
      {"setp.ne.s32", "p = w, w", compare<int32_t, NotEqual>},
      {"setp.lt.s32", "p = w, w", compare<int32_t, Less>},
      {"setp.le.s32", "p = w, w", compare<int32_t, LessEqual>},
      {"setp.gt.s32", "p = w, w", compare<int32_t, Greater>},
      {"setp.ge.s32", "p = w, w", compare<int32_t, GreaterEqual>},
      {"setp.ne.u32", "p = w, w", compare<uint32_t, NotEqual>},
      {"setp.lt.u32", "p = w, w", compare<uint32_t, Less>},
      {"setp.gt.u32", "p = w, w", compare<uint32_t, Greater>},
      {"setp.ge.u32", "p = w, w", compare<uint32_t, GreaterEqual>},
      {"setp.eq.b64", "p = l, l", compare<uint64_t, Equal>},
      {"setp.eq.s64", "p = l, l", compare<int64_t, Equal>},
      {"setp.ne.s64", "p = l, l", compare<int64_t, NotEqual>},
      {"setp.lt.s64", "p = l, l", compare<int64_t, Less>},
      {"setp.le.s64", "p = l, l", compare<int64_t, LessEqual>},
      {"setp.gt.s64", "p = l, l", compare<int64_t, Greater>},
      {"setp.ge.s64", "p = l, l", compare<int64_t, GreaterEqual>},
      {"setp.lt.u64", "p = l, l", compare<uint64_t, Less>},
      {"setp.ge.u64", "p = l, l", compare<uint64_t, GreaterEqual>},
      {"setp.eq.f32", "p = w, w", compare<float, Equal>},
      {"setp.lt.f32", "p = w, w", compare<float, Less>},
      {"setp.le.f32", "p = w, w", compare<float, LessEqual>},
      {"setp.gt.f32", "p = w, w", compare<float, Greater>},
      {"setp.ge.f32", "p = w, w", compare<float, GreaterEqual>},
      {"setp.neu.f32", "p = w, w", compare<float, NotEqual>},
      {"setp.leu.f32", "p = w, w", compare<float, LessEqualUnordered>},
      {"setp.gtu.f32", "p = w, w", compare<float, GreaterUnordered>},
      {"setp.geu.f32", "p = w, w", compare<float, GreaterEqualUnordered>},
      {"setp.nan.f32", "p = w, w", compare<float, Unordered>},
  };
}

}  // namespace tilewise::ptx
