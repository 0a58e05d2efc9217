// mma.sync: the lanes' fragments become matrices, are multiplied, and go back.
#include "block.h"
#include "errors.h"
#include "fragments.h"
#include "rendezvous.h"

namespace tilewise::emulator {
namespace {

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

void executeTf32(Lanes<Tf32Product> lanes) {
  constexpr uint32_t kColumns = 8;
  float a[kFragmentRows * kTf32Depth], b[kTf32Depth * kColumns], c[kFragmentRows * kColumns];
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const Tf32Product& part = lanes[lane];
    for (const uint32_t bits : {part.a[0], part.a[1], part.a[2], part.a[3], part.b[0], part.b[1]}) {
      if (!isTf32(bits)) fail("mma.tf32: an operand that to_tf32 did not round");
    }
    unpackTf32(a, b, lane, part.a, part.b);
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
