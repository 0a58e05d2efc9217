// When copies of a thread land.
#include "async_copies.h"

#include <algorithm>
#include <cstring>

#include "access.h"

namespace tilewise::emulator {
namespace {

void land(uint8_t* shared, const AsyncCopies::Copy& copy) {
  uint8_t* to = shared + copy.to;
  if (copy.bytes > 0) std::memcpy(to, copy.from, copy.bytes);
  std::memset(to + copy.bytes, 0, AsyncCopies::kBytes - copy.bytes);
}

}  // namespace

void AsyncCopies::issue(uint8_t* shared, const Copy& copy, bool landsAtOnce) {
  if (landsAtOnce) {
    land(shared, copy);
  } else {
    std::memset(shared + copy.to, kPoison, kBytes);
    issued_.push_back({copy, committed_});
  }
}

uint32_t AsyncCopies::wait(uint8_t* shared, uint32_t pending) {
  const uint32_t complete = committed_ - std::min(committed_, pending);
  while (landed_ < issued_.size() && issued_[landed_].group < complete) land(shared, issued_[landed_++].copy);
  if (landed_ == issued_.size()) {
    issued_.clear();
    landed_ = 0;
  }
  return complete;
}

}  // namespace tilewise::emulator
