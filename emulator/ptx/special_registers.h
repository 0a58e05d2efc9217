// The special registers that are known. Blocks and grids have one dimension.
// Reader: parser.cc, move.cc.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace tilewise::ptx {

enum class Special { threadIndex, blockThreads, blockIndex, blockCount };
constexpr std::array<std::string_view, 4> kSpecialRegisters{"%tid.x", "%ntid.x", "%ctaid.x", "%nctaid.x"};

// -1 for none of them.
constexpr int32_t specialRegister(std::string_view name) {
  for (size_t i = 0; i < kSpecialRegisters.size(); ++i) {
    if (kSpecialRegisters[i] == name) return int32_t(i);
  }
  return -1;
}

}  // namespace tilewise::ptx
