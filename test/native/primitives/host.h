// What a conformance test needs of either machine: memory, launches, tensor maps, and a line per result.
// The same source is compiled for the emulator and for a GPU, and the emulator is right as far as both print the same
// lines. Everything is compared exactly with what the PTX ISA documents, unless a test says otherwise.
// Reader: whoever adds a primitive.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../../../cuda/prims/prims.h"
#include "report.h"

namespace tilewise::cuda::conformance {

// A tensor of 16-bit elements as TMA sees it; strides of dims 1 and up, in bytes.
struct TensorShape {
  void* base;
  int rank;
  uint64_t dims[5];
  uint64_t strides[4];
  uint32_t box[5];
  int swizzleBytes;
};
TensorMap tensorMap(const TensorShape& shape);

void* allocateBytes(size_t bytes);  // kept until the program ends
void uploadBytes(void* to, const void* from, size_t bytes);
void downloadBytes(void* to, const void* from, size_t bytes);

template <class T>
T* allocate(size_t count) {
  return static_cast<T*>(allocateBytes(count * sizeof(T)));
}
template <class T>
T* upload(const std::vector<T>& values) {
  T* data = allocate<T>(values.size());
  uploadBytes(data, values.data(), values.size() * sizeof(T));
  return data;
}
template <class T>
std::vector<T> download(const T* data, size_t count) {
  std::vector<T> values(count);
  downloadBytes(values.data(), data, count * sizeof(T));
  return values;
}

struct Grid {
  uint32_t blocks, threads, sharedBytes;
};

}  // namespace tilewise::cuda::conformance

#if defined(TILEWISE_EMULATE)
#include "host_emulated.h"
#else
#include "host_cuda.h"
#endif
