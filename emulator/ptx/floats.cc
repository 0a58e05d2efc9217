// Arithmetic of float32. A result that is no number is the one the machine makes, whatever its operands were.
#include <cmath>

#include "../float32.h"
#include "../half.h"
#include "handlers.h"

namespace tilewise::ptx {
namespace {

using emulator::bitsOf;
using emulator::floatOf;

constexpr uint32_t kSign = 0x80000000;
constexpr uint32_t kNan = 0x7fffffff;

float canonical(float x) { return x == x ? x : floatOf(kNan); }

struct Add {
  static float of(float a, float b) { return canonical(a + b); }
};
struct Subtract {
  static float of(float a, float b) { return canonical(a - b); }
};
struct Multiply {
  static float of(float a, float b) { return canonical(a * b); }
};
struct Divide {
  static float of(float a, float b) { return canonical(a / b); }
};
struct MultiplyAdd {
  static float of(float a, float b, float c) { return canonical(__builtin_fmaf(a, b, c)); }
};
struct RoundedMultiplyAdd {
  static float of(float a, float b, float c) { return canonical(a * b + c); }
};
struct Maximum {
  static float of(float a, float b) { return canonical(emulator::maximum(a, b)); }
};
// Rounded to nearest where the manual allows an error of one or two units in the last place.
struct Reciprocal {
  static float of(float a) { return canonical(1 / a); }
};
struct ReciprocalFlushed {
  static float of(float a) { return canonical(emulator::reciprocalFlushed(a)); }
};
struct Exp2 {
  static float of(float a) { return canonical(std::exp2(a)); }
};
struct Exp2Flushed {
  static float of(float a) { return canonical(emulator::exp2Flushed(a)); }
};
struct Log2Flushed {
  static float of(float a) { return canonical(emulator::log2Flushed(a)); }
};

// Bits only, of whatever they are.
struct Absolute {
  static uint32_t of(uint32_t a) { return a & ~kSign; }
};
struct Opposite {
  static uint32_t of(uint32_t a) { return a ^ kSign; }
};
// The sign of a, the rest of b.
struct CopySign {
  static uint32_t of(uint32_t a, uint32_t b) { return (a & kSign) | (b & ~kSign); }
};

void multiplyAdd(Warp& warp, const Instruction& in) {
  if (warp.block->options.roundsProducts) {
    ternary<float, RoundedMultiplyAdd>(warp, in);
  } else {
    ternary<float, MultiplyAdd>(warp, in);
  }
}

}  // namespace

Opcodes floatOpcodes() {
  return {
      {"add.f32", "w = w, w", binary<float, Add>},
      {"sub.f32", "w = w, w", binary<float, Subtract>},
      {"mul.f32", "w = w, w", binary<float, Multiply>},
      {"div.rn.f32", "w = w, w", binary<float, Divide>},
      {"fma.rn.f32", "w = w, w, w", multiplyAdd},
      {"max.f32", "w = w, w", binary<float, Maximum>},
      {"rcp.rn.f32", "w = w", unary<float, Reciprocal>},
      {"rcp.approx.ftz.f32", "w = w", unary<float, ReciprocalFlushed>},
      {"ex2.approx.f32", "w = w", unary<float, Exp2>},
      {"ex2.approx.ftz.f32", "w = w", unary<float, Exp2Flushed>},
      {"lg2.approx.ftz.f32", "w = w", unary<float, Log2Flushed>},
      {"abs.f32", "w = w", unary<uint32_t, Absolute>},
      {"neg.f32", "w = w", unary<uint32_t, Opposite>},
      {"copysign.f32", "w = w, w", binary<uint32_t, CopySign>},
  };
}

}  // namespace tilewise::ptx
