// Device memory before a launch, after it on one machine, and after it on the other.
#include "twins.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "global_memory.h"
#include "half.h"

namespace tilewise::emulator {
namespace {

struct Copy {
  Memory::Allocation allocation;
  std::vector<uint8_t> bytes;
};

uint8_t* dataOf(const Copy& copy) { return reinterpret_cast<uint8_t*>(copy.allocation.begin); }

std::vector<Copy> copyOf(const Memory& memory) {
  std::vector<Copy> copies;
  for (const Memory::Allocation& allocation : memory.allocations()) {
    const auto* data = reinterpret_cast<const uint8_t*>(allocation.begin);
    copies.push_back({allocation, std::vector<uint8_t>(data, data + (allocation.end - allocation.begin))});
  }
  return copies;
}

bool isSame(const uint8_t* a, const uint8_t* b, size_t bytes) {
  if (std::memcmp(a, b, bytes) == 0) return true;
  float x, y;
  if (bytes != sizeof x) return false;
  std::memcpy(&x, a, sizeof x);
  std::memcpy(&y, b, sizeof y);
  return std::isnan(x) && std::isnan(y);
}

std::string described(const uint8_t* bytes) {
  float number;
  std::memcpy(&number, bytes, sizeof number);
  char text[64];
  std::snprintf(text, sizeof text, "%08x (%g)", bitsOf(number), double(number));
  return text;
}

void requireSame(const Copy& first) {
  const uint8_t* second = dataOf(first);
  const size_t size = first.bytes.size();
  if (std::memcmp(first.bytes.data(), second, size) == 0) return;
  for (size_t at = 0; at < size; at += sizeof(float)) {
    const size_t bytes = std::min(sizeof(float), size - at);
    if (isSame(first.bytes.data() + at, second + at, bytes)) continue;
    throw Error("the machines differ at byte " + std::to_string(at) + " of " + std::to_string(size) +
                (bytes < sizeof(float) ? "" : ": " + described(&first.bytes[at]) + " and " + described(second + at)));
  }
}

void runBoth(const LocalKernel& first, const LocalKernel& second, const Grid& grid, const Options& options,
             const void* params) {
  const std::vector<Copy> before = copyOf(*options.memory);
  first.run(grid, options, params);
  const std::vector<Copy> after = copyOf(*options.memory);
  for (const Copy& copy : before) std::memcpy(dataOf(copy), copy.bytes.data(), copy.bytes.size());
  second.run(grid, options, params);
  for (const Copy& copy : after) requireSame(copy);
}

}  // namespace

FindKernel twins(FindKernel findFirst, FindKernel findSecond) {
  return [findFirst = std::move(findFirst), findSecond = std::move(findSecond)](
             const std::string& module, const std::string& name) -> LocalKernel {
    const LocalKernel first = findFirst(module, name), second = findSecond(module, name);
    if (!first.run || !second.run) return {};
    if (first.threads != second.threads || first.paramBytes != second.paramBytes) {
      throw Error("the machines have other declarations of the kernel");
    }
    return {first.threads, first.paramBytes,
            [first, second](const Grid& grid, const Options& options, const void* params) {
              runBoth(first, second, grid, options, params);
            }};
  };
}

}  // namespace tilewise::emulator
