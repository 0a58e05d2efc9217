// A kernel as it runs: instructions over slots of a register file, and where each came from.
// A slot is one register of all 32 lanes side by side, so that a compiler makes vectors of what an instruction does to
// them; a predicate is a mask of 32 bits. Constants have slots, too, which are filled when a warp starts.
// Reader: everything in this folder.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ptx.h"

namespace tilewise::ptx {

struct Warp;
struct Instruction;

constexpr uint32_t kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffff;

enum class Width : uint8_t { predicate, b16, b32, b64 };
constexpr uint32_t kSlotBytes[] = {4, 64, 128, 256};

// What an instruction does to the lanes of warp.mask.
using Run = void (*)(Warp& warp, const Instruction& instruction);

enum class Kind : uint8_t {
  plain,
  branch,
  exit,
  pause,  // after it the warp may have to wait, or others must have their turn
};

struct Opcode {
  const char* name;      // with all modifiers
  const char* operands;  // "w = w, w": see opcodes.h
  Run run;
  Kind kind = Kind::plain;
  bool leavesBusy = false;  // registers, until a wait: see warpgroups.h
};

struct Instruction {
  Run run = nullptr;
  const uint32_t* slots =
      nullptr;  // byte offsets into the register file: results, then sources, in the order of the text
  const Opcode* opcode = nullptr;
  int64_t immediates[3] = {};  // offsets of addresses and numbers that must be constants, in the order of the text
  int32_t guard = -1;          // slot of the predicate
  int32_t target = -1;         // of a branch
  int32_t join = -1;           // where the lanes of a branch meet again; -1: at the end
  uint32_t line = 0;           // of the text
  int32_t place = -1;          // in Kernel::places
  Kind kind = Kind::plain;
  uint8_t slotCount = 0;
  bool isNegated = false;  // the guard
  bool isInline = false;   // written in an asm statement
};

// A line of a source file, and that into which the compiler inlined it.
struct Place {
  std::string_view file;
  uint32_t line;
  int32_t inlinedAt;  // in Kernel::places, -1 for none
};

struct Constant {
  Width width;
  uint64_t bits;
  uint32_t slot;
};

struct Kernel {
  std::string name;
  Declaration declaration;
  std::vector<Instruction> code;
  std::vector<uint32_t> slots;  // of all instructions
  std::vector<Constant> constants;
  std::vector<Place> places;
  uint32_t firstRegister = 0;  // before it, constants
  uint32_t fileBytes = 0;
  bool leavesBusy = false;  // an instruction of it does
  // Of each instruction, whether lanes have come to it, whatever its guard says. Null unless somebody asks.
  std::unique_ptr<std::atomic<bool>[]> isReached;
};

constexpr uint64_t kParamWindow = uint64_t(2) << 60;  // parameters, as generic addresses

// TILEWISE_PTX_REACHED: where launches append which lines they have come to; null where nobody asks.
const char* reachedFile();

// "attend.h:135 < run.h:12 (line 3812 of the PTX, inline)".
std::string placeOf(const Kernel& kernel, const Instruction& instruction);

}  // namespace tilewise::ptx
