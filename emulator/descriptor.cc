// Decoding of descriptors: the fields, the rules that hardware asks for, and the address arithmetic of the layouts.
#include "descriptor.h"

#include "tensor_map.h"

namespace tilewise::emulator {
namespace {

constexpr uint64_t kOffsetMask = 0x3FFF;
constexpr uint64_t kBaseOffset = 7ull << 49;
constexpr uint64_t kUsed = kOffsetMask | kOffsetMask << 16 | kOffsetMask << 32 | kBaseOffset | 3ull << 62;
constexpr uint32_t kSpans[] = {16, 128, 64, 32};  // by the swizzle field

uint32_t offsetAt(uint64_t descriptor, int bit) { return uint32_t(descriptor >> bit & kOffsetMask) << 4; }

}  // namespace

Operand::Operand(uint64_t descriptor, bool isMnMajor)
    : start_(offsetAt(descriptor, 0)),
      leadingOffset_(offsetAt(descriptor, 16)),
      strideOffset_(offsetAt(descriptor, 32)),
      spanBytes_(kSpans[descriptor >> 62]),
      isMnMajor_(isMnMajor) {}

std::string Operand::faultOf(uint64_t descriptor, bool isMnMajor) {
  if (descriptor & ~kUsed) return "reserved bits of the descriptor are set";
  if (descriptor & kBaseOffset) return "a base offset in the descriptor, which is not modelled";
  const Operand operand(descriptor, isMnMajor);
  if (operand.spanBytes_ == 16) return "";
  const uint32_t atom = 8 * operand.spanBytes_;
  // Inside the pattern the start may advance along a row of 128 bytes, no further.
  if (operand.start_ & (atom - 1) & ~127u) {
    return "the swizzle pattern does not start on its boundary of " + std::to_string(atom) + " bytes";
  }
  if (operand.strideOffset_ % atom != 0 || (isMnMajor && operand.leadingOffset_ % atom != 0)) {
    return "an offset that is no multiple of the swizzle pattern";
  }
  return "";
}

uint32_t Operand::chunk(uint32_t mn, uint32_t k) const {
  const uint32_t major = isMnMajor_ ? mn : k, minor = isMnMajor_ ? k : mn;
  uint32_t address = start_ + minor % 8 * spanBytes_;
  if (spanBytes_ == 16) {
    // Core matrices of 8 rows by 16 bytes; the leading offset leads to the next along k, the stride along mn.
    address += mn / 8 * strideOffset_ + k / 8 * leadingOffset_;
  } else {
    const uint32_t rowElements = spanBytes_ / kElementBytes;
    address += minor / 8 * strideOffset_ + major % rowElements * kElementBytes + major / rowElements * leadingOffset_;
  }
  return swizzled(address, spanBytes_);
}

uint32_t Operand::element(uint32_t mn, uint32_t k) const {
  const uint32_t inChunk = (isMnMajor_ ? mn : k) % 8;
  return chunk(isMnMajor_ ? mn - inChunk : mn, isMnMajor_ ? k : k - inChunk) + inChunk * kElementBytes;
}

}  // namespace tilewise::emulator
