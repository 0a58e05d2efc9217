// EncodeProblem: rows of keys and values on pages become codes in blocks of a tier, and blocks of codes become those of
// a tier with fewer bits. Reader: backend authors. Where codes are is said in core/store/coded_keys.h, what they are in
// core/store/code_groups.h.
#pragma once

#include "../base/dtype.h"
#include "../base/operand.h"
#include "../base/placed.h"
#include "../store/code_groups.h"
#include "../store/coded_keys.h"
#include "../store/page_slots.h"

namespace tilewise {

// Rows [first, first + count) of a block, which are the tokens in slots [slot, slot + count) of the list. Per channel
// they are whole groups. No row is in two runs.
struct EncodedRun {
  int32_t block, first, count, slot;
};

// A block of the wider tier, and the block that it becomes; no block twice.
struct NarrowedBlock {
  int32_t from, to;
};

// The keys, or the values, of one head of a block.
struct CodeBlock {
  const CodeForm* form;
  uint8_t* data;

  TW_HOST_DEVICE uint8_t* row(Token i) const { return data + int64_t(i) * form->rowBytes; }
  TW_HOST_DEVICE float* scales() const { return reinterpret_cast<float*>(data + form->scalesAt); }
  TW_HOST_DEVICE float* mins() const { return reinterpret_cast<float*>(data + form->minsAt); }
  TW_HOST_DEVICE int64_t scaleCount() const {
    return form->axis == CodeAxis::channel ? int64_t(form->tokens / form->group) * form->dim
                                           : int64_t(form->groupsOfToken()) * form->tokens;
  }
};

// Blocks of one tier, [count][heads][keys, then values].
struct CodeBlocks {
  CodeForm keys, values;  // of dim 0: there are none
  Placed<uint8_t> data = nullptr;
  int32_t count = 0;

  TW_HOST_DEVICE int64_t headBytes() const { return keys.bytes + values.bytes; }
  TW_HOST_DEVICE int64_t bytes(int32_t heads) const { return count * heads * headBytes(); }
  TW_HOST_DEVICE CodeBlock at(bool areKeys, int32_t block, int32_t heads, int32_t head) const {
    uint8_t* const first = data + (int64_t(block) * heads + head) * headBytes();
    return areKeys ? CodeBlock{&keys, first} : CodeBlock{&values, first + keys.bytes};
  }
};

struct EncodeProblem {
  int32_t heads = 0;
  bool isSymmetric = false;  // per token, of 8 bits: one scale for both signs
  CodeBlocks to;

  // Rows that become codes.
  DType type = DType::float32;
  Operand keys, values;  // the pages
  PageSlots slots;
  int64_t slotCount = 0;
  const EncodedRun *keyRuns = nullptr, *valueRuns = nullptr;
  int64_t keyRunCount = 0, valueRunCount = 0;

  // Blocks of more bits that become blocks of fewer: alike in all else.
  CodeBlocks wide;
  const NarrowedBlock* narrowed = nullptr;
  int64_t narrowedCount = 0;

  bool isEmpty() const { return keyRunCount + valueRunCount + narrowedCount == 0; }
};

}  // namespace tilewise
