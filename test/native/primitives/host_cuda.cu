// A GPU as the machine under test. Usage: conformance.
#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "host.h"
#include "main.h"

namespace tilewise::cuda::conformance {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("CUDA, %s: %s\n", what, cudaGetErrorString(error));
  std::exit(2);
}

void prepareMachine(const std::string&) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "device");
  std::printf("# %s, compute capability %d.%d\n", properties.name, properties.major, properties.minor);
}

void* allocateBytes(size_t bytes) {
  void* data = nullptr;
  check(cudaMalloc(&data, bytes), "allocation");
  return data;
}
void uploadBytes(void* to, const void* from, size_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "upload");
}
void downloadBytes(void* to, const void* from, size_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "download");
}

TensorMap tensorMap(const TensorShape& shape) {
  void* encode = nullptr;
  cudaDriverEntryPointQueryResult found;
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &encode, 12000, cudaEnableDefault, &found),
        "encode");
  const auto swizzle = shape.swizzleBytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                       : shape.swizzleBytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                       : shape.swizzleBytes == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                                  : CU_TENSOR_MAP_SWIZZLE_NONE;
  const cuuint32_t steps[5] = {1, 1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(encode)(
      &map, CU_TENSOR_MAP_DATA_TYPE_UINT16, cuuint32_t(shape.rank), shape.base, shape.dims, shape.strides, shape.box,
      steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_NONE,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    std::printf("cuTensorMapEncodeTiled: %d\n", int(result));
    std::exit(2);
  }
  TensorMap encoded;
  static_assert(sizeof encoded == sizeof map, "a TensorMap holds a CUtensorMap");
  std::memcpy(&encoded, &map, sizeof encoded);
  return encoded;
}

}  // namespace tilewise::cuda::conformance
