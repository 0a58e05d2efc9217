// The CUDA driver's ABI as far as this runtime uses it: declared here, so that nothing needs a toolkit to build.
// Reader: someone who needs one more driver function. test/native/gpu/abi_checks.cu holds every line against cuda.h;
// each table's last columns are what cuda.h calls the row. Structures are the driver's own, and only pointed to.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
struct CUevent_st;
struct CUmemPoolHandle_st;

namespace tilewise::cuda {

using DeviceHandle = int;
using Context = CUctx_st*;
using Module = CUmod_st*;
using Function = CUfunc_st*;
using Stream = CUstream_st*;
using Event = CUevent_st*;
using Pool = CUmemPoolHandle_st*;
using Address = unsigned long long;

// clang-format off
#define TW_DRIVER_RESULTS(X)                                             \
  X(success, 0, CUDA_SUCCESS)                                            \
  X(outOfMemory, 2, CUDA_ERROR_OUT_OF_MEMORY)                            \
  X(deinitialized, 4, CUDA_ERROR_DEINITIALIZED)                          \
  X(stubLibrary, 34, CUDA_ERROR_STUB_LIBRARY)                            \
  X(callRequiresNewerDriver, 36, CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER)  \
  X(deviceUnavailable, 46, CUDA_ERROR_DEVICE_UNAVAILABLE)                \
  X(noDevice, 100, CUDA_ERROR_NO_DEVICE)                                 \
  X(invalidDevice, 101, CUDA_ERROR_INVALID_DEVICE)                       \
  X(invalidImage, 200, CUDA_ERROR_INVALID_IMAGE)                         \
  X(noBinaryForGpu, 209, CUDA_ERROR_NO_BINARY_FOR_GPU)                   \
  X(eccUncorrectable, 214, CUDA_ERROR_ECC_UNCORRECTABLE)                 \
  X(invalidPtx, 218, CUDA_ERROR_INVALID_PTX)                             \
  X(nvlinkUncorrectable, 220, CUDA_ERROR_NVLINK_UNCORRECTABLE)           \
  X(jitCompilerNotFound, 221, CUDA_ERROR_JIT_COMPILER_NOT_FOUND)         \
  X(unsupportedPtxVersion, 222, CUDA_ERROR_UNSUPPORTED_PTX_VERSION)      \
  X(jitCompilationDisabled, 223, CUDA_ERROR_JIT_COMPILATION_DISABLED)    \
  X(contained, 226, CUDA_ERROR_CONTAINED)                                \
  X(notFound, 500, CUDA_ERROR_NOT_FOUND)                                 \
  X(illegalAddress, 700, CUDA_ERROR_ILLEGAL_ADDRESS)                     \
  X(launchTimeout, 702, CUDA_ERROR_LAUNCH_TIMEOUT)                       \
  X(contextIsDestroyed, 709, CUDA_ERROR_CONTEXT_IS_DESTROYED)            \
  X(deviceAssert, 710, CUDA_ERROR_ASSERT)                                \
  X(hardwareStackError, 714, CUDA_ERROR_HARDWARE_STACK_ERROR)            \
  X(illegalInstruction, 715, CUDA_ERROR_ILLEGAL_INSTRUCTION)             \
  X(misalignedAddress, 716, CUDA_ERROR_MISALIGNED_ADDRESS)               \
  X(invalidAddressSpace, 717, CUDA_ERROR_INVALID_ADDRESS_SPACE)          \
  X(invalidPc, 718, CUDA_ERROR_INVALID_PC)                               \
  X(launchFailed, 719, CUDA_ERROR_LAUNCH_FAILED)                         \
  X(tensorMemoryLeak, 721, CUDA_ERROR_TENSOR_MEMORY_LEAK)                \
  X(systemDriverMismatch, 803, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)

// Small numbers that are passed to functions.
#define TW_DRIVER_NUMBERS(X)                                                                        \
  X(kMultiprocessors, 16, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)                                 \
  X(kCapabilityMajor, 75, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)                             \
  X(kCapabilityMinor, 76, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)                             \
  X(kSharedBytesPerBlock, 97, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)                \
  X(kHasMemoryPools, 115, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)                               \
  X(kPoolReleaseThreshold, 4, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD)                                    \
  X(kFunctionDynamicSharedBytes, 8, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)                \
  X(kJitErrorLog, 5, CU_JIT_ERROR_LOG_BUFFER)                                                       \
  X(kJitErrorLogBytes, 6, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)                                       \
  X(kStreamNonBlocking, 1, CU_STREAM_NON_BLOCKING)                                                  \
  X(kEventDisableTiming, 2, CU_EVENT_DISABLE_TIMING)                                                \
  X(kHostPortable, 1, CU_MEMHOSTALLOC_PORTABLE)

// Found by cuGetProcAddress at the version that kDriverFloor names.
#define TW_DRIVER_FUNCTIONS(X)                                                                              \
  X(cuInit, (unsigned flags))                                                                               \
  X(cuGetErrorName, (Result result, const char** name))                                                     \
  X(cuGetErrorString, (Result result, const char** text))                                                   \
  X(cuDeviceGetCount, (int* count))                                                                         \
  X(cuDeviceGet, (DeviceHandle* device, int ordinal))                                                       \
  X(cuDeviceGetName, (char* name, int length, DeviceHandle device))                                         \
  X(cuDeviceGetAttribute, (int* value, int attribute, DeviceHandle device))                                 \
  X(cuDeviceGetDefaultMemPool, (Pool* pool, DeviceHandle device))                                           \
  X(cuDevicePrimaryCtxRetain, (Context* context, DeviceHandle device))                                      \
  X(cuCtxPushCurrent, (Context context))                                                                    \
  X(cuCtxPopCurrent, (Context* context))                                                                    \
  X(cuStreamCreate, (Stream* stream, unsigned flags))                                                       \
  X(cuStreamSynchronize, (Stream stream))                                                                   \
  X(cuEventCreate, (Event* event, unsigned flags))                                                          \
  X(cuEventRecord, (Event event, Stream stream))                                                            \
  X(cuEventSynchronize, (Event event))                                                                      \
  X(cuMemPoolGetAttribute, (Pool pool, int attribute, void* value))                                         \
  X(cuMemPoolSetAttribute, (Pool pool, int attribute, void* value))                                         \
  X(cuMemPoolTrimTo, (Pool pool, size_t bytes))                                                             \
  X(cuMemAlloc, (Address* address, size_t bytes))                                                           \
  X(cuMemFree, (Address address))                                                                           \
  X(cuMemAllocAsync, (Address* address, size_t bytes, Stream stream))                                       \
  X(cuMemFreeAsync, (Address address, Stream stream))                                                       \
  X(cuMemHostAlloc, (void** data, size_t bytes, unsigned flags))                                            \
  X(cuMemcpyHtoDAsync, (Address to, const void* from, size_t bytes, Stream stream))                         \
  X(cuMemcpyDtoHAsync, (void* to, Address from, size_t bytes, Stream stream))                               \
  X(cuModuleLoadDataEx, (Module* module, const void* image, unsigned count, int* options, void** values))   \
  X(cuModuleGetFunction, (Function* function, Module module, const char* name))                             \
  X(cuFuncSetAttribute, (Function function, int attribute, int value))                                      \
  X(cuLaunchKernel, (Function function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,    \
                     unsigned blockY, unsigned blockZ, unsigned sharedBytes, Stream stream, void** params, \
                     void** extra))
// clang-format on

enum class Result : int {
#define TW_ROW(name, value, theirs) name = value,
  TW_DRIVER_RESULTS(TW_ROW)
#undef TW_ROW
};

#define TW_ROW(name, value, theirs) constexpr int name = value;
TW_DRIVER_NUMBERS(TW_ROW)
#undef TW_ROW

struct Api {
#define TW_ROW(name, parameters) Result(*name) parameters = nullptr;
  TW_DRIVER_FUNCTIONS(TW_ROW)
#undef TW_ROW
};

// What the library exports by itself.
using DriverGetVersion = Result(int* version);
using GetProcAddress = Result(const char* name, void** function, int version, uint64_t flags, int* status);

// What the shipped kernel images need: they are built with CUDA 13.0.
struct DriverFloor {
  int version = 13000;  // as cuDriverGetVersion counts
  const char* toolkit = "13.0";
  const char* driver = "580";
};
constexpr DriverFloor kDriverFloor;

}  // namespace tilewise::cuda
