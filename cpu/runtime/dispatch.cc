// See dispatch.h.
#include "dispatch.h"

#include <atomic>

namespace tilewise::cpu {
namespace {

std::vector<const Kernels*> detect() {
  std::vector<const Kernels*> kernels;
#if defined(TILEWISE_X86)
  __builtin_cpu_init();
  // These also ask whether the operating system saves the registers.
  const bool hasAvx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool hasAvx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (hasAvx2 && hasAvx512) kernels.push_back(&kAvx512);
  if (hasAvx2) kernels.push_back(&kAvx2);
#elif defined(TILEWISE_NEON)
  kernels.push_back(&kNeon);
#endif
  kernels.push_back(&kPortable);
  return kernels;
}

std::atomic<const Kernels*>& active() {
  static std::atomic<const Kernels*> kernels{availableKernels().front()};
  return kernels;
}

}  // namespace

const std::vector<const Kernels*>& availableKernels() {
  static const auto* kernels = new std::vector<const Kernels*>(detect());
  return *kernels;
}

const Kernels& activeKernels() { return *active().load(std::memory_order_relaxed); }

bool activateKernels(const std::string& name) {
  for (const Kernels* kernels : availableKernels()) {
    if (name == kernels->name) {
      active().store(kernels, std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

bool hasByteProducts() {
#if defined(TILEWISE_X86)
  static const bool isThere = __builtin_cpu_supports("avx512vnni");
  return isThere;
#else
  return false;
#endif
}

#if defined(TILEWISE_COUNT_VISITS)
static std::atomic<int64_t> computedPairs{0}, unmaskedPairs{0};

void countVisit(int64_t pairs, bool isUnmasked) {
  computedPairs += pairs;
  if (isUnmasked) unmaskedPairs += pairs;
}
VisitCounts takeVisitCounts() { return {computedPairs.exchange(0), unmaskedPairs.exchange(0)}; }
#endif

}  // namespace tilewise::cpu
