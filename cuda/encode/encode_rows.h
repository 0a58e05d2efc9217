// Rows of one head as codes, a block of threads for each run: first the scale and the minimum of every group, a thread
// for each, then codes, four bytes a thread. Reader: see core/op/encode.h for the rule. Bound by memory; rows are read
// twice.
#pragma once

#include "../tiles/row_piece.h"
#include "packed_codes.h"
#include "params.h"

namespace tilewise::cuda {

template <class E>
class RowEncoder {
 public:
  __device__ __forceinline__ RowEncoder(const EncodeProblem& p, bool areKeys, const EncodedRun& run, int32_t head)
      : p_(p),
        rows_(areKeys ? p.keys : p.values),
        run_(run),
        head_(head),
        to_(p.to.at(areKeys, run.block, p.heads, head)) {}

  __device__ __forceinline__ void encode() const {
    const CodeForm& form = *to_.form;
    const bool isChannel = form.axis == CodeAxis::channel;
    // Groups are [rows / group][dim] or [rows][dim / group].
    const int32_t columns = isChannel ? form.dim : form.groupsOfToken();
    const int32_t groups = (isChannel ? run_.count / form.group : run_.count) * columns;
    for (int32_t i = int32_t(thread_index()); i < groups; i += kEncodeThreads) {
      if (isChannel) {
        writeScale(i / columns * form.group, 1, i % columns, 0);
      } else {
        writeScale(i / columns, 0, i % columns * form.group, 1);
      }
    }
    sync_block();
    const int32_t words = wordsOf(form);
    for (int32_t i = int32_t(thread_index()); i < run_.count * words; i += kEncodeThreads) {
      const int32_t row = i / words;
      wordsAt(to_.row(run_.first + row))[i % words] =
          packedCodes(form, i % words, [&](int32_t d) { return code(row, d); });
    }
  }

 private:
  __device__ __forceinline__ float number(int32_t row, int32_t channel) const {
    const E* const from = static_cast<const E*>(rows_.data) + p_.slots.offset(rows_, run_.slot + row, head_);
    return RowPiece<E>::numberOf(from[channel * rows_.dim]);
  }

  // The scale of a group that begins at a row and channel, and whose numbers are so many rows or channels apart.
  __device__ __forceinline__ void writeScale(int32_t row, int32_t rowStep, int32_t channel, int32_t channelStep) const {
    const CodeForm& form = *to_.form;
    float least = number(row, channel), most = least, flaw = least * 0;
#pragma unroll 1
    for (int32_t i = 1; i < form.group; ++i) {
      const float x = number(row + i * rowStep, channel + i * channelStep);
      least = smaller(least, x);
      most = larger(most, x);
      flaw += x * 0;
    }
    const GroupScale group = p_.isSymmetric ? GroupScale::symmetric(larger(-least, most), flaw)
                                            : GroupScale::between(least, most, flaw, form.bits);
    const int64_t at = form.scaleAt(run_.first + row, channel);
    to_.scales()[at] = group.scale;
    to_.mins()[at] = group.min;
  }

  __device__ __forceinline__ uint32_t code(int32_t row, int32_t channel) const {
    const int64_t at = to_.form->scaleAt(run_.first + row, channel);
    const GroupScale group = GroupScale::kept(to_.scales()[at], to_.mins()[at], p_.isSymmetric);
    return group.codeOf(number(row, channel), codeLevels(to_.form->bits));
  }

  const EncodeProblem& p_;
  const Operand& rows_;
  const EncodedRun run_;
  const int32_t head_;
  const CodeBlock to_;
};

template <class E>
__device__ __forceinline__ void encodeRows(const EncodeParams& params) {
  const EncodeProblem& p = params.problem;
  const int64_t item = params.firstBlock + block_index(), index = item / p.heads;
  const bool areKeys = index < p.keyRunCount;
  const EncodedRun run = areKeys ? p.keyRuns[index] : p.valueRuns[index - p.keyRunCount];
  RowEncoder<E>(p, areKeys, run, int32_t(item % p.heads)).encode();
}

}  // namespace tilewise::cuda
