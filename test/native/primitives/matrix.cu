// ldmatrix and mma.sync: PTX ISA, "Warp-level matrix instructions", figures of the fragments.
#include <string>

#include "values.h"

namespace tilewise::cuda::conformance {
namespace {

// ---- ldmatrix

struct LoadParams {
  uint32_t* out;  // per lane 4 registers, and 4 transposed
};
// Each lane names another row of 64, in no order that a mistake would share: one of the second half to be transposed.
TW_HOST_DEVICE int rowOf(int lane) { return lane * 5 % 32; }
TW_HOST_DEVICE int transposedRowOf(int lane) { return 32 + rowOf(lane); }

__global__ void loadMatrices(const __grid_constant__ LoadParams p) {
  const saddr tile = smem_base();
  const int lane = lane_id();
  for (int i = 0; i < 8; ++i) {
    const uint32_t word = i * 32 + lane;
    st_shared(tile + word * 4, 2 * word | (2 * word + 1) << 16);
  }
  sync_warp();
  uint32_t r[4];
  ldmatrix_x4(r, tile + rowOf(lane) * 16);
  for (int i = 0; i < 4; ++i) p.out[lane * 8 + i] = r[i];
  ldmatrix_x4_trans(r, tile + transposedRowOf(lane) * 16);
  for (int i = 0; i < 4; ++i) p.out[lane * 8 + 4 + i] = r[i];
}

CONFORMANCE(matrixLoads) {
  auto* out = allocate<uint32_t>(32 * 8);
  launch(loadMatrices, {1, 32, 1024}, LoadParams{out});
  const auto got = download(out, 32 * 8);
  const auto stored = [](int row, int column) { return uint32_t(row * 8 + column); };
  const auto pair = [](uint32_t low, uint32_t high) { return low | high << 16; };
  bool isOk = true, isTransposedOk = true;
  for (int lane = 0; lane < 32; ++lane) {
    const int row = lane / 4, column = lane % 4 * 2;
    for (int m = 0; m < 4; ++m) {
      const int first = m * 8;  // the lane that named row 0 of matrix m
      const int named = rowOf(first + row), low = transposedRowOf(first + column),
                high = transposedRowOf(first + column + 1);
      isOk = isOk && got[lane * 8 + m] == pair(stored(named, column), stored(named, column + 1));
      isTransposedOk = isTransposedOk && got[lane * 8 + 4 + m] == pair(stored(low, row), stored(high, row));
    }
  }
  report("ldmatrix.x4", isOk);
  report("ldmatrix.x4.trans", isTransposedOk);
}

// ---- mma.sync with 16-bit operands

struct MmaParams {
  const uint32_t* a;  // 4 registers per lane
  const uint32_t* b;  // 4, of which one product uses 2
  const float* c;     // 8
  float* out;         // 8
};

template <class E, bool Pair>
__global__ void multiply(const __grid_constant__ MmaParams p) {
  const int lane = lane_id();
  uint32_t a[4], b[4];
  float d[2][4];
  for (int i = 0; i < 4; ++i) {
    a[i] = p.a[lane * 4 + i];
    b[i] = p.b[lane * 4 + i];
    d[0][i] = p.c[lane * 8 + i];
    d[1][i] = p.c[lane * 8 + 4 + i];
  }
  if constexpr (Pair) {
    mma_m16n16k16<E>(d[0], d[1], a, b);
  } else {
    mma_m16n8k16<E>(d[0], a, b[0], b[1]);
    mma_m16n8k16<E>(d[1], a, b[2], b[3]);
  }
  for (int i = 0; i < 4; ++i) {
    p.out[lane * 8 + i] = d[0][i];
    p.out[lane * 8 + 4 + i] = d[1][i];
  }
}

// Element i of an accumulator 16 x 8.
int accumulatorRow(int lane, int i) { return lane / 4 + 8 * (i / 2); }
int accumulatorColumn(int lane, int i) { return lane % 4 * 2 + i % 2; }

template <class E, bool Pair>
void checkMultiply() {
  std::vector<uint32_t> a(32 * 4), b(32 * 4);
  std::vector<float> c(32 * 8);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i % 2), k = lane % 4 * 2 + 8 * (i / 2);
      a[lane * 4 + i] = halves<E>(element(row, k), element(row, k + 1));
      const int column = lane / 4 + 8 * (i / 2), kB = lane % 4 * 2 + 8 * (i % 2);
      b[lane * 4 + i] = halves<E>(element(column + 5, kB), element(column + 5, kB + 1));
    }
    for (int i = 0; i < 8; ++i) c[lane * 8 + i] = float(lane * 8 + i);
  }
  auto* out = allocate<float>(32 * 8);
  launch(multiply<E, Pair>, {1, 32, 0}, MmaParams{upload(a), upload(b), upload(c), out});
  const auto got = download(out, 32 * 8);
  bool isOk = true;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) {
      const int row = accumulatorRow(lane, i % 4), column = accumulatorColumn(lane, i % 4) + 8 * (i / 4);
      int want = lane * 8 + i;
      for (int k = 0; k < 16; ++k) want += element(row, k) * element(column + 5, k);
      isOk = isOk && got[lane * 8 + i] == float(want);
    }
  }
  report(std::string(Pair ? "mma.m16n8k16 twice, " : "mma.m16n8k16 ") + nameOf<E>(), isOk);
}

CONFORMANCE(products) {
  checkMultiply<bf16, false>();
  checkMultiply<f16, false>();
  checkMultiply<bf16, true>();
  checkMultiply<f16, true>();
}

// ---- mma.sync with tf32 operands

struct Tf32Params {
  const float* a;  // 16 x 8
  const float* b;  // 8 x 8
  const float* c;  // 16 x 8
  float* out;      // 16 x 8
};

__global__ void multiplyTf32(const __grid_constant__ Tf32Params p) {
  const int lane = lane_id(), quad = lane / 4, inQuad = lane % 4;
  const uint32_t a[4] = {to_tf32(p.a[quad * 8 + inQuad]), to_tf32(p.a[(quad + 8) * 8 + inQuad]),
                         to_tf32(p.a[quad * 8 + inQuad + 4]), to_tf32(p.a[(quad + 8) * 8 + inQuad + 4])};
  const auto at = [&](int i) { return (quad + 8 * (i / 2)) * 8 + inQuad * 2 + i % 2; };
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = p.c[at(i)];
  mma_m16n8k8_tf32(d, a, to_tf32(p.b[inQuad * 8 + quad]), to_tf32(p.b[(inQuad + 4) * 8 + quad]));
  for (int i = 0; i < 4; ++i) p.out[at(i)] = d[i];
}

CONFORMANCE(tf32Products) {
  std::vector<float> a(16 * 8), b(8 * 8), c(16 * 8);
  for (int i = 0; i < 16 * 8; ++i) c[i] = float(i) + 0.5f;
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 8; ++k) a[row * 8 + k] = float(element(row, k));
  }
  for (int k = 0; k < 8; ++k) {
    for (int column = 0; column < 8; ++column) b[k * 8 + column] = float(element(column + 5, k)) / 16;
  }
  auto* out = allocate<float>(16 * 8);
  launch(multiplyTf32, {1, 32, 0}, Tf32Params{upload(a), upload(b), upload(c), out});
  const auto got = download(out, 16 * 8);
  bool isOk = true;
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float want = c[row * 8 + column];
      for (int k = 0; k < 8; ++k) want += a[row * 8 + k] * b[k * 8 + column];
      isOk = isOk && got[row * 8 + column] == want;
    }
  }
  report("mma.m16n8k8 tf32", isOk);
}

}  // namespace
}  // namespace tilewise::cuda::conformance
