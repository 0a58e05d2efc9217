// A case of staging: a call through the backend does what it does on the CPU. Reader: the checks beside it.
#pragma once

#include <deque>
#include <vector>

#include "../../../cpu/backend.h"
#include "../check.h"
#include "disturber.h"
#include "host_operations.h"

namespace tilewise {

// The same call on the CPU and through the backend leaves the same memory.
inline void compare(Backend& backend, const AnyProblem& p, const Disturber& disturber) {
  const CancelFlag cancel{false};
  const auto before = disturber.snapshot();
  cpu::backend().run(p, cancel);
  const auto expected = disturber.snapshot();
  disturber.restore(before);
  const size_t blocks = machine.blocks();
  areRowsLaidOut = disturber.isAllOnHost();
  backend.run(p, cancel);
  CHECK(disturber.snapshot() == expected, "%s: the memory differs", nameOfCase.c_str());
  CHECK(machine.blocks() == blocks, "%s: device memory is left over", nameOfCase.c_str());
}

// Buffers of numbers, from `least` quarters on, for the arrays of a problem; they live as long as this does.
class Numbers {
 public:
  explicit Numbers(Disturber& disturber, int least = 0) : disturber_(disturber), least_(least) {}
  float* operator()(int64_t count) {
    std::vector<float>& x = buffers_.emplace_back(size_t(count));
    for (float& one : x) one = float(least_ + disturber_.pick(9)) / 4;
    return x.data();
  }

 private:
  Disturber& disturber_;
  int least_;
  std::deque<std::vector<float>> buffers_;
};

}  // namespace tilewise
