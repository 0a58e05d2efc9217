// Lines of wgmma: operands in shared memory or registers, an accumulator, and what the product must be, of float64. PTX
// ISA, "Asynchronous warpgroup-level matrix instructions", whose figures of fragments and table of canonical layouts
// are restated here for operands without a swizzle. Values are such that every order of the sums gives the same bits.
// Reader: tests of wgmma.
#pragma once

#include <string>

#include "line.h"

namespace tilewise::ptx {

constexpr uint32_t kWarpgroup = 128, kDepth = 16;  // threads; of k
constexpr uint32_t kOperandB = 64 * kDepth * 2;  // where it starts in shared memory
constexpr uint32_t kWgmmaBytes = kOperandB + 256 * kDepth * 2;

// Without a swizzle: core matrices of 8 rows of 16 bytes, k-major one beside the other along k, mn-major along mn.
struct Layout {
  bool isMnMajor;
  uint32_t start, extent;

  uint32_t leading() const { return isMnMajor ? extent / 8 * 128 : 128; }
  uint32_t stride() const { return isMnMajor ? 128 : kDepth / 8 * 128; }
  uint32_t place(uint32_t mn, uint32_t k) const;
  uint64_t descriptor() const;
};

struct Wgmma {
  uint32_t n = 64;
  std::string type = "bf16";
  bool transposeA = false, transposeB = false, isAInRegisters = false;

  Layout a() const { return {transposeA, 0, 64}; }
  Layout b() const { return {transposeB, kOperandB, n}; }
  std::string opcode() const;

  // The instruction alone. Sources: a's registers or descriptor, b's descriptor, whether to keep; then where an
  // accumulator starts. %d0 and on are the accumulator.
  Line line() const;
};

// Register r of the accumulator starts as the last source and r.
std::string startSums(const Line& line);
// What was written to shared memory before is there for products.
extern const std::string kPrepare;
std::string fence();
std::string commit();
std::string waitFor(uint32_t pending);
// All of these around the line, which is the product.
Line whole(Line line);

// Register r of the accumulator in thread t: at the start, and of the product.
double startOf(uint32_t t, uint32_t r);
double productOf(uint32_t t, uint32_t r);
// The accumulator is so many times its start and so many times the product.
void expectSums(const std::string& what, const Outcome& outcome, const Wgmma& wgmma, double keep, double times);

}  // namespace tilewise::ptx
