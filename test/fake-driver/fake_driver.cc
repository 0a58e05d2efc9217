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

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "../../cuda/runtime/abi.h"

using namespace tilewise::cuda;

struct CUctx_st {
  int device;
};
struct CUmod_st {
  int device;
  std::string content;  // of its image
};
struct CUfunc_st {
  CUmod_st* module;
  std::string name;
  int sharedBytes = 48 << 10;
};
struct CUstream_st {
  int device;
};
struct CUevent_st {
  int device;
};
struct CUmemPoolHandle_st {
  int device;
  uint64_t kept = 0;
};

namespace {

struct Fake {
  std::map<std::string, std::string> settings;
  std::vector<int> capabilities;
  std::mutex mutex;
  struct Memory {
    int device;
    size_t bytes;
  };
  std::map<uintptr_t, Memory> memory;
  std::map<std::string, int> calls;
  std::vector<std::string> launches;
  std::string misuse;  // the first thing that a real driver would not have taken
  Result sticky = Result::success;
  std::atomic<int> contextDepth{0};
  std::atomic<size_t> pinned{0};
  std::atomic<int> streams{0};

  Fake() {
    const char* text = std::getenv("TILEWISE_FAKE");
    std::istringstream list(text ? text : "");
    for (std::string entry; std::getline(list, entry, ';');) {
      const size_t at = entry.find('=');
      settings[entry.substr(0, at)] = entry.substr(at + 1);
    }
    std::istringstream devices(settings.count("devices") ? settings["devices"] : "80,80");
    for (std::string one; std::getline(devices, one, ',');) capabilities.push_back(std::stoi(one));
    std::atexit([] { only().report(); });
  }

  static Fake& only() {
    static Fake& fake = *new Fake;
    return fake;
  }

  int64_t number(const char* name, int64_t otherwise) const {
    const auto found = settings.find(name);
    return found == settings.end() ? otherwise : std::stoll(found->second);
  }

  void report() {
    const char* path = std::getenv("TILEWISE_FAKE_REPORT");
    std::FILE* file = path ? std::fopen(path, "w") : nullptr;
    if (!file) return;
    const std::lock_guard<std::mutex> lock(mutex);
    size_t bytes = 0;
    for (const auto& [_, block] : memory) bytes += block.bytes;
    std::fprintf(file, "{\"memory\": %zu, \"pinned\": %zu, \"streams\": %d, \"contexts\": %d, \"misuse\": \"%s\", ",
                 bytes, pinned.load(), streams.load(), contextDepth.load(), misuse.c_str());
    std::fprintf(file, "\"launches\": [");
    for (size_t i = 0; i < launches.size(); ++i) std::fprintf(file, "%s\"%s\"", i ? ", " : "", launches[i].c_str());
    std::fprintf(file, "], \"calls\": {");
    const char* comma = "";
    for (const auto& [name, count] : calls) {
      std::fprintf(file, "%s\"%s\": %d", comma, name.c_str(), count);
      comma = ", ";
    }
    std::fprintf(file, "}}\n");
    std::fclose(file);
  }
};

thread_local std::vector<CUctx_st*> stack;

void misuse(const std::string& what) {
  static std::mutex& mutex = *new std::mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  if (Fake::only().misuse.empty()) Fake::only().misuse = what;
}

// Counts a call and says whether it fails, by demand or because an earlier one left the context broken.
Result enter(const char* name, bool needsContext) {
  Fake& fake = Fake::only();
  const std::lock_guard<std::mutex> lock(fake.mutex);
  const int call = ++fake.calls[name];
  if (needsContext && stack.empty()) misuse(std::string(name) + " without a context");
  if (needsContext && fake.sticky != Result::success) return fake.sticky;
  const auto demand = fake.settings.find("fail");
  if (demand == fake.settings.end()) return Result::success;
  char which[64];
  int at = 0, result = 0;
  if (std::sscanf(demand->second.c_str(), "%63[^:]:%d:%d", which, &at, &result) != 3) return Result::success;
  if (std::strcmp(which, name) != 0 || call != at) return Result::success;
  if (result >= 700 && result < 720 && result != 701) fake.sticky = Result(result);
  return Result(result);
}

#define ENTER(needsContext) \
  if (const Result entered = enter(__func__, needsContext); entered != Result::success) return entered

int currentDevice() { return stack.empty() ? -1 : stack.back()->device; }

Result allocate(Address* address, size_t bytes) {
  Fake& fake = Fake::only();
  const std::lock_guard<std::mutex> lock(fake.mutex);
  size_t used = bytes;
  for (const auto& [_, block] : fake.memory) used += block.device == currentDevice() ? block.bytes : 0;
  if (bytes == 0) return Result(1);
  if (used > size_t(fake.number("memory", int64_t(1) << 34))) return Result::outOfMemory;
  void* data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(data, 0xa5, bytes);
  *address = uintptr_t(data);
  fake.memory[uintptr_t(data)] = {currentDevice(), bytes};
  return Result::success;
}

Result release(Address address) {
  Fake& fake = Fake::only();
  const std::lock_guard<std::mutex> lock(fake.mutex);
  const auto found = fake.memory.find(address);
  if (found == fake.memory.end()) {
    misuse("freed what was not allocated");
    return Result(1);
  }
  if (found->second.device != currentDevice()) misuse("freed in the context of another GPU");
  std::free(reinterpret_cast<void*>(uintptr_t(address)));
  fake.memory.erase(found);
  return Result::success;
}

// Whether the range is memory of the current GPU.
bool holds(Address address, size_t bytes) {
  Fake& fake = Fake::only();
  const std::lock_guard<std::mutex> lock(fake.mutex);
  const auto after = fake.memory.upper_bound(address);
  if (after == fake.memory.begin()) return false;
  const auto& [first, block] = *std::prev(after);
  return address + bytes <= first + block.bytes && block.device == currentDevice();
}

// What an image of one entry says, as CUDA 13's fatbinary writes it.
struct Fatbin {
  bool isPtx;
  int capability;
  std::string content;  // empty when it is packed
};

template <class T>
T at(const char* data, size_t offset) {
  T value;
  std::memcpy(&value, data + offset, sizeof(T));
  return value;
}

// False when it is something else.
bool read(const char* image, Fatbin& fatbin) {
  constexpr size_t kHeader = 16;
  if (at<uint32_t>(image, 0) != 0xba55ed50 || at<uint16_t>(image, 6) != kHeader) return false;
  const char* entry = image + kHeader;
  const auto kind = at<uint16_t>(entry, 0);
  const auto headerBytes = at<uint32_t>(entry, 4);
  const auto contentBytes = at<uint64_t>(entry, 8);
  if ((kind != 1 && kind != 2) || headerBytes < 64 || headerBytes + contentBytes != at<uint64_t>(image, 8))
    return false;
  const bool isPacked = at<uint32_t>(entry, 16) != 0;
  fatbin = {kind == 1, at<int32_t>(entry, 28), isPacked ? "" : std::string(entry + headerBytes, contentBytes)};
  return true;
}

void pause() {
  const int64_t milliseconds = Fake::only().number("slow", 0);
  if (milliseconds > 0) std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

}  // namespace

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
