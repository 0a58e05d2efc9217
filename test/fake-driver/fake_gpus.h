// The GPUs behind the fake driver: their memory, what a call must find there, failures on demand, and the report at the
// end. Reader: someone who adds a scenario; fake_driver.cc, which alone includes this, says what can be set.
#pragma once

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
