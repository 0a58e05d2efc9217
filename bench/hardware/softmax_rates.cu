// What the softmax costs beside the products: float32 FMA, exp2 by the special function unit and by a polynomial on the
// FMA pipe, alone, and while wgmma runs in the same or in another warpgroup. Reader: whoever decides how a kernel
// overlaps the two. Prints a line of JSON per measurement.
#include "measure.h"

using namespace tilewise::cuda;
using namespace tilewise::probe;

namespace {

constexpr int kChains = 16;  // independent values per thread

__device__ Span startOfSpan() { return {int64_t(clock64()), nanoseconds()}; }
__device__ void endSpan(const Span& start, Span* span) {
  if (blockIdx.x == 0 && threadIdx.x == 0) *span = {clock64() - start.cycles, nanoseconds() - start.nanoseconds};
}

// 2^x for x above -126 in FMA-pipe and integer instructions: split off the integer part by adding 1.5 * 2^23, a cubic
// on the fraction in [-1/2, 1/2] (relative error under 8e-5, a 25th of bfloat16's rounding), add the integer to the
// exponent.
__device__ __forceinline__ float exp2Polynomial(float x) {
  const float magic = 12582912.f;
  const float shifted = x + magic, fraction = x - (shifted - magic);
  float y = fmaf(fraction, 0.05517167f, 0.24261112f);
  y = fmaf(y, fraction, 0.69326099f);
  y = fmaf(y, fraction, 0.99992807f);
  return __int_as_float(__float_as_int(y) + (__float_as_int(shifted) << 23));
}

// The step of a softmax: scale, subtract the maximum, exponentiate. `Polynomial` of 16 values avoid the unit.
template <int Polynomial>
__device__ __forceinline__ void softmaxStep(float (&x)[kChains], float scale, float bias) {
#pragma unroll
  for (int i = 0; i < kChains; ++i) {
    const float scaled = fmaf(x[i], scale, bias);
    // Spread among the others, as a kernel would, so that both pipes have work at any time.
    const bool isPolynomial = (i * Polynomial) / kChains != ((i + 1) * Polynomial) / kChains;
    x[i] = isPolynomial ? exp2Polynomial(scaled) : exp2_approx(scaled);
  }
}

template <int Polynomial>
__global__ void exponentials(int rounds, float scale, float bias, float* sink, Span* span) {
  float x[kChains];
#pragma unroll
  for (int i = 0; i < kChains; ++i) x[i] = 0.01f * float(threadIdx.x + i);
  const Span start = startOfSpan();
  for (int r = 0; r < rounds; ++r) softmaxStep<Polynomial>(x, scale, bias);
  endSpan(start, span);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kChains; ++i) sum += x[i];
  sink[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

__global__ void multiplyAdds(int rounds, float scale, float bias, float* sink, Span* span) {
  float x[kChains];
#pragma unroll
  for (int i = 0; i < kChains; ++i) x[i] = 0.01f * float(threadIdx.x + i);
  const Span start = startOfSpan();
  for (int r = 0; r < rounds; ++r)
#pragma unroll
    for (int i = 0; i < kChains; ++i) x[i] = fmaf(x[i], scale, bias);
  endSpan(start, span);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kChains; ++i) sum += x[i];
  sink[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

// One round is what a warpgroup does for a tile of 64 queries and 128 keys: products of 2 * 64 * 128 * D multiply-adds,
// exponentials of 64 * 128 scores. Who does which of the two:
enum class Roles { productsOnly, exponentialsOnly, bothInEach, apart };

constexpr int kKeys = 128, kPanels = 2;

template <int D, int Groups, Roles Who, int Polynomial>
__global__ __launch_bounds__(128 * Groups, 1) void softmaxBesideProducts(int rounds, float scale, float bias,
                                                                         float* sink, Span* span) {
  const saddr a = smem_base(), b = a + Groups * 64 * 128;
  const int group = warp_id() / 4;
  for (int i = threadIdx.x; i < (Groups * 64 + kPanels * kKeys) * 32; i += blockDim.x)
    st_shared(a + 4 * i, randomPair(i + 7919 * blockIdx.x));
  fence_proxy_async();
  sync_block();
  const uint64_t aOperand = smem_desc(a + group * 64 * 128, 16, 1024, Swizzle::b128);
  const uint64_t bOperand = smem_desc(b, 16, 1024, Swizzle::b128);
  float d[kKeys / 2] = {}, x[kKeys / 2 / kChains][kChains];
#pragma unroll
  for (int i = 0; i < kKeys / 2; ++i) x[i / kChains][i % kChains] = 0.01f * float(threadIdx.x + i);
  const Span start = startOfSpan();
  auto multiply = [&] {
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 2 * D / 16; ++k)
      wgmma<bf16, kKeys>(d, aOperand + (k % 4 * 32 >> 4),
                         bOperand + ((k / 4 % kPanels * kKeys * 128 + k % 4 * 32) >> 4), true);
    wgmma_commit();
  };
  auto exponentiate = [&] {
#pragma unroll
    for (int j = 0; j < kKeys / 2 / kChains; ++j) softmaxStep<Polynomial>(x[j], scale, bias);
  };
  if (Who == Roles::apart) {
    if (group == 0) {
      for (int r = 0; r < rounds; ++r) {
        multiply();
        wgmma_wait<0>(d);
      }
    } else {
      for (int r = 0; r < rounds; ++r) exponentiate();
    }
  } else {
    for (int r = 0; r < rounds; ++r) {
      if (Who != Roles::exponentialsOnly) multiply();
      if (Who != Roles::productsOnly) exponentiate();
      if (Who != Roles::exponentialsOnly) wgmma_wait<0>(d);
    }
  }
  endSpan(start, span);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kKeys / 2; ++i) sum += d[i] + x[i / kChains][i % kChains];
  sink[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

struct Bench {
  int sms;
  float* sink;
  Span* span;

  template <class Kernel>
  void alone(const char* name, Kernel kernel, int polynomial) const {
    const int threads = 512, blocks = 2 * sms, rounds = 20000;
    const Times t = timed([&] { kernel<<<blocks, threads>>>(rounds, -0.5f, 0.1f, sink, span); });
    const double mhz = megahertz(span), operations = double(rounds) * kChains * threads * blocks;
    Row row("softmax arithmetic, alone", name);
    row.add("polynomialOf16", polynomial).add("operationsPerSecond", operations / t.median * 1e3);
    row.add("clockMHz", mhz).add("perClockPerSm", operations / (t.median * 1e-3) / (mhz * 1e6) / sms);
    addTimes(row, t);
  }

  template <int D, int Groups, Roles Who, int Polynomial>
  void beside(const char* who) const {
    const int rounds = 4096, shared = (Groups * 64 + kPanels * kKeys) * 128;
    auto kernel = softmaxBesideProducts<D, Groups, Who, Polynomial>;
    allowShared(kernel, shared);
    const Times t = timed([&] { kernel<<<sms, 128 * Groups, shared>>>(rounds, -0.5f, 0.1f, sink, span); });
    const double mhz = megahertz(span);
    const int multiplying = Who == Roles::apart ? 1 : Who == Roles::exponentialsOnly ? 0 : Groups;
    Row row("softmax beside products", who);
    row.add("headDim", D).add("warpgroups", Groups).add("polynomialOf16", Polynomial);
    row.add("cyclesPerRound", t.median * 1e-3 * mhz * 1e6 / rounds).add("clockMHz", mhz);
    row.add("tflops", 4.0 * 64 * kKeys * D * multiplying * rounds * sms / t.median / 1e9);
    addTimes(row, t);
  }

  template <int D, int Groups>
  void overlap() const {
    beside<D, Groups, Roles::productsOnly, 0>("products only");
    beside<D, Groups, Roles::exponentialsOnly, 0>("exponentials only");
    beside<D, Groups, Roles::bothInEach, 0>("both in each warpgroup");
    beside<D, Groups, Roles::bothInEach, 4>("both in each warpgroup");
    beside<D, Groups, Roles::bothInEach, 8>("both in each warpgroup");
  }
};

}  // namespace

int main() {
  describeCard();
  const int sms = multiprocessors();
  const Bench bench{sms, allocate<float>(size_t(sms) * 1024), allocate<Span>(1)};
  bench.alone("fma", multiplyAdds, 0);
  bench.alone("scale and exp2", exponentials<0>, 0);
  bench.alone("scale and exp2", exponentials<2>, 2);
  bench.alone("scale and exp2", exponentials<4>, 4);
  bench.alone("scale and exp2", exponentials<6>, 6);
  bench.alone("scale and exp2", exponentials<8>, 8);
  bench.alone("scale and exp2", exponentials<16>, 16);
  bench.overlap<64, 2>();
  bench.overlap<128, 2>();
  bench.overlap<64, 3>();
  bench.overlap<64, 1>();
  bench.overlap<128, 1>();
  bench.beside<64, 2, Roles::apart, 0>("each in its own warpgroup");
  bench.beside<128, 2, Roles::apart, 0>("each in its own warpgroup");
}
