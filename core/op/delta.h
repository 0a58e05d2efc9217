// DeltaProblem: the gated delta rule. Per value head a state S of headDim x valueDim goes from token to token:
//   S = exp(decay_t) S_{t-1},   S_t = S + k_t (beta_t (v_t - k_t S))^T,   out_t = scale q_t S_t
// A token first forgets beta_t of what its key leads to, then takes the same part of its value up. Reader: backend
// authors. Idea: Gated Delta Networks (arXiv 2412.06464), chunks as in DeltaNet (2406.06484); heads as Qwen3-Next has.
#pragma once

#include "../base/box.h"
#include "../base/dtype.h"
#include "../base/operand.h"
#include "../base/placed.h"

namespace tilewise {

// Elements of a row, and tokens of a chunk, at most.
constexpr int32_t kMostDeltaDim = 4096, kMostDeltaChunk = 1024;

// A number per token and value head.
struct TokenNumbers {
  Placed<const float> data = nullptr;
  int64_t batch = 0, token = 0, head = 0;

  TW_HOST_DEVICE float at(int64_t b, Token t, int32_t h) const { return data[b * batch + t * token + h * head]; }
};

struct DeltaProblem {
  int32_t batch = 0;
  // Value head h reads key head h * keyHeads / valueHeads and has a state. Output head h, of as many as the larger of
  // queryHeads and valueHeads, reads query head h * queryHeads / outHeads() and the state of that part of the value
  // heads.
  int32_t queryHeads = 0, keyHeads = 0, valueHeads = 0;
  Token tokens = 0;
  int32_t headDim = 0, valueDim = 0;
  DType dtype = DType::float32;
  bool hasUnitRows = false;  // queries and keys are divided by their lengths first
  float scale = 1;
  int32_t chunk = 0;  // tokens that are computed as one; 0: the backend's choice
  Operand query, key, value, out;
  TokenNumbers beta, decay;  // decay: 0 or less, natural log, or absent; per head: its other strides are 0

  // [sequences][valueHeads][headDim][valueDim], row-major; may be the same memory.
  Placed<const float> stateIn = nullptr;
  Placed<float> state = nullptr;

  // Packed: running totals of the tokens of batch entry 0, on the host.
  const int32_t* cuSeqlens = nullptr;
  int32_t sequences = 0;  // batch, unless packed

  // Of q, k, beta and decay, each as often as columns are divided; of v and the outputs once, and of states.
  double bytesOf(int64_t columnBlocks) const {
    const double size = double(sizeOf(dtype)), all = double(batch) * tokens, floats = sizeof(float);
    const double states = double(stateIn != nullptr) + double(state != nullptr);
    const double numbers = valueHeads * floats * (decay.data ? 2 : 1);
    return all * double(columnBlocks) * ((double(queryHeads) + keyHeads) * headDim * size + numbers) +
           all * (double(valueHeads) + outHeads()) * valueDim * size + states * double(stateAt(sequences, 0)) * floats;
  }
  bool isEmpty() const { return !out.data && !state; }
  TW_HOST_DEVICE int32_t outHeads() const { return larger(queryHeads, valueHeads); }
  TW_HOST_DEVICE int32_t headsPerState() const { return outHeads() / valueHeads; }
  TW_HOST_DEVICE int32_t queryHead(int32_t outHead) const { return outHead / (outHeads() / queryHeads); }
  TW_HOST_DEVICE int32_t keyHead(int32_t valueHead) const { return valueHead / (valueHeads / keyHeads); }
  TW_HOST_DEVICE int64_t stateAt(int64_t sequence, int32_t head) const {
    return (sequence * valueHeads + head) * headDim * valueDim;
  }
  TW_HOST_DEVICE int64_t batchOf(int64_t sequence) const { return cuSeqlens ? 0 : sequence; }
  TW_HOST_DEVICE Range tokensOf(int64_t sequence) const {
    return cuSeqlens ? Range{cuSeqlens[sequence], cuSeqlens[sequence + 1]} : Range{0, tokens};
  }
};

}  // namespace tilewise
