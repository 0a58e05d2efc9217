// wgmma: both operands in every canonical layout, a from registers too. PTX ISA, "Register fragments and shared memory
// matrix layouts" of wgmma.
#include <cstring>
#include <string>

#include "../values.h"
#include "operand.h"

namespace tilewise::cuda::conformance {
namespace {

constexpr int kThreads = 128, kRows = 64, kDepth = 64, kSlices = 4;

struct WgmmaParams {
  const uint4* aImage;
  const uint4* bImage;
  Operand a, b;
  const uint32_t* aRegisters;  // slice, thread, register
  float* out;
};

TW_HOST_DEVICE int roundedUp(int bytes) { return (bytes + 1023) / 1024 * 1024; }

__device__ void toShared(saddr to, const uint4* from, int bytes) {
  for (int i = int(thread_index()); i < bytes / 16; i += kThreads) st_shared(to + i * 16, from[i]);
}
__device__ uint64_t descriptor(saddr image, const Operand& operand, int slice) {
  return smem_desc(image + operand.starts[slice], operand.leadingOffset, operand.strideOffset,
                   Swizzle(operand.swizzleField));
}

template <class E, int N, Major A, Major B, bool Registers>
__global__ void multiply(const __grid_constant__ WgmmaParams p) {
  const saddr aImage = smem_base(), bImage = aImage + roundedUp(p.a.bytes);
  const int thread = int(thread_index());
  toShared(aImage, p.aImage, p.a.bytes);
  toShared(bImage, p.bImage, p.b.bytes);
  fence_proxy_async();
  sync_block();
  float d[N / 2];
#pragma unroll
  for (int i = 0; i < N / 2; ++i) d[i] = float(i);  // the first product must not keep it
  uint32_t a[kSlices][4];
#pragma unroll
  for (int slice = 0; slice < kSlices; ++slice) {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[slice][i] = p.aRegisters[(slice * kThreads + thread) * 4 + i];
  }
  wgmma_fence();
#pragma unroll
  for (int slice = 0; slice < kSlices; ++slice) {
    const uint64_t b = descriptor(bImage, p.b, slice);
    if constexpr (Registers) {
      wgmma<E, N, B>(d, a[slice], b, slice > 0);
    } else {
      wgmma<E, N, A, B>(d, descriptor(aImage, p.a, slice), b, slice > 0);
    }
  }
  wgmma_commit();
  wgmma_wait<0>(d);
#pragma unroll
  for (int i = 0; i < N / 2; ++i) p.out[thread * (N / 2) + i] = d[i];
}

int elementA(int row, int k) { return element(row, k); }
int elementB(int column, int k) { return element(column + 3, 2 * k + 1); }

template <class E>
std::vector<uint32_t> registersOfA() {
  std::vector<uint32_t> registers;
  for (int slice = 0; slice < kSlices; ++slice) {
    for (int thread = 0; thread < kThreads; ++thread) {
      for (int r = 0; r < 4; ++r) {
        const int row = thread / 32 * 16 + thread % 32 / 4 + 8 * (r % 2), k = slice * 16 + thread % 4 * 2 + 8 * (r / 2);
        registers.push_back(halves<E>(elementA(row, k), elementA(row, k + 1)));
      }
    }
  }
  return registers;
}

uint4* uploadImage(const Image& image) {
  std::vector<uint4> rows(image.data.size() / 8);
  std::memcpy(rows.data(), image.data.data(), image.data.size() * 2);
  return upload(rows);
}

template <class E, int N, Major A, Major B, bool Registers>
void check(int swizzleA, int swizzleB, bool isFarFirst) {
  const Image a = makeImage({A == Major::mn, swizzleA, kRows, isFarFirst},
                            [](int row, int k) { return half<E>(elementA(row, k)); });
  const Image b = makeImage({B == Major::mn, swizzleB, N, isFarFirst},
                            [](int column, int k) { return half<E>(elementB(column, k)); });
  const WgmmaParams p{uploadImage(a),
                      uploadImage(b),
                      a.operand,
                      b.operand,
                      upload(registersOfA<E>()),
                      allocate<float>(kThreads * N / 2)};
  const int sharedBytes = roundedUp(a.operand.bytes) + roundedUp(b.operand.bytes);
  launch(multiply<E, N, A, B, Registers>, {1, kThreads, uint32_t(sharedBytes)}, p);
  const auto got = download(p.out, kThreads * N / 2);
  bool isOk = true;
  for (int thread = 0; thread < kThreads; ++thread) {
    for (int i = 0; i < N / 2; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2), column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      int want = 0;
      for (int k = 0; k < kDepth; ++k) want += elementA(row, k) * elementB(column, k);
      isOk = isOk && got[thread * (N / 2) + i] == float(want);
    }
  }
  const auto describe = [](Major major, int swizzle) {
    return std::string(major == Major::mn ? "mn" : "k") + "-major, swizzle " + std::to_string(swizzle);
  };
  report(std::string("wgmma ") + nameOf<E>() + " n" + std::to_string(N) + ", a " +
             (Registers ? "in registers" : describe(A, swizzleA)) + ", b " + describe(B, swizzleB) +
             (isFarFirst ? ", far first" : ""),
         isOk);
}

template <int N>
void checkWidth() {
  check<bf16, N, Major::k, Major::k, true>(128, 128, false);
  check<bf16, N, Major::k, Major::mn, true>(128, 128, false);
  check<f16, N, Major::k, Major::k, false>(128, 128, false);
}

CONFORMANCE(warpgroupProducts) {
  checkWidth<80>();
  checkWidth<112>();
  checkWidth<176>();
  checkWidth<192>();
  for (const bool isFarFirst : {false, true}) {
    for (const int swizzle : {0, 32, 64, 128}) {
      check<bf16, 64, Major::k, Major::k, true>(128, swizzle, isFarFirst);
      check<bf16, 64, Major::k, Major::mn, true>(128, swizzle, isFarFirst);
      check<f16, 128, Major::k, Major::k, true>(128, swizzle, isFarFirst);
      check<bf16, 128, Major::k, Major::mn, true>(128, swizzle, isFarFirst);
      check<bf16, 64, Major::k, Major::k, false>(swizzle, 128, isFarFirst);
      check<f16, 64, Major::mn, Major::k, false>(swizzle, 128, isFarFirst);
      if (!isFarFirst) check<bf16, 256, Major::k, Major::mn, false>(swizzle, swizzle, false);
    }
  }
}

}  // namespace
}  // namespace tilewise::cuda::conformance
