// Four bytes of codes at a time: what a thread writes. Reader: the kernels of codes.
#pragma once

#include "../../core/op/encode.h"
#include "../prims/prims.h"

namespace tilewise::cuda {

// Word `word` of a row, of what codeOf(channel) says. A byte has channels that are a chunk apart, the first in its
// lowest bits; those behind the last are 0.
template <class CodeOf>
__device__ __forceinline__ uint32_t packedCodes(const CodeForm& form, int32_t word, CodeOf&& codeOf) {
  constexpr int32_t kChunk = CodeForm::kChunk;
  const int32_t fields = form.fields(), byte = 4 * word;
  int32_t channel = byte / kChunk * kChunk * fields + byte % kChunk;
  uint32_t packed = 0;
#pragma unroll 1
  for (int32_t f = 0; f < fields; ++f, channel += kChunk) {
#pragma unroll
    for (int32_t b = 0; b < 4; ++b) {
      if (channel + b < form.dim) packed |= codeOf(channel + b) << (8 * b + f * form.bits);
    }
  }
  return packed;
}

// Words of a row of codes.
__device__ __forceinline__ int32_t wordsOf(const CodeForm& form) { return form.rowBytes / 4; }
__device__ __forceinline__ uint32_t* wordsAt(uint8_t* row) { return reinterpret_cast<uint32_t*>(row); }

}  // namespace tilewise::cuda
