// What memory gives: copies and reads by plain loads; tiles by TMA, contiguous, in a [tokens, heads, D] tensor and as
// boxes of an unpermuted grid of tokens; rows gathered by cp.async from lists; and what a launch costs. Reader: whoever
// decides how a kernel fetches its tiles. Prints a line of JSON per measurement.
#include "measure.h"

using namespace tilewise::cuda;
using namespace tilewise::probe;

namespace {

constexpr size_t kBig = size_t(4) << 30;  // bytes: many times any L2
constexpr size_t kResident = size_t(24) << 20;  // bytes: within half of the L2, whichever half a multiprocessor is near
constexpr int kRing = 192 * 1024;  // shared bytes in flight per multiprocessor

__global__ void copyWords(const uint4* from, uint4* to, size_t count) {
  const size_t stride = size_t(gridDim.x) * blockDim.x;
  size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i + 3 * stride < count; i += 4 * stride) {
    uint4 v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) v[j] = __ldg(from + i + j * stride);
#pragma unroll
    for (int j = 0; j < 4; ++j) to[i + j * stride] = v[j];
  }
  for (; i < count; i += stride) to[i] = from[i];
}

__device__ __forceinline__ uint4 readThroughL2(const uint4* from) {
  uint4 v;
  asm volatile("ld.global.cg.v4.b32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
  return v;
}

__global__ void readWords(const uint4* from, size_t count, int passes, uint32_t* sink) {
  const size_t stride = size_t(gridDim.x) * blockDim.x;
  uint32_t sum = 0;
  for (int pass = 0; pass < passes; ++pass) {
    size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
    for (; i + 3 * stride < count; i += 4 * stride) {
      uint4 v[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) v[j] = readThroughL2(from + i + j * stride);
#pragma unroll
      for (int j = 0; j < 4; ++j) sum += v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
    }
    for (; i < count; i += stride) sum += readThroughL2(from + i).x;
  }
  sink[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

// Boxes of one tensor, numbered with the first axis fastest; a box starts at origin + its place times step.
struct Boxes {
  TensorMap map;
  int rank, bytes, stages;
  int count[5], step[5], origin[5];
};

constexpr int kLoaders = 4;

__device__ __forceinline__ void loadBox(const Boxes& b, saddr to, saddr bar, const int (&place)[5]) {
  int c[5];
#pragma unroll
  for (int axis = 0; axis < 5; ++axis) c[axis] = b.origin[axis] + place[axis] * b.step[axis];
  mbarrier_arrive_expect_tx(bar, b.bytes);
  if (b.rank == 2) tma_load(to, b.map, bar, c[0], c[1]);
  if (b.rank == 4) tma_load(to, b.map, bar, c[0], c[1], c[2], c[3]);
  if (b.rank == 5) tma_load(to, b.map, bar, c[0], c[1], c[2], c[3], c[4]);
}

__device__ __forceinline__ void placeOf(const Boxes& b, int box, int (&place)[5]) {
#pragma unroll
  for (int axis = 0; axis < 5; ++axis) {
    place[axis] = box % b.count[axis];
    box /= b.count[axis];
  }
}

// One thread of each warp keeps a ring of boxes in flight, and reads nothing of them. All loaders together walk through
// the boxes, and begin again at the end.
__global__ void loadBoxes(const __grid_constant__ Boxes b, int loads) {
  if (lane_id() != 0) return;
  const int loader = warp_id();
  const saddr bars = smem_base() + loader * b.stages * 8, ring = smem_base() + 1024 + loader * b.stages * b.bytes;
  for (int i = 0; i < b.stages; ++i) mbarrier_init(bars + 8 * i, 1);
  fence_mbarrier_init();
  int place[5], stride[5];
  placeOf(b, blockIdx.x * kLoaders + loader, place);
  placeOf(b, gridDim.x * kLoaders, stride);
  int stage = 0, phase = 0;
  for (int i = 0; i < loads + b.stages; ++i) {
    if (i >= b.stages) mbarrier_wait(bars + 8 * stage, phase ^ 1);
    if (i < loads) {
      loadBox(b, ring + stage * b.bytes, bars + 8 * stage, place);
      int carry = 0;
#pragma unroll
      for (int axis = 0; axis < 5; ++axis) {
        place[axis] += stride[axis] + carry;
        carry = place[axis] >= b.count[axis];
        if (carry) place[axis] -= b.count[axis];
      }
    }
    if (++stage == b.stages) stage = 0, phase ^= 1;
  }
}

// Rows of one head, in runs of tokens whose starts a list names: what a kernel does with a list of blocks.
template <int Run, int RowBytes>
__global__ void gatherRows(const uint8_t* tensor, const int* starts, int tiles, int heads) {
  constexpr int kTokens = 64, kStages = 4, kChunks = RowBytes / 16;
  int loaded = 0;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x, ++loaded) {
    const saddr to = smem_base() + loaded % kStages * kTokens * RowBytes;
    const uint8_t* head = tensor + int64_t(tile % heads) * RowBytes;
    const int* list = starts + tile / heads * (kTokens / Run);
#pragma unroll
    for (int i = threadIdx.x; i < kTokens * kChunks; i += 128) {
      const int row = i / kChunks, chunk = i % kChunks;
      const int64_t token = __ldg(list + row / Run) + row % Run;
      cp_async16(to + row * RowBytes + ((chunk ^ (row & 7)) << 4), head + token * heads * RowBytes + chunk * 16, 16);
    }
    cp_async_commit();
    cp_async_wait<kStages - 1>();
    sync_block();
  }
  cp_async_wait<0>();
}

struct KernelParams {
  uint32_t words[512];  // 2 KiB, about what an attention launch passes
};
__global__ void empty() {}
__global__ void emptyWithParams(const __grid_constant__ KernelParams) {}

void report(const char* group, const std::string& name, bool isResident, double bytes, const Times& t,
            const char* detail = nullptr) {
  Row row(group, name);
  if (detail) row.add("detail", detail);
  row.add("from", isResident ? "L2" : "memory").add("gbps", bytes / t.median / 1e6);
  addTimes(row, t);
}

void measurePlain(uint8_t* big, uint8_t* other, int sms) {
  const size_t half = kBig / 2;
  report("copy", "cudaMemcpy", false, 2.0 * half,
         timed([&] { CUDA_CHECK(cudaMemcpyAsync(other, big, half, cudaMemcpyDeviceToDevice)); }));
  auto* from = reinterpret_cast<const uint4*>(big);
  report("copy", "kernel", false, 2.0 * half,
         timed([&] { copyWords<<<sms * 4, 512>>>(from, reinterpret_cast<uint4*>(other), half / 16); }));
  auto* sink = reinterpret_cast<uint32_t*>(other);
  report("read", "kernel", false, double(kBig), timed([&] { readWords<<<sms * 4, 512>>>(from, kBig / 16, 1, sink); }));
  const int passes = 64;
  report("read", "kernel", true, double(kResident) * passes,
         timed([&] { readWords<<<sms * 2, 512>>>(from, kResident / 16, passes, sink); }));
}

struct Shape {
  const char* name;
  const char* detail;
  std::vector<uint64_t> dims;  // of the tensor, in elements, innermost first; the last is cut to the size wanted
  std::vector<uint32_t> box;
  std::vector<int> origin;
};

void measureBoxes(uint8_t* data, int sms, const Shape& s, bool isResident) {
  const size_t bytes = isResident ? kResident : kBig;
  const int rank = int(s.dims.size());
  std::vector<uint64_t> dims = s.dims, strides;
  uint64_t slice = 2;
  for (int axis = 0; axis + 1 < rank; ++axis) strides.push_back(slice *= dims[axis]);
  dims.back() = std::max<uint64_t>(bytes / slice / s.box.back() * s.box.back(), s.box.back());
  Boxes b{};
  b.map = tensorMap(data, dims, strides, s.box);
  b.rank = rank;
  b.bytes = 2;
  double boxes = 1;
  for (int axis = 0; axis < 5; ++axis) {
    b.step[axis] = axis < rank ? int(s.box[axis]) : 1;
    b.count[axis] = axis < rank ? int(dims[axis]) / b.step[axis] : 1;
    b.origin[axis] = axis < int(s.origin.size()) ? s.origin[axis] : 0;
    b.bytes *= b.step[axis];
    boxes *= b.count[axis];
  }
  b.stages = std::min(24, kRing / b.bytes / kLoaders);
  const int shared = 1024 + kLoaders * b.stages * b.bytes, loaders = sms * kLoaders;
  const int loads = int(boxes / loaders * (isResident ? 64 : 1)) + 1;
  allowShared(loadBoxes, shared);
  report("tma", s.name, isResident, double(loads) * loaders * b.bytes,
         timed([&] { loadBoxes<<<sms, 32 * kLoaders, shared>>>(b, loads); }, 5), s.detail);
}

template <int Run, int HeadDim>
void measureGather(uint8_t* data, int sms, bool isResident) {
  const int rowBytes = HeadDim * 2, heads = 1024 / HeadDim;
  const size_t bytes = isResident ? kResident : kBig / 2;
  const int tokens = int(bytes / size_t(rowBytes * heads)), runs = tokens / Run, tiles = tokens / 64 * heads;
  std::vector<int> starts(runs);
  for (int i = 0; i < runs; ++i) starts[i] = i * Run;
  for (int i = runs - 1; i > 0; --i) std::swap(starts[i], starts[scrambled(i) % (i + 1)]);
  int* list = allocate<int>(runs);
  CUDA_CHECK(cudaMemcpy(list, starts.data(), runs * sizeof(int), cudaMemcpyHostToDevice));
  const int shared = 4 * 64 * rowBytes, blocks = sms * (HeadDim <= 64 ? 6 : 3), passes = isResident ? 16 : 1;
  auto kernel = gatherRows<Run, HeadDim * 2>;
  allowShared(kernel, shared);
  const Times t = timed(
      [&] {
        for (int p = 0; p < passes; ++p) kernel<<<blocks, 128, shared>>>(data, list, tiles, heads);
      },
      5);
  const std::string detail = "D=" + std::to_string(HeadDim) + ", " + std::to_string(heads) + " heads";
  report("gather", "cp.async, runs of " + std::to_string(Run), isResident, double(tiles) * 64 * rowBytes * passes, t,
         detail.c_str());
  CUDA_CHECK(cudaFree(list));
}

void measureLaunches() {
  const int launches = 2000;
  const KernelParams params{};
  auto perLaunch = [&](const char* name, const Times& t) {
    Row row("launch", name);
    row.add("microseconds", t.median * 1e3 / launches);
    addTimes(row, t);
  };
  perLaunch("empty, one after another", timed([&] {
              for (int i = 0; i < launches; ++i) empty<<<1, 128>>>();
            }));
  perLaunch("with 2 KiB of parameters", timed([&] {
              for (int i = 0; i < launches; ++i) emptyWithParams<<<132, 128>>>(params);
            }));
  perLaunch("with 2 KiB of parameters, waited for each", timed(
                                                             [&] {
                                                               for (int i = 0; i < launches; ++i) {
                                                                 emptyWithParams<<<132, 128>>>(params);
                                                                 CUDA_CHECK(cudaDeviceSynchronize());
                                                               }
                                                             },
                                                             3));
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CUDA_CHECK(cudaStreamCreate(&stream));
  CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  for (int i = 0; i < launches; ++i) emptyWithParams<<<132, 128, 0, stream>>>(params);
  CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  CUDA_CHECK(cudaGraphInstantiate(&exec, graph, 0));
  perLaunch("with 2 KiB of parameters, in a graph", timed([&] {
              CUDA_CHECK(cudaGraphLaunch(exec, cudaStreamPerThread));
              CUDA_CHECK(cudaStreamSynchronize(cudaStreamPerThread));
            }));
}

}  // namespace

int main() {
  describeCard();
  const int sms = multiprocessors();
  auto* big = reinterpret_cast<uint8_t*>(randomTensor(kBig / 2, 1));
  auto* other = allocate<uint8_t>(kBig / 2);
  measurePlain(big, other, sms);
  // Axes: D, heads, then tokens: 1-D, or the axes of a grid, x fastest. 16 heads; the batch is folded into the last
  // axis.
  const Shape shapes[] = {
      {"contiguous", "64 x 64", {64, 0}, {64, 64}, {}},
      {"contiguous", "128 x 64", {64, 0}, {64, 128}, {}},
      {"contiguous", "192 x 64", {64, 0}, {64, 192}, {}},
      {"heads apart", "64 tokens", {64, 16, 4096, 0}, {64, 1, 64, 1}, {}},
      {"heads apart", "128 tokens", {64, 16, 4096, 0}, {64, 1, 128, 1}, {}},
      {"grid box", "8 x 8 tokens", {64, 16, 64, 64, 0}, {64, 1, 8, 8, 1}, {}},
      {"grid box", "8 x 8 tokens, from -3", {64, 16, 64, 64, 0}, {64, 1, 8, 8, 1}, {0, 0, -3, -3, 0}},
      {"grid box", "16 x 8 tokens", {64, 16, 64, 64, 0}, {64, 1, 16, 8, 1}, {}},
      {"grid box", "16 x 16 tokens", {64, 16, 64, 64, 0}, {64, 1, 16, 16, 1}, {}},
      {"grid box", "4 x 4 x 4 tokens", {64, 16, 32, 32, 0}, {64, 1, 4, 4, 4}, {}},
      {"grid box", "8 x 4 x 4 tokens", {64, 16, 32, 32, 0}, {64, 1, 8, 4, 4}, {}},
      {"grid box", "4 x 4 tokens", {64, 16, 64, 64, 0}, {64, 1, 4, 4, 1}, {}},
  };
  for (const Shape& shape : shapes)
    for (bool isResident : {true, false}) measureBoxes(big, sms, shape, isResident);
  for (bool isResident : {true, false}) {
    measureGather<64, 64>(big, sms, isResident);
    measureGather<8, 64>(big, sms, isResident);
    measureGather<1, 64>(big, sms, isResident);
    measureGather<64, 128>(big, sms, isResident);
    measureGather<8, 128>(big, sms, isResident);
    measureGather<1, 128>(big, sms, isResident);
  }
  measureLaunches();
}
