// Requests: what crossed from lib/, unpacked into core's AttentionProblem and MergeProblem.
// Reader: someone who asks what native code trusts. Nothing: lib/ has checked everything with better messages, and
// every count, stride and extent is checked again here, so that no argument, however made, makes a backend touch
// foreign memory. One exception: block lists on a device, which only a selection writes there, are not read back.
#pragma once

#include <napi.h>

#include <cstdint>
#include <vector>

#include "../../core/op/merge.h"
#include "../../core/op/attention.h"
#include "../../core/op/selection.h"
#include "../call/device_buffer.h"

namespace tilewise {

// One attention call. Only moves: the problem points into the vectors' heap memory, which moves along.
struct AttentionRequest {
  AttentionRequest() = default;
  AttentionRequest(AttentionRequest&&) = default;

  size_t device = 0;
  AttentionProblem problem;
  std::vector<Held> held;
  // Copies: the caller could change the originals under a running call, and their entries are row numbers.
  std::vector<int32_t> cuQueries, cuKeys, keyLengths, blockBegins, blockCounts, blockStarts, blockMaskIndex, pageTable;
};

struct MergeRequest {
  size_t device = 0;
  MergeProblem problem;
  std::vector<Held> held;
};

struct SelectionRequest {
  SelectionRequest() = default;
  SelectionRequest(SelectionRequest&&) = default;

  size_t device = 0;
  SelectionProblem problem;
  std::vector<Held> held;
  std::vector<int32_t> keyLengths;  // a copy, as above
};

// All take (numbers: Float64Array, views: (TypedArray | device buffer | undefined)[]) and throw a RangeError with a
// code.
AttentionRequest readAttention(const Napi::CallbackInfo& info);
MergeRequest readMerge(const Napi::CallbackInfo& info);
SelectionRequest readSelection(const Napi::CallbackInfo& info);
// Sizes and pattern, no data: (numbers), and the views if the pattern has lists.
AttentionRequest readShape(const Napi::CallbackInfo& info);

// Refuses views on resizable buffers, which could lose their memory while an asynchronous call runs. A synchronous call
// cannot be interrupted by a resize.
void refuseResizable(const Napi::Env& env, const Napi::Value& views);

}  // namespace tilewise
