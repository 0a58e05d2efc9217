// Requests: what crossed from lib/, unpacked into a problem of core/op.
// Reader: someone who asks what native code trusts. Nothing: lib/ has checked everything with better messages, and
// every count, stride and extent is checked again here, so that no argument, however made, makes a backend touch
// foreign memory. One exception: block lists on a device, which only a selection writes there, are not read back.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "../../core/op/any_problem.h"
#include "../memory/device_buffer.h"

namespace tilewise {

// A typed array among the views of a request: its slot, its memory, and the buffer that has it.
struct LentArray {
  uint32_t slot;
  const void* data;
  int64_t bytes;
  napi_value buffer;  // as long as the request is read and started
};

// One call, and what its problem points to as far as JavaScript does not keep it. Only moves, and lists stay where they
// are.
struct Request {
  Request() = default;
  Request(Request&&) = default;

  size_t device = 0;
  AnyProblem problem;
  std::vector<Held> held;
  std::vector<LentArray> lent;
  // Copies: the caller could change the originals under a running call, and their entries are row numbers. An empty
  // std::list takes no memory and moves without any; a std::deque allocates twice for each.
  std::list<std::vector<int32_t>> lists;
  std::list<CodedKeys> codes;
};

}  // namespace tilewise
