// Device memory before a launch, after it on one machine, and after it on the other.
#include "twins.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
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

// Relative to the number, or to the largest of its allocation, where terms cancel. Weights of 16 bits may round the
// other way, by 2^-9 of a weight.
constexpr float kTolerance = 0x1p-12f, kFloor = 0x1p-18f, kFloorOf16Bits = 0x1p-12f;

float floorOf(const std::string& kernel) {
  return kernel.find("float16") == std::string::npos ? kFloor : kFloorOf16Bits;  // bfloat16, too
}

// What is said when the program ends.
class Tally {
 public:
  void add(const std::string& kernel, uint64_t words, uint64_t apart) {
    const std::lock_guard<std::mutex> lock(mutex_);
    kernels_.insert(kernel);
    ++launches_;
    launchesApart_ += apart > 0;
    words_ += words;
    wordsApart_ += apart;
  }
  ~Tally() {
    if (launches_ == 0) return;
    std::printf("twins: %zu kernels; %s of %s launches left the same bits, and %s of %s words\n", kernels_.size(),
                std::to_string(launches_ - launchesApart_).c_str(), std::to_string(launches_).c_str(),
                std::to_string(words_ - wordsApart_).c_str(), std::to_string(words_).c_str());
  }

 private:
  std::mutex mutex_;
  std::set<std::string> kernels_;
  uint64_t launches_ = 0, launchesApart_ = 0, words_ = 0, wordsApart_ = 0;
} tally;

float largest(const std::vector<uint8_t>& bytes) {
  float most = 0;
  for (size_t at = 0; at + sizeof(float) <= bytes.size(); at += sizeof(float)) {
    float number;
    std::memcpy(&number, &bytes[at], sizeof number);
    if (std::isfinite(number)) most = std::max(most, std::fabs(number));
  }
  return most;
}

// Whether halves of 16 bits are both NaN in one of the formats: arithmetic in PTX makes one NaN of all, C++ keeps its
// bits.
bool areBothNan(uint16_t a, uint16_t b) {
  const auto isNan = [](uint16_t half, uint16_t infinity) { return (half & 0x7fff) > infinity; };
  return (isNan(a, 0x7c00) && isNan(b, 0x7c00)) || (isNan(a, 0x7f80) && isNan(b, 0x7f80));
}
// Whether halves of 16 bits are neighbours, in either format.
bool areNeighbours(uint16_t a, uint16_t b) {
  if (areBothNan(a, b)) return true;
  const auto place = [](uint16_t half) { return half & 0x8000 ? -int32_t(half & 0x7fff) : int32_t(half); };
  return std::abs(place(a) - place(b)) <= 1;
}

bool areClose(uint32_t a, uint32_t b, float floor) {
  const float x = floatOf(a), y = floatOf(b);
  const float allowed = std::max(std::max(std::fabs(x), std::fabs(y)) * kTolerance, floor);
  return std::fabs(x - y) <= allowed ||
         (areNeighbours(uint16_t(a), uint16_t(b)) && areNeighbours(uint16_t(a >> 16), uint16_t(b >> 16)));
}

std::string described(uint32_t bits) {
  char text[64];
  std::snprintf(text, sizeof text, "%08x (%g)", bits, double(floatOf(bits)));
  return text;
}

// Returns how many words differ; fails where one differs by more than it may.
uint64_t compare(const std::string& kernel, const Copy& first, Likeness likeness) {
  const uint8_t* second = dataOf(first);
  const size_t size = first.bytes.size();
  if (std::memcmp(first.bytes.data(), second, size) == 0) return 0;
  const float floor = largest(first.bytes) * floorOf(kernel);
  uint64_t apart = 0;
  for (size_t at = 0; at < size; at += sizeof(uint32_t)) {
    uint32_t a = 0, b = 0;  // the last may be shorter
    std::memcpy(&a, &first.bytes[at], std::min(sizeof a, size - at));
    std::memcpy(&b, second + at, std::min(sizeof b, size - at));
    if (a == b || (std::isnan(floatOf(a)) && std::isnan(floatOf(b)))) continue;
    ++apart;
    if (likeness == Likeness::compiled && areClose(a, b, floor)) continue;
    throw Error("the machines differ at byte " + std::to_string(at) + " of " + std::to_string(size) + ": " +
                described(a) + " and " + described(b));
  }
  return apart;
}

// The kernels of selection ask for fmaf(), which is fused on both machines, and for no function that compilers write
// out. In others it is nvcc who fuses.
bool isExactAnyway(const std::string& kernel) { return kernel.rfind("selection/", 0) == 0; }

void runBoth(const std::string& name, const LocalKernel& first, const LocalKernel& second, const Grid& grid,
             Options options, const void* params, Likeness likeness) {
  const std::vector<Copy> before = copyOf(*options.memory);
  if (isExactAnyway(name)) likeness = Likeness::exact;
  first.run(grid, options, params);
  const std::vector<Copy> after = copyOf(*options.memory);
  for (const Copy& copy : before) std::memcpy(dataOf(copy), copy.bytes.data(), copy.bytes.size());
  options.roundsProducts = likeness == Likeness::compiled;
  second.run(grid, options, params);
  uint64_t words = 0, apart = 0;
  for (const Copy& copy : after) {
    words += (copy.bytes.size() + 3) / 4;
    apart += compare(name, copy, likeness);
  }
  tally.add(name, words, apart);
}

}  // namespace

FindKernel twins(FindKernel findFirst, FindKernel findSecond, Likeness likeness) {
  return [findFirst = std::move(findFirst), findSecond = std::move(findSecond), likeness](
             const std::string& module, const std::string& name) -> LocalKernel {
    const LocalKernel first = findFirst(module, name), second = findSecond(module, name);
    if (!first.run || !second.run) return {};
    if (first.threads != second.threads || first.paramBytes != second.paramBytes) {
      throw Error("the machines have other declarations of the kernel");
    }
    const auto run = [name = module + "/" + name, first, second, likeness](const Grid& grid, const Options& options,
                                                                           const void* params) {
      runBoth(name, first, second, grid, options, params, likeness);
    };
    return {first.threads, first.paramBytes, run};
  };
}

}  // namespace tilewise::emulator
