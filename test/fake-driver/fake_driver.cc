// A CUDA driver without a GPU, for the tests of cuda/runtime: the functions of abi.h over plain memory, as strict about
// its callers as the real one is where that matters, and failing on demand. Reader: someone who adds a scenario. Copies
// are done at once, launches are recorded and run nothing. TILEWISE_FAKE holds what differs from two healthy GPUs of
// capability 8.0, as name=value;name=value:
//   version=12040   what cuDriverGetVersion says        devices=90,75  capabilities, one a GPU; empty: none
//   init=999        what cuInit returns                 pools=0        no memory pools
//   memory=4096     bytes that fit on a GPU             fail=cuX:2:700 what the second call of cuX returns, and after a
//   slow=20         milliseconds that a wait takes                     result that is sticky every later call too
// When the process ends, and the report is asked for (TILEWISE_FAKE_REPORT, a file), it holds what happened, one JSON
// object: launches, and balances that are 0 when nothing leaks.

#include "fake_gpus.h"

#define DRIVER extern "C" __attribute__((visibility("default")))

DRIVER Result cuDriverGetVersion(int* version) {
  *version = int(Fake::only().number("version", kDriverFloor.version));
  return Result::success;
}

static Result cuInit(unsigned) {
  ENTER(false);
  return Fake::only().capabilities.empty() ? Result::noDevice : Result(Fake::only().number("init", 0));
}

static Result cuGetErrorName(Result result, const char** name) {
  switch (result) {
#define TW_ROW(ours, value, theirs) \
  case Result::ours: *name = #theirs; return Result::success;
    TW_DRIVER_RESULTS(TW_ROW)
#undef TW_ROW
  }
  return Result(1);
}
static Result cuGetErrorString(Result result, const char** text) {
  *text = result == Result::outOfMemory ? "out of memory" : "as the test asked for";
  return Result::success;
}

static Result cuDeviceGetCount(int* count) {
  ENTER(false);
  *count = int(Fake::only().capabilities.size());
  return Result::success;
}
static Result cuDeviceGet(DeviceHandle* device, int ordinal) {
  ENTER(false);
  *device = ordinal;
  return Result::success;
}
static Result cuDeviceGetName(char* name, int length, DeviceHandle device) {
  ENTER(false);
  std::snprintf(name, size_t(length), "Fake GPU %d", device);
  return Result::success;
}
static Result cuDeviceGetAttribute(int* value, int attribute, DeviceHandle device) {
  ENTER(false);
  const int capability = Fake::only().capabilities.at(size_t(device));
  switch (attribute) {
    case kCapabilityMajor: *value = capability / 10; break;
    case kCapabilityMinor: *value = capability % 10; break;
    case kMultiprocessors: *value = 108; break;
    case kSharedBytesPerBlock: *value = 99 << 10; break;
    case kHasMemoryPools: *value = int(Fake::only().number("pools", 1)); break;
    default: return Result(1);
  }
  return Result::success;
}

static Result cuDevicePrimaryCtxRetain(Context* context, DeviceHandle device) {
  ENTER(false);
  *context = new CUctx_st{device};
  return Result::success;
}
static Result cuCtxPushCurrent(Context context) {
  ENTER(false);
  stack.push_back(context);
  ++Fake::only().contextDepth;
  return Result::success;
}
static Result cuCtxPopCurrent(Context* context) {
  if (stack.empty()) {
    misuse("popped a context that was not pushed");
    return Result(201);
  }
  ENTER(false);
  *context = stack.back();
  stack.pop_back();
  --Fake::only().contextDepth;
  return Result::success;
}

static Result cuStreamCreate(Stream* stream, unsigned flags) {
  ENTER(true);
  if (flags != unsigned(kStreamNonBlocking)) misuse("a stream that waits for others'");
  *stream = new CUstream_st{currentDevice()};
  ++Fake::only().streams;
  return Result::success;
}
static Result cuStreamSynchronize(Stream stream) {
  ENTER(true);
  if (!stream || stream->device != currentDevice()) misuse("a stream of another GPU");
  pause();
  return Result::success;
}
static Result cuEventCreate(Event* event, unsigned) {
  ENTER(true);
  *event = new CUevent_st{currentDevice()};
  return Result::success;
}
static Result cuEventRecord(Event, Stream) {
  ENTER(true);
  return Result::success;
}
static Result cuEventSynchronize(Event) {
  ENTER(true);
  return Result::success;
}

static Result cuDeviceGetDefaultMemPool(Pool* pool, DeviceHandle device) {
  ENTER(false);
  static std::map<int, CUmemPoolHandle_st> pools;
  *pool = &pools[device];
  return Result::success;
}
static Result cuMemPoolGetAttribute(Pool pool, int attribute, void* value) {
  ENTER(false);
  if (attribute != kPoolReleaseThreshold) return Result(1);
  *static_cast<uint64_t*>(value) = pool->kept;
  return Result::success;
}
static Result cuMemPoolSetAttribute(Pool pool, int attribute, void* value) {
  ENTER(false);
  if (attribute != kPoolReleaseThreshold) return Result(1);
  pool->kept = *static_cast<uint64_t*>(value);
  return Result::success;
}
static Result cuMemPoolTrimTo(Pool, size_t) {
  ENTER(true);
  return Result::success;
}
static Result cuMemAlloc(Address* address, size_t bytes) {
  ENTER(true);
  return allocate(address, bytes);
}
static Result cuMemFree(Address address) {
  ENTER(true);
  return release(address);
}
static Result cuMemAllocAsync(Address* address, size_t bytes, Stream) {
  ENTER(true);
  if (Fake::only().number("pools", 1) == 0) return Result(801);
  return allocate(address, bytes);
}
static Result cuMemFreeAsync(Address address, Stream) {
  ENTER(true);
  return release(address);
}
static Result cuMemHostAlloc(void** data, size_t bytes, unsigned) {
  ENTER(true);
  *data = std::malloc(bytes);
  Fake::only().pinned += bytes;
  return Result::success;
}
static Result cuMemcpyHtoDAsync(Address to, const void* from, size_t bytes, Stream) {
  ENTER(true);
  if (!holds(to, bytes)) misuse("copied to what is not this GPU's memory");
  std::memcpy(reinterpret_cast<void*>(uintptr_t(to)), from, bytes);
  return Result::success;
}
static Result cuMemcpyDtoHAsync(void* to, Address from, size_t bytes, Stream) {
  ENTER(true);
  if (!holds(from, bytes)) misuse("copied from what is not this GPU's memory");
  std::memcpy(to, reinterpret_cast<const void*>(uintptr_t(from)), bytes);
  return Result::success;
}

static Result cuModuleLoadDataEx(Module* module, const void* data, unsigned count, int* options, void** values) {
  ENTER(true);
  Fatbin image;
  if (!read(static_cast<const char*>(data), image)) {
    for (unsigned i = 0; i < count; ++i) {
      if (options[i] == kJitErrorLog) std::strcpy(static_cast<char*>(values[i]), "not a fatbin");
    }
    return Result::invalidImage;
  }
  const int own = Fake::only().capabilities.at(size_t(currentDevice()));
  const int its = image.capability;
  if (image.isPtx ? its > own : its / 10 != own / 10 || its > own) return Result::noBinaryForGpu;
  *module = new CUmod_st{currentDevice(), image.content};
  return Result::success;
}
static Result cuModuleGetFunction(Function* function, Module module, const char* name) {
  ENTER(true);
  if (module->device != currentDevice()) misuse("a module of another GPU");
  // A test's image may say that it has any kernel, and what is packed is not looked into.
  const auto has = [&](const std::string& text) { return module->content.find(text) != std::string::npos; };
  if (!module->content.empty() && !has("any kernel") && !has(std::string("kernel ") + name)) return Result::notFound;
  *function = new CUfunc_st{module, name};
  return Result::success;
}
static Result cuFuncSetAttribute(Function function, int attribute, int value) {
  ENTER(true);
  if (attribute != kFunctionDynamicSharedBytes || value > 99 << 10) return Result(1);
  function->sharedBytes = value;
  return Result::success;
}
static Result cuLaunchKernel(Function function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                             unsigned blockY, unsigned blockZ, unsigned sharedBytes, Stream stream, void** params,
                             void**) {
  ENTER(true);
  if (function->module->device != currentDevice() || stream->device != currentDevice()) {
    misuse("launched on another GPU");
  }
  const bool isValid = gridX > 0 && gridX <= 0x7fffffff && gridY == 1 && gridZ == 1 && blockX > 0 && blockX <= 1024 &&
                       blockY == 1 && blockZ == 1 && params && int(sharedBytes) <= function->sharedBytes;
  if (!isValid) return Result(1);
  Fake& fake = Fake::only();
  const std::lock_guard<std::mutex> lock(fake.mutex);
  fake.launches.push_back(std::to_string(currentDevice()) + " " + function->name);
  return Result::success;
}

DRIVER Result cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t, int*) {
  *function = nullptr;
  if (version != kDriverFloor.version) return Result(1);
#define TW_ROW(entry, parameters) \
  if (std::strcmp(name, #entry) == 0) *function = reinterpret_cast<void*>(&entry);
  TW_DRIVER_FUNCTIONS(TW_ROW)
#undef TW_ROW
  return *function ? Result::success : Result::notFound;
}
