// CodedKeys: keys and values of older tokens as codes of 8, 4 or 2 bits, in blocks of a few tokens; newer ones are
// exact, on pages (PagedKeys). A number is code * scale + min. Reader: whoever loads keys, or writes them:
// lib/stores/codes.ts lays out the same bytes. Plain data, the same on host and device. Idea: KIVI (arXiv 2402.02750),
// keys per channel and values per token.
#pragma once

#include "../base/placed.h"

namespace tilewise {

// Which numbers share a scale and a minimum: consecutive tokens of one channel, or consecutive channels of one token.
enum class CodeAxis : int32_t { channel = 0, token = 1 };
constexpr CodeAxis kLastCodeAxis = CodeAxis::token;

// How the keys, or the values, of one head and block are kept: rows of codes, scales, minima, each on a cache line of
// its own.
struct CodeForm {
  static constexpr int32_t kChunk = 16;  // bytes of a row that belong together
  static constexpr int64_t kLine = 64;

  CodeAxis axis = CodeAxis::channel;
  int32_t bits = 8;
  int32_t dim = 0;
  int32_t group = 1;  // numbers that share a scale; divides the tokens of a block, or the dim
  Token tokens = 1;  // of a block

  // Where things are, once the form is known: layOut().
  int32_t channels = 0;  // of a row, those that only fill it up included
  int32_t rowBytes = 0;
  int64_t scalesAt = 0, minsAt = 0, bytes = 0;  // in bytes from a block's first; and of it

  // A chunk has the channels of kChunk * fields() in a row: byte i has channel i in its lowest bits, then kChunk + i,
  // and so on.
  TW_HOST_DEVICE int32_t fieldsLog2() const { return bits == 8 ? 0 : bits == 4 ? 1 : 2; }
  TW_HOST_DEVICE int32_t fields() const { return 1 << fieldsLog2(); }
  // Where in a row the code of a channel is: its byte, and the lowest of its bits there.
  TW_HOST_DEVICE int32_t byteOf(int32_t channel) const {
    return (channel / kChunk >> fieldsLog2()) * kChunk + channel % kChunk;
  }
  TW_HOST_DEVICE int32_t bitOf(int32_t channel) const { return (channel / kChunk & (fields() - 1)) * bits; }
  TW_HOST_DEVICE int32_t groupsOfToken() const { return dim / group; }
  // Scales, and minima, of a block are [tokens / group][dim], or [dim / group][tokens].
  TW_HOST_DEVICE int64_t scaleAt(Token row, int32_t channel) const {
    return axis == CodeAxis::channel ? int64_t(row / group) * dim + channel : int64_t(channel / group) * tokens + row;
  }

  TW_HOST_DEVICE void layOut() {
    const auto lines = [](int64_t size) { return ceilDiv(size, kLine) * kLine; };
    channels = ceilDiv(dim, kChunk * fields()) * kChunk * fields();
    rowBytes = channels / fields();
    const int64_t scales =
        axis == CodeAxis::channel ? int64_t(tokens / group) * dim : int64_t(groupsOfToken()) * tokens;
    scalesAt = lines(int64_t(tokens) * rowBytes);
    minsAt = scalesAt + lines(scales * 4);
    bytes = minsAt + lines(scales * 4);
  }
};

// Rows of one head, consecutive tokens of a block from row `first` on.
struct CodedRows {
  const CodeForm* form = nullptr;
  const uint8_t* codes = nullptr;  // of row 0 of the block
  const float *scales = nullptr, *mins = nullptr;
  Token first = 0;

  TW_HOST_DEVICE const uint8_t* row(Token i) const { return codes + int64_t(first + i) * form->rowBytes; }
  // Where among scales, and minima, that of a channel of row i is.
  TW_HOST_DEVICE int64_t scaleAt(Token i, int32_t channel) const { return form->scaleAt(first + i, channel); }
};

// Blocks whose codes have the same numbers of bits.
struct CodeTier {
  CodeForm keys, values;
  Placed<const uint8_t> data = nullptr;  // [blocks][heads][headBytes]
  int32_t blocks = 0;

  TW_HOST_DEVICE int64_t headBytes() const { return keys.bytes + values.bytes; }
};

struct CodedKeys {
  static constexpr int32_t kMostTiers = 3;

  CodeTier tiers[kMostTiers];
  Token blockTokens = 1;
  int32_t heads = 1;
  // Block i of sequence b is block n of tier t where table[b * tableBatch + i] is n * 4 + t.
  const int32_t* table = nullptr;
  int64_t tableBatch = 0;
  const int32_t *keyEnds = nullptr, *valueEnds = nullptr;  // tokens before these have codes, by sequence

  TW_HOST_DEVICE const int32_t* ends(bool areKeys) const { return areKeys ? keyEnds : valueEnds; }
  TW_HOST_DEVICE bool has(bool areKeys, int64_t b, Token token) const { return token < ends(areKeys)[b]; }
  // Where a token that has codes is.
  struct Place {
    int32_t tier, block;
    Token row;
  };
  TW_HOST_DEVICE Place placeOf(int64_t b, Token token) const {
    const Token index = token / blockTokens;
    const int32_t entry = table[b * tableBatch + index];
    return {entry & 3, entry >> 2, token - index * blockTokens};
  }
  // Rows from a token that has codes on, as far as endOfPart().
  TW_HOST_DEVICE CodedRows rows(bool areKeys, int64_t b, int32_t head, Token token) const {
    const Place place = placeOf(b, token);
    const CodeTier& tier = tiers[place.tier];
    const CodeForm& form = areKeys ? tier.keys : tier.values;
    const uint8_t* const at =
        tier.data + (int64_t(place.block) * heads + head) * tier.headBytes() + (areKeys ? 0 : tier.keys.bytes);
    return {&form, at, reinterpret_cast<const float*>(at + form.scalesAt),
            reinterpret_cast<const float*>(at + form.minsAt), place.row};
  }
  // Where keys and values stop being kept as those of a token are; at most `end`.
  TW_HOST_DEVICE Token endOfPart(int64_t b, Token token, Token end) const {
    const Token limits[] = {keyEnds[b], valueEnds[b]};
    for (const Token limit : limits) {
      if (token < limit) end = smaller(end, smaller(limit, (token / blockTokens + 1) * blockTokens));
    }
    return end;
  }
};

}  // namespace tilewise
