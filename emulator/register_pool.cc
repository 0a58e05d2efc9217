// Numbers of registers: what is allowed, and what is left.
#include "register_pool.h"

#include <algorithm>

namespace tilewise::emulator {
namespace {

constexpr uint32_t kWarpsPerGroup = 4, kThreadsPerGroup = 128;
constexpr uint32_t kRegisterFile = 65536, kStep = 8, kMostPerThread = 248;  // a launch's; setmaxnreg goes to 256

}  // namespace

RegisterPool::RegisterPool(uint32_t threads)
    : perThread_(std::min(kMostPerThread, kRegisterFile / threads / kStep * kStep)),
      warpgroups_((threads + kThreadsPerGroup - 1) / kThreadsPerGroup),
      counts_(warpgroups_.size() * kWarpsPerGroup) {}

std::string RegisterPool::set(uint32_t warp, uint32_t registers, bool isMore) {
  const std::string asked = std::to_string(registers) + " registers";
  if (registers < 24 || registers > 256 || registers % kStep != 0)
    return asked + ", not a multiple of 8 from 24 to 256";
  std::vector<Asked>& before = warpgroups_[warp / kWarpsPerGroup];
  const size_t turn = counts_[warp]++;
  if (turn < before.size()) {
    const bool agrees = before[turn].registers == registers && before[turn].isMore == isMore;
    return agrees ? "" : asked + ", where another warp of the warpgroup asked for others";
  }
  const uint32_t owned = before.empty() ? (isMore ? 0 : perThread_) : before.back().registers;
  if (isMore ? registers < owned : registers > owned) {
    return asked + (isMore ? " are no increase of " : " are no decrease of ") + std::to_string(owned);
  }
  before.push_back({registers, isMore});
  uint32_t sum = 0;
  for (const std::vector<Asked>& warpgroup : warpgroups_) {
    if (warpgroup.empty()) return "";  // it has not said yet
    sum += warpgroup.back().registers;
  }
  // The pool is what the launch allocated: at most what its number of threads allows, for each warpgroup.
  const uint32_t pool = perThread_ * uint32_t(warpgroups_.size());
  if (sum <= pool) return "";
  return "the warpgroups want " + std::to_string(sum) + " registers of " + std::to_string(pool) +
         ", per thread and summed";
}

std::string RegisterPool::faultAtEnd() const {
  for (size_t warp = 0; warp < counts_.size(); ++warp) {
    if (counts_[warp] != warpgroups_[warp / kWarpsPerGroup].size()) {
      return "warp " + std::to_string(warp) + " missed a setmaxnreg of its warpgroup";
    }
  }
  return "";
}

}  // namespace tilewise::emulator
