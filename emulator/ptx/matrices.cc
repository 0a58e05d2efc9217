// Tensor cores: ldmatrix, stmatrix and mma.sync. Which lane holds what: ../fragments.h.
#include "../fragments.h"
#include "handlers.h"

namespace tilewise::ptx {
namespace {

using emulator::Element;

constexpr uint32_t kMatrices = 4, kMatrixRows = 8, kRowBytes = 16;

// Lane 8m + i gives the address of row i of matrix m.
template <bool isTransposed>
void loadMatrices(Warp& warp, const Instruction& in) {
  requireAllLanes(warp);
  const uint32_t* addresses = lanes<uint32_t>(warp, in, kMatrices);
  uint16_t elements[kMatrices][kMatrixRows * kMatrixRows];
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const uint32_t address = addresses[lane] + uint32_t(in.immediates[0]);
    std::memcpy(elements[lane / kMatrixRows] + lane % kMatrixRows * kMatrixRows,
                sharedAt(warp, lane, address, kRowBytes, Access::read), kRowBytes);
  }
  for (uint32_t m = 0; m < kMatrices; ++m) {
    uint32_t* result = lanes<uint32_t>(warp, in, m);
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      result[lane] = emulator::pairOf(elements[m], lane, isTransposed);
    }
  }
}

// Lane 8m + i names row i of matrix m, of which each lane has, in its register m, a pair of columns.
void storeMatrices(Warp& warp, const Instruction& in) {
  requireAllLanes(warp);
  const uint32_t* addresses = lanes<uint32_t>(warp, in, 0);
  uint8_t* rows[kLanes];
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const uint32_t address = addresses[lane] + uint32_t(in.immediates[0]);
    rows[lane] = sharedAt(warp, lane, address, kRowBytes, Access::write);
  }
  for (uint32_t m = 0; m < kMatrices; ++m) {
    const uint32_t* values = lanes<uint32_t>(warp, in, 1 + m);
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      std::memcpy(rows[m * kMatrixRows + lane / 4] + lane % 4 * 4, &values[lane], sizeof values[lane]);
    }
  }
}

// Sources follow four results: a, b, c.
constexpr uint32_t kA = 4, kB = 8, kC = 10, kColumns = 8;

template <uint32_t Count>
void gather(uint32_t (&registers)[Count], const Warp& warp, const Instruction& in, uint32_t first, uint32_t lane) {
  for (uint32_t r = 0; r < Count; ++r) registers[r] = lanes<uint32_t>(warp, in, first + r)[lane];
}

void loadSums(float* c, const Warp& warp, const Instruction& in, uint32_t lane) {
  float sums[4];
  for (uint32_t r = 0; r < 4; ++r) sums[r] = lanes<float>(warp, in, kC + r)[lane];
  emulator::loadAccumulator<kColumns>(c, lane, sums);
}
void storeSums(const float* c, const Warp& warp, const Instruction& in, uint32_t lane) {
  float sums[4];
  emulator::storeAccumulator<kColumns>(sums, lane, c);
  for (uint32_t r = 0; r < 4; ++r) lanes<float>(warp, in, r)[lane] = sums[r];
}

template <Element E>
void multiply(Warp& warp, const Instruction& in) {
  requireAllLanes(warp);
  constexpr uint32_t kRows = emulator::kFragmentRows, kDepth = emulator::kDepth;
  float a[kRows * kDepth], b[kDepth * kColumns], c[kRows * kColumns];
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    uint32_t ofA[4], ofB[2];
    gather(ofA, warp, in, kA, lane);
    gather(ofB, warp, in, kB, lane);
    emulator::unpackA<E>(a, lane, ofA);
    emulator::unpackB<E, kColumns>(b, lane, ofB[0], ofB[1]);
    loadSums(c, warp, in, lane);
  }
  emulator::accumulate(c, a, b, kColumns, kDepth);
  for (uint32_t lane = 0; lane < kLanes; ++lane) storeSums(c, warp, in, lane);
}

void multiplyTf32(Warp& warp, const Instruction& in) {
  requireAllLanes(warp);
  constexpr uint32_t kRows = emulator::kFragmentRows, kDepth = emulator::kTf32Depth;
  float a[kRows * kDepth], b[kDepth * kColumns], c[kRows * kColumns];
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    uint32_t ofA[4], ofB[2];
    gather(ofA, warp, in, kA, lane);
    gather(ofB, warp, in, kB, lane);
    for (const uint32_t bits : {ofA[0], ofA[1], ofA[2], ofA[3], ofB[0], ofB[1]}) {
      if (!emulator::isTf32(bits)) fail(warp, lane, "an operand that was not rounded to tf32");
    }
    emulator::unpackTf32(a, b, lane, ofA, ofB);
    loadSums(c, warp, in, lane);
  }
  emulator::accumulate(c, a, b, kColumns, kDepth);
  for (uint32_t lane = 0; lane < kLanes; ++lane) storeSums(c, warp, in, lane);
}

}  // namespace

Opcodes matrixOpcodes() {
  constexpr const char* product = "{wwww} = {wwww}, {ww}, {wwww}";
  return {
      {"ldmatrix.sync.aligned.m8n8.x4.shared.b16", "{wwww} = [w]", loadMatrices<false>},
      {"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", "{wwww} = [w]", loadMatrices<true>},
      {"stmatrix.sync.aligned.m8n8.x4.shared.b16", "[w], {wwww}", storeMatrices},
      {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", product, multiply<Element::bf16>},
      {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", product, multiply<Element::f16>},
      {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", product, multiplyTf32},
  };
}

}  // namespace tilewise::ptx
