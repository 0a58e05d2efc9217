// What the tensor cores give: loops of nothing but wgmma, at the widths and warpgroup counts of attention tiles, and of
// nothing but mma.sync, with operands in registers or fed by ldmatrix. Operands are random, since power depends on
// them. Reader: whoever sets a target for a kernel. Prints a line of JSON per measurement.
#include "measure.h"

using namespace tilewise::cuda;
using namespace tilewise::probe;

namespace {

constexpr double kCycles = 12e6;  // aimed at per launch: about 7 ms

__device__ void fillShared(saddr from, int bytes) {
  for (int i = threadIdx.x; i < bytes / 4; i += blockDim.x) st_shared(from + 4 * i, randomPair(i + 7919 * blockIdx.x));
  fence_proxy_async();
  sync_block();
}

__device__ Span startOfSpan() { return {int64_t(clock64()), nanoseconds()}; }
__device__ void endSpan(const Span& start, Span* span) {
  if (blockIdx.x == 0 && threadIdx.x == 0) *span = {clock64() - start.cycles, nanoseconds() - start.nanoseconds};
}

constexpr int kDepth = 128;  // k of one round: eight instructions

template <int N>
__host__ __device__ constexpr int wgmmaShared(int groups) {
  return groups * 64 * kDepth * 2 + N * kDepth * 2;
}

template <int N, bool FromRegisters, int Groups>
__global__ __launch_bounds__(128 * Groups, 1) void wgmmaLoop(int rounds, float* sink, Span* span) {
  const saddr a = smem_base(), b = a + Groups * 64 * kDepth * 2;
  fillShared(a, wgmmaShared<N>(Groups));
  const uint64_t aOperand = smem_desc(a + warp_id() / 4 * 64 * kDepth * 2, 16, 1024, Swizzle::b128);
  const uint64_t bOperand = smem_desc(b, 16, 1024, Swizzle::b128);
  uint32_t aRegisters[4][4];
#pragma unroll
  for (int i = 0; i < 16; ++i) aRegisters[i / 4][i % 4] = randomPair(threadIdx.x * 16 + i);
  float d[N / 2] = {};
  const Span start = startOfSpan();
  for (int r = 0; r < rounds; ++r) {
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kDepth / 16; ++k) {
      const int panel = k / 4, step = k % 4 * 32;
      const uint64_t bSlice = bOperand + ((panel * N * 128 + step) >> 4);
      if constexpr (FromRegisters)
        wgmma<bf16, N>(d, aRegisters[k % 4], bSlice, true);
      else
        wgmma<bf16, N>(d, aOperand + ((panel * 64 * 128 + step) >> 4), bSlice, true);
    }
    wgmma_commit();
    wgmma_wait<1>();
  }
  wgmma_wait<0>(d);
  endSpan(start, span);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < N / 2; ++i) sum += d[i];
  sink[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

template <int N, bool FromRegisters, int Groups>
void measureWgmma(int sms, float* sink, Span* span, double seconds = 0) {
  const double flopsPerRound = 2.0 * 64 * N * kDepth * Groups;
  const int rounds = int(kCycles / (flopsPerRound / 4096));
  const int shared = wgmmaShared<N>(Groups);
  auto kernel = wgmmaLoop<N, FromRegisters, Groups>;
  allowShared(kernel, shared);
  const int repeats = seconds > 0 ? int(seconds * 1.7e9 / kCycles) : 7;
  const Times t = timed([&] { kernel<<<sms, 128 * Groups, shared>>>(rounds, sink, span); }, repeats);
  const double mhz = megahertz(span), flops = flopsPerRound * rounds * sms;
  Row row(seconds > 0 ? "wgmma, sustained" : "wgmma", FromRegisters ? "A in registers" : "A in shared memory");
  row.add("n", N).add("warpgroups", Groups).add("tflops", flops / t.median / 1e9).add("clockMHz", mhz);
  row.add("flopsPerClockPerSm", flops / (t.median * 1e-3) / (mhz * 1e6) / sms);
  addTimes(row, t);
}

template <int N>
void measureWidth(int sms, float* sink, Span* span) {
  measureWgmma<N, false, 1>(sms, sink, span);
  measureWgmma<N, false, 2>(sms, sink, span);
  measureWgmma<N, false, 3>(sms, sink, span);
  measureWgmma<N, true, 1>(sms, sink, span);
  measureWgmma<N, true, 2>(sms, sink, span);
  if constexpr (N < 256)
    measureWgmma<N, true, 3>(sms, sink, span);  // 256 wide needs more than a third of the registers
}

enum class Feed { registers, ldmatrix, tf32Registers };

// Each warp multiplies `RowTiles` tiles of 16 rows by 64 columns, sixteen (of tf32: eight) deep at a time.
template <int RowTiles, Feed From>
__global__ __launch_bounds__(512, 1) void mmaLoop(int rounds, float* sink, Span* span) {
  const saddr keys = smem_base();  // 64 rows of 64 columns, 16-byte chunks xor-swizzled by the row
  fillShared(keys, 64 * 128);
  const int lane = lane_id();
  uint32_t a[RowTiles][4], b[4][4];
#pragma unroll
  for (int i = 0; i < 4 * RowTiles; ++i) a[i / 4][i % 4] = randomPair(threadIdx.x * 8 + i);
#pragma unroll
  for (int i = 0; i < 16; ++i) b[i / 4][i % 4] = randomPair(threadIdx.x * 16 + i + 77777);
  float d[RowTiles][8][4] = {};
  const Span start = startOfSpan();
  for (int r = 0; r < rounds; ++r) {
#pragma unroll
    for (int step = 0; step < 4; ++step)
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        if constexpr (From == Feed::ldmatrix) {
          const int row = n * 16 + lane % 8 + lane / 16 * 8, chunk = step * 2 + lane / 8 % 2;
          ldmatrix_x4(b[n], keys + row * 128 + ((chunk ^ (row & 7)) << 4));
        }
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
          if constexpr (From == Feed::tf32Registers) {
            mma_m16n8k8_tf32(d[m][2 * n], a[m], b[n][0], b[n][1]);
            mma_m16n8k8_tf32(d[m][2 * n + 1], a[m], b[n][2], b[n][3]);
          } else {
            mma_m16n8k16<bf16>(d[m][2 * n], a[m], b[n][0], b[n][1]);
            mma_m16n8k16<bf16>(d[m][2 * n + 1], a[m], b[n][2], b[n][3]);
          }
        }
      }
  }
  endSpan(start, span);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < RowTiles * 32; ++i) sum += d[i / 32][i / 4 % 8][i % 4];
  sink[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

template <int RowTiles, Feed From>
void measureMma(int sms, float* sink, Span* span) {
  const bool isTf32 = From == Feed::tf32Registers;
  for (int warps : {4, 8, 16}) {
    const double flopsPerRound = 2.0 * 16 * RowTiles * 64 * (isTf32 ? 32 : 64) * warps;
    const int rounds = int(kCycles / (flopsPerRound / (isTf32 ? 1024 : 2048)));
    auto kernel = mmaLoop<RowTiles, From>;
    const Times t = timed([&] { kernel<<<sms, 32 * warps, 64 * 128>>>(rounds, sink, span); });
    const double mhz = megahertz(span), flops = flopsPerRound * rounds * sms;
    Row row("mma.sync", isTf32 ? "tf32 m16n8k8" : "bf16 m16n8k16");
    row.add("feed", From == Feed::ldmatrix ? "ldmatrix" : "registers").add("rowsPerWarp", 16 * RowTiles);
    row.add("warps", warps).add("tflops", flops / t.median / 1e9).add("clockMHz", mhz);
    row.add("flopsPerClockPerSm", flops / (t.median * 1e-3) / (mhz * 1e6) / sms);
    addTimes(row, t);
  }
}

}  // namespace

int main() {
  describeCard();
  const int sms = multiprocessors();
  auto* sink = allocate<float>(size_t(sms) * 512);
  auto* span = allocate<Span>(1);
  measureWidth<64>(sms, sink, span);
  measureWidth<128>(sms, sink, span);
  measureWidth<256>(sms, sink, span);
  measureWidth<80>(sms, sink, span);
  measureWidth<112>(sms, sink, span);
  measureWidth<176>(sms, sink, span);
  measureWidth<192>(sms, sink, span);
  measureMma<1, Feed::registers>(sms, sink, span);
  measureMma<1, Feed::ldmatrix>(sms, sink, span);
  measureMma<2, Feed::ldmatrix>(sms, sink, span);
  measureMma<1, Feed::tf32Registers>(sms, sink, span);
  measureWgmma<256, false, 2>(sms, sink, span, 1.5);
}
