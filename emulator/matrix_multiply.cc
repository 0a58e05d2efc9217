// mma.sync: the lanes' fragments become matrices, are multiplied, and go back.
#include "block.h"
#include "errors.h"
#include "fragments.h"
#include "rendezvous.h"

namespace tilewise::emulator {
namespace {

template <uint32_t Columns>
void loadAccumulator(float* c, uint32_t lane, const float* d) {
  float* first = c + lane / 4 * Columns + lane % 4 * 2;
  std::memcpy(first, d, 8);
  std::memcpy(first + 8 * Columns, d + 2, 8);
}
template <uint32_t Columns>
void storeAccumulator(float* d, uint32_t lane, const float* c) {
  const float* first = c + lane / 4 * Columns + lane % 4 * 2;
  std::memcpy(d, first, 8);
  std::memcpy(d + 2, first + 8 * Columns, 8);
}

// One lane's part of eight columns of b.
template <Element E, uint32_t Columns>
void unpackB(float* b, uint32_t lane, uint32_t b0, uint32_t b1) {
  float low[2], high[2];
  widenPair<E>(low, b0);
  widenPair<E>(high, b1);
  float* first = b + lane % 4 * 2 * Columns + lane / 4;
  first[0] = low[0];
  first[Columns] = low[1];
  first[8 * Columns] = high[0];
  first[9 * Columns] = high[1];
}

template <Element E, uint32_t Columns>
void execute(Lanes<const Product> lanes) {
  float a[kFragmentRows * kDepth], b[kDepth * Columns], c[kFragmentRows * Columns];
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const Product& part = lanes[lane];
    unpackA<E>(a, lane, part.a);
    unpackB<E, Columns>(b, lane, part.b[0], part.b[1]);
    loadAccumulator<Columns>(c, lane, part.d0);
    if constexpr (Columns == 16) {
      unpackB<E, Columns>(b + 8, lane, part.b[2], part.b[3]);
      loadAccumulator<Columns>(c + 8, lane, part.d1);
    }
  }
  accumulate(c, a, b, Columns, kDepth);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    storeAccumulator<Columns>(lanes[lane].d0, lane, c);
    if constexpr (Columns == 16) storeAccumulator<Columns>(lanes[lane].d1, lane, c + 8);
  }
  block().stats.products += Columns / 8;
}

struct Tf32Product {
  float* d;
  const uint32_t* a;
  uint32_t b[2];
};

// What is not rounded to tf32 gives undefined results, unless it is no number.
float tf32(uint32_t bits) {
  if ((bits & 0x1fff) != 0 && (bits & 0x7f800000) != 0x7f800000)
    fail("mma.tf32: an operand that to_tf32 did not round");
  return floatOf(bits);
}

void executeTf32(Lanes<Tf32Product> lanes) {
  constexpr uint32_t kTf32Depth = 8, kColumns = 8;
  float a[kFragmentRows * kTf32Depth], b[kTf32Depth * kColumns], c[kFragmentRows * kColumns];
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const Tf32Product& part = lanes[lane];
    for (uint32_t r = 0; r < 4; ++r) {
      a[(lane / 4 + 8 * (r % 2)) * kTf32Depth + lane % 4 + 4 * (r / 2)] = tf32(part.a[r]);
    }
    for (uint32_t r = 0; r < 2; ++r) b[(lane % 4 + 4 * r) * kColumns + lane / 4] = tf32(part.b[r]);
    loadAccumulator<kColumns>(c, lane, part.d);
  }
  accumulate(c, a, b, kColumns, kTf32Depth);
  for (uint32_t lane = 0; lane < kLanes; ++lane) storeAccumulator<kColumns>(lanes[lane].d, lane, c);
  ++block().stats.products;
}

template <Element E>
void executeAs(Lanes<const Product> lanes) {
  if (lanes[0].d1 != nullptr) {
    execute<E, 16>(lanes);
  } else {
    execute<E, 8>(lanes);
  }
}

}  // namespace

TW_OPERATION void multiply(const Product& product, Element element) {
  static const char* const names[2][2] = {{"mma.m16n8k16.bf16", "mma.m16n16k16.bf16"},
                                          {"mma.m16n8k16.f16", "mma.m16n16k16.f16"}};
  const bool isPair = product.d1 != nullptr;
  rendezvous(names[int(element)][isPair], TW_WHERE, product, [&](Warp&, Lanes<const Product> lanes) {
    if (element == Element::bf16) {
      executeAs<Element::bf16>(lanes);
    } else {
      executeAs<Element::f16>(lanes);
    }
  });
}

TW_OPERATION void multiplyTf32(float* d, const uint32_t* a, uint32_t b0, uint32_t b1) {
  Tf32Product product{d, a, {b0, b1}};
  rendezvous("mma.m16n8k8.tf32", TW_WHERE, product, [](Warp&, Lanes<Tf32Product> lanes) { executeTf32(lanes); });
}

}  // namespace tilewise::emulator
