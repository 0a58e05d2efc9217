// Matrix loads and stores, shuffles, votes and barriers of one warp.
#include <cstring>

#include "block.h"
#include "errors.h"
#include "fragments.h"
#include "rendezvous.h"
#include "shared_memory.h"
#include "thread_order.h"

namespace tilewise::emulator {
namespace {

// ldmatrix and stmatrix: four 8x8 matrices of 16 bits, whose rows the lanes name in turn.
constexpr uint32_t kMatrices = 4, kRows = 8, kRowBytes = 16;

void checkRow(uint32_t row, Access access, const char* operation, const void* where) {
  if (row % kRowBytes != 0) fail(std::string(operation) + ": misaligned row @" + sourceLine(where));
  sharedBytes(row, kRowBytes, operation);
  RaceChecker& races = block().races;
  if (!races.isEnabled()) return;
  if (access == Access::read) {
    races.read(row, kRowBytes, thisThread(operation, where));
  } else {
    races.write(row, kRowBytes, thisThread(operation, where));
  }
}

struct MatrixLoad {
  uint32_t* registers;
  uint32_t row;
};

void loadOne(uint32_t matrix, bool transposed, Lanes<MatrixLoad> lanes) {
  uint16_t elements[kRows * kRows];
  uint32_t banks = 0;
  for (uint32_t i = 0; i < kRows; ++i) {
    const uint32_t row = lanes[matrix * kRows + i].row;
    std::memcpy(elements + kRows * i, block().sharedMemory + row, kRowBytes);
    banks |= 1u << (row / kRowBytes % 8);
  }
  block().stats.matrixLoadConflicts += kRows - uint32_t(__builtin_popcount(banks));
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    lanes[lane].registers[matrix] = pairOf(elements, lane, transposed);
  }
}

}  // namespace

TW_OPERATION void loadMatrix(uint32_t* registers, uint32_t row, bool transposed) {
  const char* operation = transposed ? "ldmatrix.trans" : "ldmatrix";
  checkRow(row, Access::read, operation, TW_WHERE);
  MatrixLoad load{registers, row};
  rendezvous(operation, TW_WHERE, load, [&](Warp&, Lanes<MatrixLoad> lanes) {
    ++block().stats.matrixLoads;
    for (uint32_t matrix = 0; matrix < kMatrices; ++matrix) loadOne(matrix, transposed, lanes);
  });
}

TW_OPERATION void storeMatrix(uint32_t row, const uint32_t* registers) {
  struct MatrixStore {
    const uint32_t* registers;
    uint32_t row;
  };
  checkRow(row, Access::write, "stmatrix", TW_WHERE);
  MatrixStore store{registers, row};
  rendezvous("stmatrix", TW_WHERE, store, [](Warp&, Lanes<MatrixStore> lanes) {
    for (uint32_t matrix = 0; matrix < kMatrices; ++matrix) {
      for (uint32_t lane = 0; lane < kLanes; ++lane) {
        const uint32_t to = lanes[matrix * kRows + lane / 4].row + lane % 4 * 4;
        std::memcpy(block().sharedMemory + to, &lanes[lane].registers[matrix], 4);
      }
    }
  });
}

TW_OPERATION uint32_t shuffle(Shuffle kind, uint32_t value, int operand) {
  struct Exchange {
    uint32_t value, operand, result;
  };
  static const char* const names[] = {"shfl.bfly", "shfl.idx", "shfl.up"};
  Exchange exchange{value, uint32_t(operand), 0};
  rendezvous(names[int(kind)], TW_WHERE, exchange, [&](Warp&, Lanes<Exchange> lanes) {
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const uint32_t asked = lanes[lane].operand;
      uint32_t from = asked % kLanes;
      if (kind == Shuffle::exclusiveOr) from = (lane ^ asked) % kLanes;
      if (kind == Shuffle::up) from = lane >= asked ? lane - asked : lane;
      lanes[lane].result = lanes[from].value;
    }
  });
  return exchange.result;
}

TW_OPERATION uint32_t ballot(bool yes) {
  struct Vote {
    bool yes;
    uint32_t result;
  };
  Vote vote{yes, 0};
  rendezvous("vote.ballot", TW_WHERE, vote, [](Warp&, Lanes<Vote> lanes) {
    uint32_t votes = 0;
    for (uint32_t lane = 0; lane < kLanes; ++lane) votes |= uint32_t(lanes[lane].yes) << lane;
    for (uint32_t lane = 0; lane < kLanes; ++lane) lanes[lane].result = votes;
  });
  return vote.result;
}

TW_OPERATION void syncWarp() {
  NoArguments none;
  rendezvous("bar.warp.sync", TW_WHERE, none, [](Warp&, Lanes<NoArguments> lanes) {
    if (!block().races.isEnabled()) return;
    uint32_t members[kLanes];
    for (uint32_t lane = 0; lane < kLanes; ++lane) members[lane] = lanes.thread(lane).index;
    synchronize(members, kLanes, [&](uint32_t thread) -> View& { return block().threadStates[thread].view; });
  });
}

}  // namespace tilewise::emulator
