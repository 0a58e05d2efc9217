// Blocks of codes as blocks of fewer bits, those of one head by a block of threads: codes are divided, and no number is
// made anew. Reader: see core/store/code_groups.h for the rule. Bound by memory.
#pragma once

#include "packed_codes.h"
#include "params.h"

namespace tilewise::cuda {

// The code of a channel in a row of codes.
__device__ __forceinline__ uint32_t codeIn(const uint8_t* row, const CodeForm& form, int32_t channel) {
  const int32_t chunk = channel / CodeForm::kChunk, fields = form.fields();
  const uint32_t byte = row[chunk / fields * CodeForm::kChunk + channel % CodeForm::kChunk];
  return (byte >> (chunk % fields * form.bits)) & ((1u << form.bits) - 1);
}

__device__ __forceinline__ void narrowBlocks(const EncodeParams& params) {
  const EncodeProblem& p = params.problem;
  const int64_t item = params.firstBlock + block_index(), index = item / p.heads;
  const int32_t head = int32_t(item % p.heads);
  const NarrowedBlock moved = p.narrowed[index / 2];
  const CodeBlock from = p.wide.at(index % 2 == 0, moved.from, p.heads, head);
  const CodeBlock to = p.to.at(index % 2 == 0, moved.to, p.heads, head);
  const CodeForm &wide = *from.form, &form = *to.form;
  const int32_t words = wordsOf(form);
  for (int32_t i = int32_t(thread_index()); i < form.tokens * words; i += kEncodeThreads) {
    const uint8_t* const row = from.row(i / words);
    wordsAt(to.row(i / words))[i % words] = packedCodes(
        form, i % words, [&](int32_t d) { return narrowedCode(codeIn(row, wide, d), wide.bits, form.bits); });
  }
  const float factor = codeLevels(wide.bits) / codeLevels(form.bits);
  for (int32_t i = int32_t(thread_index()); i < int32_t(to.scaleCount()); i += kEncodeThreads) {
    to.scales()[i] = from.scales()[i] * factor;
    to.mins()[i] = from.mins()[i];
  }
}

}  // namespace tilewise::cuda
