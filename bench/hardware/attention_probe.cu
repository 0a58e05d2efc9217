// The two attention probes on the card: right against float64, the same bits twice, and how fast, tile by tile.
// Reader: whoever writes or tunes the library's kernels. Prints a line of JSON per result. Usage: attention_probe
// [--small]: a few small shapes and no speed, for the sanitizers, and for the PTX machine (scripts/ptx-tests.mjs),
// which needs no card. Ends with 1 if any result is wrong.
#include <algorithm>
#include <functional>
#include "ampere_attention.h"
#include "attention_reference.h"
#include "hopper_attention.h"
#include "measure.h"

using namespace tilewise::probe;

namespace {

struct Tensors {
  uint16_t *q, *k, *v, *o;  // on the device: [heads, tokens, D]
  float* lse;
};

template <int D, int BN, int Groups, bool Causal, Softmax S, Turns Order>
__global__ __launch_bounds__(HopperTile<D, BN, Groups>::threads,
                             1) void hopper(const __grid_constant__ HopperParams p) {
  hopperAttention<D, BN, Groups, Causal, S, Order>(p);
}
template <int D, bool Causal>
__global__ __launch_bounds__(kAmpereThreads, 2) void ampere(const __grid_constant__ AmpereParams p) {
  ampereAttention<D, Causal>(p);
}

float scaleLog2(const Problem& p) { return float(p.scale() * 1.4426950408889634); }

struct Kernel {
  std::string name, tile;
  int headDim;
  bool isCausal, computesAttention;
  std::function<std::function<void()>(const Problem&, const Tensors&)> prepare;  // gives the launch
};

template <int D, int BN, int Groups, bool Causal, Softmax S = Softmax::real, Turns Order = Turns::none>
Kernel hopperKernel() {
  using T = HopperTile<D, BN, Groups>;
  std::string name = "wgmma";
  if (Order == Turns::oneAfterAnother) name += ", in turns";
  if (S == Softmax::leftOut) name += ", without softmax";
  const std::string tile = std::to_string(T::queries) + "x" + std::to_string(BN);
  return {name, tile, D, Causal, S == Softmax::real, [](const Problem& p, const Tensors& t) -> std::function<void()> {
            auto map = [&](uint16_t* data, int tokens, uint32_t rows) {
              return tensorMap(data, {D, uint64_t(tokens), uint64_t(p.heads)}, {D * 2, uint64_t(tokens) * D * 2},
                               {64, rows, 1});
            };
            const int queryTiles = (p.queries + T::queries - 1) / T::queries;
            const HopperParams params{map(t.q, p.queries, T::queries),
                                      map(t.k, p.keys, BN),
                                      map(t.v, p.keys, BN),
                                      map(t.o, p.queries, 64),
                                      t.lse,
                                      p.queries,
                                      p.keys,
                                      queryTiles,
                                      scaleLog2(p)};
            auto kernel = hopper<D, BN, Groups, Causal, S, Order>;
            allowShared(kernel, T::bytes);
            const int blocks = queryTiles * p.heads;
            return [=] { kernel<<<blocks, T::threads, T::bytes>>>(params); };
          }};
}

template <int D, bool Causal>
Kernel ampereKernel() {
  return {"mma.sync", "64x64", D, Causal, true, [](const Problem& p, const Tensors& t) -> std::function<void()> {
            const int queryTiles = (p.queries + kAmpereRows - 1) / kAmpereRows, shared = 5 * kAmpereRows * D * 2;
            const AmpereParams params{t.q, t.k, t.v, t.o, t.lse, p.queries, p.keys, queryTiles, scaleLog2(p)};
            auto kernel = ampere<D, Causal>;
            allowShared(kernel, shared);
            const int blocks = queryTiles * p.heads;
            return [=] { kernel<<<blocks, kAmpereThreads, shared>>>(params); };
          }};
}

template <class T>
std::vector<T> download(const T* device, size_t count) {
  std::vector<T> host(count);
  CUDA_CHECK(cudaMemcpy(host.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost));
  return host;
}

class Bench {
 public:
  explicit Bench(size_t elements)
      : tensors_{randomTensor(elements, 1), randomTensor(elements, 2), randomTensor(elements, 3),
                 allocate<uint16_t>(elements), allocate<float>(elements)} {}

  /** Runs twice into memory that holds NaN; compares about `rows` rows of the last `heads` heads. */
  bool isRight(const Kernel& kernel, const Problem& p, int heads, int rows) {
    const auto launch = kernel.prepare(p, tensors_);
    const size_t outputs = size_t(p.heads) * p.queries * p.headDim, sums = size_t(p.heads) * p.queries;
    auto result = [&] {
      CUDA_CHECK(cudaMemset(tensors_.o, 0xff, outputs * 2));
      CUDA_CHECK(cudaMemset(tensors_.lse, 0xff, sums * 4));
      launch();
      CUDA_CHECK(cudaGetLastError());
      CUDA_CHECK(cudaDeviceSynchronize());
      return std::make_pair(download(tensors_.o, outputs), download(reinterpret_cast<uint32_t*>(tensors_.lse), sums));
    };
    const auto first = result();
    const bool isSame = first == result();
    Error error;
    const int d = p.headDim, step = std::max(1, p.queries / rows) | 1;
    for (int h = p.heads - 1; h >= std::max(0, p.heads - heads); --h) {
      const auto k = download(tensors_.k + size_t(h) * p.keys * d, size_t(p.keys) * d);
      const auto v = download(tensors_.v + size_t(h) * p.keys * d, size_t(p.keys) * d);
      const auto q = download(tensors_.q + size_t(h) * p.queries * d, size_t(p.queries) * d);
      for (int i = p.queries - 1; i >= 0; i -= step) {
        const size_t row = size_t(h) * p.queries + i;
        float lse;
        std::memcpy(&lse, &first.second[row], sizeof lse);
        compareRow(error, p, i, q.data() + size_t(i) * d, k.data(), v.data(), first.first.data() + row * d, lse);
      }
    }
    const bool isRight = error.isSmall() && isSame;
    Row row("attention probe, right", kernel.name);
    describe(row, kernel, p).add("worst", error.worst).add("relative", error.relative()).add("lse", error.lse);
    row.add("sameBits", isSame).add("ok", isRight);
    return isRight;
  }

  void speed(const Kernel& kernel, const Problem& p) {
    const Times t = timed(kernel.prepare(p, tensors_), 9);
    Row row("attention probe, speed", kernel.name);
    describe(row, kernel, p).add("tflops", 4 * p.pairs() * p.headDim / t.median / 1e9);
    addTimes(row, t);
  }

 private:
  static Row& describe(Row& row, const Kernel& kernel, const Problem& p) {
    row.add("tile", kernel.tile).add("headDim", p.headDim).add("causal", p.isCausal);
    return row.add("heads", p.heads).add("queries", p.queries).add("keys", p.keys);
  }

  Tensors tensors_;
};

std::vector<Kernel> allKernels() {
  return {
      hopperKernel<128, 128, 2, false>(),
      hopperKernel<128, 128, 2, true>(),
      ampereKernel<128, false>(),
      ampereKernel<128, true>(),
      hopperKernel<128, 176, 2, false>(),
      hopperKernel<64, 128, 3, false>(),
      hopperKernel<64, 128, 3, true>(),
      ampereKernel<64, false>(),
      ampereKernel<64, true>(),
      hopperKernel<64, 128, 2, false>(),
      hopperKernel<64, 128, 2, true>(),
      hopperKernel<256, 80, 2, false>(),
      hopperKernel<256, 80, 2, true>(),
      hopperKernel<128, 128, 2, false, Softmax::real, Turns::oneAfterAnother>(),
      hopperKernel<128, 128, 2, true, Softmax::real, Turns::oneAfterAnother>(),
      hopperKernel<128, 176, 2, false, Softmax::real, Turns::oneAfterAnother>(),
      hopperKernel<64, 128, 3, false, Softmax::real, Turns::oneAfterAnother>(),
      hopperKernel<128, 128, 2, false, Softmax::leftOut>(),
      hopperKernel<64, 128, 3, false, Softmax::leftOut>(),
      hopperKernel<256, 80, 2, false, Softmax::leftOut>(),
  };
}

}  // namespace

int main(int argc, char** argv) {
  const bool isSmall = argc > 1 && std::string(argv[1]) == "--small";
  describeCard();
  // As many tokens as the usual benchmarks of attention take: 16k tokens of 2048 / D heads.
  constexpr int kTokens = 16384, kWidth = 2048;
  Bench bench(isSmall ? size_t(1) << 20 : size_t(kTokens) * kWidth);
  bool isRight = true;
  const std::vector<Kernel> kernels = allKernels();
  struct Size {
    int heads, queries, keys;
  };
  const std::vector<Size> few{{2, 256, 256}, {1, 100, 177}};
  const std::vector<Size> many{{2, 256, 256}, {3, 640, 640}, {1, 100, 177},  {1, 177, 100},
                               {2, 1, 1},     {1, 1, 500},   {2, 129, 1023}, {1, 1024, 1024}};
  for (const Kernel& kernel : kernels)
    for (const Size& size : isSmall ? few : many)
      if (kernel.computesAttention)
        isRight &= bench.isRight(kernel, {size.heads, size.queries, size.keys, kernel.headDim, kernel.isCausal}, 2,
                                 isSmall ? 8 : 128);
  if (isSmall) return !isRight;
  for (int n : {8192, 4096, 16384})
    for (const Kernel& kernel : kernels) {
      const Problem p{kWidth / kernel.headDim * (kTokens / n), n, n, kernel.headDim, kernel.isCausal};
      if (kernel.computesAttention && n == 8192) isRight &= bench.isRight(kernel, p, 1, 16);
      bench.speed(kernel, p);
    }
  return !isRight;
}
