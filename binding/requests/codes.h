// How a request says where its quantised keys are: their form, a table of blocks, and how many tokens have codes.
// Reader: someone who changes core's CodedKeys. Part of attention's request; nothing happens where there are no tiers.
#pragma once

#include "../../core/op/attention.h"
#include "fields.h"
#include "reading.h"

namespace tilewise {

inline CodeForm readCodeForm(const Numbers& n, Field bits, Field group, CodeAxis axis, Token tokens, int32_t dim) {
  CodeForm form;
  form.axis = axis;
  form.tokens = tokens;
  form.dim = dim;
  form.bits = n.count(size_t(bits), "bits", 2);
  form.group = n.count(size_t(group), "group", 1);
  if (form.bits != 2 && form.bits != 4 && form.bits != 8) refuse(n.env(), "codes have 2, 4 or 8 bits");
  if ((axis == CodeAxis::channel ? tokens : dim) % form.group != 0)
    refuse(n.env(), "groups must divide what they are of");
  form.layOut();
  return form;
}

inline Placed<const uint8_t> readTier(Napi::Env env, const View& view, CodeTier& tier, int32_t heads) {
  if (!view.isPresent) refuse(env, "a tier has no codes");
  if (view.isDetached) refuseGone(env, "codes");
  if (reinterpret_cast<uintptr_t>(view.data) % (view.isOnDevice() ? CodeForm::kChunk : sizeof(float)) != 0)
    refuse(env, "codes are not aligned");
  tier.blocks = int32_t(smaller<int64_t>(kMaxTokens, view.bytes / (tier.headBytes() * heads)));
  return {reinterpret_cast<const uint8_t*>(view.data), view.isOnDevice()};
}

// The blocks of tokens that have codes must exist; other entries of the table may be anything.
inline void checkBlocks(Napi::Env env, const CodedKeys& codes, const AttentionProblem& p, int32_t tiers) {
  for (int32_t s = 0; s < p.sequences; ++s) {
    const Token end = larger(codes.keyEnds[s], codes.valueEnds[s]);
    if (end > p.keyLengths[s]) refuse(env, "codes reach beyond the keys");
    for (int64_t i = 0; i * codes.blockTokens < end; ++i) {
      const int32_t entry = codes.table[s * codes.tableBatch + i];
      if (entry < 0 || (entry & 3) >= tiers || (entry >> 2) >= codes.tiers[entry & 3].blocks) {
        refuse(env, "the table of codes names a block that does not exist");
      }
    }
  }
}

inline void readCodes(const Numbers& n, const Views& views, AttentionProblem& p, Request& request) {
  constexpr struct {
    Field keys, values;
    Slot data;
  } kTiers[CodedKeys::kMostTiers] = {{Field::keyBits0, Field::valueBits0, Slot::codes0},
                                     {Field::keyBits1, Field::valueBits1, Slot::codes1},
                                     {Field::keyBits2, Field::valueBits2, Slot::codes2}};
  const int32_t tiers = n.count(size_t(Field::codeTiers), "codeTiers");
  if (tiers == 0) return;
  if (tiers > CodedKeys::kMostTiers || p.store.isDense())
    refuse(n.env(), "codes have three tiers at most, next to pages");
  if (p.cosine.isUsed) refuse(n.env(), "codes have no lengths");
  CodedKeys codes;
  codes.heads = p.kvHeads;
  codes.blockTokens = n.count(size_t(Field::codeBlock), "codeBlock", 1);
  const auto axis = static_cast<CodeAxis>(n.whole(size_t(Field::keyCodeAxis), "an axis", 0, int32_t(kLastCodeAxis)));
  for (int32_t t = 0; t < tiers; ++t) {
    CodeTier& tier = codes.tiers[t];
    tier.keys = readCodeForm(n, kTiers[t].keys, Field::keyCodeGroup, axis, codes.blockTokens, p.headDim);
    tier.values =
        readCodeForm(n, kTiers[t].values, Field::valueCodeGroup, CodeAxis::token, codes.blockTokens, p.valueDim);
    tier.data = readTier(n.env(), views.at(kTiers[t].data), tier, codes.heads);
  }
  const auto perSequence = [&](Slot slot) {
    const int32_t* const list = readKeyLengths(n.env(), views, views.at(slot), p.sequences, p.keys);
    if (!list) refuse(n.env(), "codes need the numbers of tokens that have them");
    return list;
  };
  codes.keyEnds = perSequence(Slot::codedKeys);
  codes.valueEnds = perSequence(Slot::codedValues);
  const std::vector<int32_t>& table = views.keep(views.at(Slot::codeTable));
  codes.tableBatch = p.sequences == 0 ? 0 : int64_t(table.size()) / p.sequences;
  codes.table = table.data();
  for (int32_t s = 0; s < p.sequences; ++s) {
    const Token end = larger(codes.keyEnds[s], codes.valueEnds[s]);
    if (ceilDiv(end, codes.blockTokens) > codes.tableBatch) refuse(n.env(), "the table of codes is too short");
  }
  checkBlocks(n.env(), codes, p, tiers);
  p.store.codes = &request.codes.emplace_back(codes);
}

}  // namespace tilewise
