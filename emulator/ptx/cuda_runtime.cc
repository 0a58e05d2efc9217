// The few functions of the CUDA runtime that the tests of the primitives and bench/hardware/attention_probe call, over
// PTX on the processor: those programs run as nvcc compiles them for a card, with the PTX that it embeds. Linked in the
// runtime's place (--cudart none). TILEWISE_EMULATOR chooses the schedule, in the words of emulator.h; the PTX in the
// file TILEWISE_PTX_INSTEAD is run in place of an embedded one with the same kernels. Times are the processor's.
// Reader: scripts/gpu-programs.mjs builds it.
#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "../global_memory.h"
#include "ptx.h"

namespace {

using tilewise::emulator::Error;
using tilewise::ptx::Module;

// What nvcc puts into a program, as far as it is needed: a wrapper, around entries of which one is text.
struct Wrapper {
  uint32_t magic, version;
  const uint8_t* data;
};
struct Header {
  uint32_t magic;
  uint16_t version, headerBytes;
  uint64_t bytes;
};
struct Entry {
  uint16_t kind, version;
  uint32_t headerBytes;
  uint64_t bytes;
};
constexpr uint32_t kWrapperMagic = 0x466243b1, kHeaderMagic = 0xba55ed50;
constexpr uint16_t kPtx = 1;

std::string textOf(const Wrapper& wrapper) {
  Header header;
  std::memcpy(&header, wrapper.data, sizeof header);
  if (wrapper.magic != kWrapperMagic || header.magic != kHeaderMagic) throw Error("no fat binary");
  const uint8_t* const end = wrapper.data + header.headerBytes + header.bytes;
  for (const uint8_t* at = wrapper.data + header.headerBytes; at < end;) {
    Entry entry;
    std::memcpy(&entry, at, sizeof entry);
    const auto* text = reinterpret_cast<const char*>(at + entry.headerBytes);
    if (entry.kind == kPtx) return std::string(text, strnlen(text, entry.bytes));
    at += entry.headerBytes + entry.bytes;
  }
  throw Error("no PTX in a fat binary");
}

int newestTarget = 0;  // 90 for sm_90a

std::unique_ptr<Module> chosenModule(const Wrapper& wrapper) {
  const std::string embeddedText = textOf(wrapper);
  const std::string target = ".target sm_";
  newestTarget = std::max(newestTarget, std::atoi(embeddedText.c_str() + embeddedText.find(target) + target.size()));
  auto embedded = std::make_unique<Module>(embeddedText);
  const char* file = std::getenv("TILEWISE_PTX_INSTEAD");
  if (file == nullptr) return embedded;
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  auto other = std::make_unique<Module>(text.str());
  return other->kernels() == embedded->kernels() ? std::move(other) : std::move(embedded);
}

struct Function {
  const Module* module;
  std::string name;
};
struct Configuration {
  dim3 grid, block;
  size_t sharedBytes;
};

// Made by the first registration, before main.
std::map<const void*, Function>& functions() {
  static std::map<const void*, Function> known;
  return known;
}
tilewise::emulator::Memory& memory() {
  static tilewise::emulator::Memory device;
  return device;
}

Configuration pushed;
std::string failure;  // of the last launch

tilewise::emulator::Options options() {
  const char* words = std::getenv("TILEWISE_EMULATOR");
  tilewise::emulator::Options chosen = tilewise::emulator::parseOptions(words ? words : "");
  chosen.memory = &memory();
  return chosen;
}

void launch(const Function& function, const Configuration& how, void** arguments) {
  const tilewise::ptx::Declaration& declaration = function.module->declaration(function.name);
  std::vector<uint8_t> params(declaration.paramBytes);
  for (size_t i = 0; i < declaration.params.size(); ++i) {
    std::memcpy(params.data() + declaration.params[i].offset, arguments[i], declaration.params[i].bytes);
  }
  function.module->launch(function.name, {how.grid.x, how.block.x, uint32_t(how.sharedBytes)}, options(),
                          params.data());
}

// cuTensorMapEncodeTiled, for what tensor_map.h holds: two bytes an element, no interleaving, no steps, zeros outside.
CUresult encodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* base, const cuuint64_t* dims,
                     const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* steps,
                     CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                     CUtensorMapFloatOOBfill fill) {
  const bool isTwoBytes = type == CU_TENSOR_MAP_DATA_TYPE_UINT16 || type == CU_TENSOR_MAP_DATA_TYPE_FLOAT16 ||
                          type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const int swizzleBytes = swizzle == CU_TENSOR_MAP_SWIZZLE_NONE   ? 0
                           : swizzle == CU_TENSOR_MAP_SWIZZLE_32B  ? 32
                           : swizzle == CU_TENSOR_MAP_SWIZZLE_64B  ? 64
                           : swizzle == CU_TENSOR_MAP_SWIZZLE_128B ? 128
                                                                   : -1;
  const bool isKnown = isTwoBytes && rank >= 1 && rank <= 5 && swizzleBytes >= 0 &&
                       interleave == CU_TENSOR_MAP_INTERLEAVE_NONE && fill == CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE &&
                       std::all_of(steps, steps + rank, [](cuuint32_t step) { return step == 1; });
  try {
    if (!isKnown) throw Error("tensor map: not known in this form");
    tilewise::emulator::TensorShape shape{base, int(rank), {}, {}, {}, swizzleBytes};
    std::copy(dims, dims + rank, shape.dims);
    std::copy(strides, strides + rank - 1, shape.strides);
    std::copy(box, box + rank, shape.box);
    const tilewise::cuda::TensorMap encoded = tilewise::emulator::makeTensorMap(shape);
    static_assert(sizeof encoded == sizeof *map, "a TensorMap is a CUtensorMap");
    std::memcpy(map, &encoded, sizeof encoded);
    return CUDA_SUCCESS;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return CUDA_ERROR_INVALID_VALUE;
  }
}

using Clock = std::chrono::steady_clock;

}  // namespace

struct CUevent_st {
  Clock::time_point time;
};

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  try {
    return reinterpret_cast<void**>(chosenModule(*static_cast<const Wrapper*>(wrapper)).release());
  } catch (const Error& error) {
    std::printf("%s\n", error.what());
    std::exit(2);
  }
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void** module, const char* host, char*, const char* device, int, uint3*, uint3*, dim3*,
                            dim3*, int*) {
  functions()[host] = {reinterpret_cast<const Module*>(module), device};
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t sharedBytes, CUstream_st*) {
  pushed = {grid, block, sharedBytes};
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* sharedBytes, void* stream) {
  *grid = pushed.grid;
  *block = pushed.block;
  *sharedBytes = pushed.sharedBytes;
  *static_cast<cudaStream_t*>(stream) = nullptr;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(host));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t sharedBytes,
                               cudaStream_t) {
  const Function& function = functions().at(kernel);
  try {
    launch(function, {grid, block, sharedBytes}, arguments);
    return cudaSuccess;
  } catch (const Error& error) {
    failure = function.name + ": " + error.what();
    return cudaErrorLaunchFailure;
  }
}

cudaError_t cudaGetLastError() { return failure.empty() ? cudaSuccess : cudaErrorLaunchFailure; }
const char* cudaGetErrorString(cudaError_t) { return failure.c_str(); }
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaMalloc(void** data, size_t bytes) {
  *data = memory().allocate(int64_t(bytes));
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->time = Clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "PTX on the processor");
  properties->major = newestTarget / 10;
  properties->minor = newestTarget % 10;
  properties->multiProcessorCount = int(std::thread::hardware_concurrency());
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;  // there is none
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned int, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  if (std::strcmp(name, "cuTensorMapEncodeTiled") != 0) {
    failure = std::string("there is no ") + name;
    *found = cudaDriverEntryPointSymbolNotFound;
    return cudaErrorSymbolNotFound;
  }
  *function = reinterpret_cast<void*>(encodeTiled);
  *found = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
}
