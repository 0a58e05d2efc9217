// What the measuring programs share: errors that end the program, times by events, one line of JSON per measurement.
// Reader: whoever adds a measurement. Rows are flushed as they are made, so that a program that is stopped loses none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include <cuda.h>
#include <cuda_runtime.h>
#include "../../cuda/prims/prims.h"

namespace tilewise::probe {

using cuda::TensorMap;

#define CUDA_CHECK(call) ::tilewise::probe::check((call), #call)

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(2);
}

class Row {
 public:
  Row(const char* group, const std::string& name) {
    add("group", group);
    add("name", name);
  }
  ~Row() {
    std::printf("{%s}\n", text_.c_str());
    std::fflush(stdout);
  }
  Row& add(const char* key, const std::string& value) { return put(key, "\"" + value + "\""); }
  Row& add(const char* key, const char* value) { return add(key, std::string(value)); }
  Row& add(const char* key, bool value) { return put(key, value ? "true" : "false"); }
  Row& add(const char* key, int value) { return put(key, std::to_string(value)); }
  Row& add(const char* key, double value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.6g", value);
    return put(key, std::strpbrk(digits, "ni") ? "null" : digits);  // NaN and infinity are not JSON
  }

 private:
  Row& put(const char* key, const std::string& value) {
    text_ += (text_.empty() ? "\"" : ", \"") + std::string(key) + "\": " + value;
    return *this;
  }
  std::string text_;
};

struct Times {
  double median, least, most;  // milliseconds
};

/** Of one call of `launch` each, `repeats` times, after one that does not count. */
template <class Launch>
Times timed(Launch launch, int repeats = 7) {
  cudaEvent_t begin, end;
  CUDA_CHECK(cudaEventCreate(&begin));
  CUDA_CHECK(cudaEventCreate(&end));
  launch();
  CUDA_CHECK(cudaGetLastError());
  std::vector<double> ms;
  for (int i = 0; i < repeats; ++i) {
    CUDA_CHECK(cudaEventRecord(begin));
    launch();
    CUDA_CHECK(cudaEventRecord(end));
    CUDA_CHECK(cudaEventSynchronize(end));
    float one;
    CUDA_CHECK(cudaEventElapsedTime(&one, begin, end));
    ms.push_back(one);
  }
  CUDA_CHECK(cudaGetLastError());
  CUDA_CHECK(cudaEventDestroy(begin));
  CUDA_CHECK(cudaEventDestroy(end));
  std::sort(ms.begin(), ms.end());
  return {ms[ms.size() / 2], ms.front(), ms.back()};
}

inline Row& addTimes(Row& row, const Times& t) {
  return row.add("ms", t.median).add("msLeast", t.least).add("msMost", t.most);
}

/** Cycles and nanoseconds that one block took: their ratio is the clock that the kernel really ran at. */
struct Span {
  int64_t cycles, nanoseconds;
};

__device__ inline int64_t nanoseconds() {
  int64_t t;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(t));
  return t;
}

/** The clock of the last kernel that wrote this span. */
inline double megahertz(const Span* device) {
  Span span;
  CUDA_CHECK(cudaMemcpy(&span, device, sizeof span, cudaMemcpyDeviceToHost));
  return 1000.0 * double(span.cycles) / double(span.nanoseconds);
}

/** Bits that look random: different for each index and seed. */
__host__ __device__ inline uint32_t scrambled(uint32_t x) {
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return x ^ x >> 16;
}

/** Two bfloat16 of random sign and mantissa, magnitude 1/8 to 2: what power and toggling depend on. */
__host__ __device__ inline uint32_t randomPair(uint32_t index) {
  const uint32_t bits = scrambled(index);
  const uint32_t low = (bits & 0x807f) | (124 + (bits >> 8 & 3)) << 7;
  const uint32_t high = (bits >> 16 & 0x807f) | (124 + (bits >> 24 & 3)) << 7;
  return low | high << 16;
}

static __global__ void fillRandom(uint32_t* pairs, size_t count, uint32_t seed) {
  for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += size_t(gridDim.x) * blockDim.x)
    pairs[i] = randomPair(uint32_t(i) * 2654435761u + seed);
}

template <class T>
T* allocate(size_t count) {
  void* data;
  CUDA_CHECK(cudaMalloc(&data, count * sizeof(T)));
  return static_cast<T*>(data);
}

/** Device memory full of random bfloat16. */
inline uint16_t* randomTensor(size_t elements, uint32_t seed) {
  auto* data = allocate<uint16_t>(elements);
  fillRandom<<<1024, 256>>>(reinterpret_cast<uint32_t*>(data), elements / 2, seed);
  CUDA_CHECK(cudaDeviceSynchronize());
  return data;
}

/** A map of 16-bit elements, swizzled by 128 bytes; strides in bytes, of axes 1 and up. */
inline TensorMap tensorMap(void* data, const std::vector<uint64_t>& dims, const std::vector<uint64_t>& strides,
                           const std::vector<uint32_t>& box) {
  void* encode = nullptr;
  cudaDriverEntryPointQueryResult found;
  CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &encode, 12000, cudaEnableDefault, &found));
  const cuuint32_t steps[5] = {1, 1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(encode)(
      &map, CU_TENSOR_MAP_DATA_TYPE_UINT16, cuuint32_t(dims.size()), data,
      reinterpret_cast<const cuuint64_t*>(dims.data()), reinterpret_cast<const cuuint64_t*>(strides.data()), box.data(),
      steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    std::fprintf(stderr, "cuTensorMapEncodeTiled: %d\n", int(result));
    std::exit(2);
  }
  TensorMap copy;
  static_assert(sizeof copy == sizeof map, "a tensor map is 128 bytes");
  std::memcpy(&copy, &map, sizeof copy);
  return copy;
}

inline int multiprocessors() {
  int count;
  CUDA_CHECK(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, 0));
  return count;
}

template <class Kernel>
void allowShared(Kernel kernel, int bytes) {
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
}

/** The first row of every program: which card its numbers belong to. */
inline void describeCard() {
  cudaDeviceProp card;
  CUDA_CHECK(cudaGetDeviceProperties(&card, 0));
  int driver;
  CUDA_CHECK(cudaDriverGetVersion(&driver));
  Row("card", card.name)
      .add("multiprocessors", card.multiProcessorCount)
      .add("l2MiB", double(card.l2CacheSize) / (1 << 20))
      .add("memoryGiB", double(card.totalGlobalMem) / (1 << 30))
      .add("sharedBytesPerBlock", int(card.sharedMemPerBlockOptin))
      .add("cudaDriver", driver);
}

}  // namespace tilewise::probe
