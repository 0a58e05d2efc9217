// Older keys and values of a problem as codes, newer ones on pages, for the native checks. Its numbers change: codes
// mean numbers that every type holds exactly, a few not finite ones among the values. Reader: someone who changes how
// codes are read (core/store/coded_keys.h). What nothing may read is NaN, and so are scales that no row has.
#pragma once

#include <cmath>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "draws.h"

namespace tilewise {

// Grids have no pages, and codes no lengths.
inline bool mayHaveCodes(const AttentionProblem& p) {
  return p.pattern != PatternKind::neighborhood && p.keys > 0 && p.headDim > 0 && p.valueDim > 0;
}

class Encoder {
 public:
  Encoder(Case& c, Draws& draws) : c_(c), p_(c.problem), draws_(draws) {}

  // Gives the problem its answer, too.
  void encode() {
    p_.cosine = {};
    chooseForms();
    placeBlocks();
    const bool areSpoilt = draws_.pick(4) == 0;
    forEachRow(true, [&](int32_t s, Token t, int32_t h) { writeRow(true, s, t, h, false); });
    forEachRow(false,
               [&](int32_t s, Token t, int32_t h) { writeRow(false, s, t, h, areSpoilt && draws_.pick(20) == 0); });
    answer(c_);
    moveToPages();
    p_.store.codes = new (draws_.buffer(c_, sizeof codes_)) CodedKeys(codes_);
    c_.name += " codes of " + std::to_string(tiers_) + " tiers, blocks of " + std::to_string(codes_.blockTokens);
  }

 private:
  int32_t divisorOf(int32_t n) {
    int32_t divisor = 1 + draws_.pick(n);
    while (n % divisor != 0) divisor = 1 + draws_.pick(n);
    return divisor;
  }
  Token lengthOf(int32_t s) const { return p_.keyLengths ? p_.keyLengths[s] : p_.keys; }

  void chooseForms() {
    const int32_t bits[] = {8, 4, 2}, groups[] = {1, 2, 4, 12, 16};
    const CodeAxis axis = CodeAxis(draws_.pick(2));
    const int32_t ofTokens = groups[draws_.pick(5)], ofKeys = divisorOf(p_.headDim), ofValues = divisorOf(p_.valueDim);
    tiers_ = 1 + draws_.pick(CodedKeys::kMostTiers);
    codes_.heads = p_.kvHeads;
    codes_.blockTokens = ofTokens * (1 + draws_.pick(4));
    for (int32_t t = 0; t < tiers_; ++t) {
      CodeForm keys, values;
      keys.axis = axis;
      keys.group = axis == CodeAxis::channel ? ofTokens : ofKeys;
      keys.dim = p_.headDim;
      values.axis = CodeAxis::token;
      values.group = ofValues;
      values.dim = p_.valueDim;
      for (CodeForm* form : {&keys, &values}) {
        form->bits = bits[draws_.pick(3)];
        form->tokens = codes_.blockTokens;
        form->layOut();
      }
      codes_.tiers[t].keys = keys;
      codes_.tiers[t].values = values;
    }
  }

  void placeBlocks() {
    const auto ends = [&] {
      int32_t* const list = draws_.list<int32_t>(c_, size_t(p_.sequences));
      for (int32_t s = 0; s < p_.sequences; ++s) list[s] = draws_.pick(4) ? draws_.pick(lengthOf(s) + 1) : lengthOf(s);
      return list;
    };
    codes_.keyEnds = ends();
    codes_.valueEnds = ends();
    codes_.tableBatch = ceilDiv(p_.keys, codes_.blockTokens) + draws_.pick(2);
    int32_t* const table = draws_.list<int32_t>(c_, size_t(p_.sequences * codes_.tableBatch));
    std::fill_n(table, p_.sequences * codes_.tableBatch, -1);
    for (int32_t i = ceilDiv(p_.keys, codes_.blockTokens) - 1; i >= 0; --i)
      for (int32_t s = 0; s < p_.sequences; ++s) {
        if (i * codes_.blockTokens >= larger(codes_.keyEnds[s], codes_.valueEnds[s])) continue;
        const int32_t t = draws_.pick(tiers_);
        table[s * codes_.tableBatch + i] = codes_.tiers[t].blocks++ * 4 + t;
      }
    codes_.table = table;
    for (int32_t t = 0; t < tiers_; ++t) {
      CodeTier& tier = codes_.tiers[t];
      const int64_t bytes = tier.blocks * codes_.heads * tier.headBytes();
      data_[t] = draws_.list<uint8_t>(c_, size_t(bytes));
      std::fill_n(data_[t], bytes, uint8_t(0xff));
      tier.data = data_[t];
    }
  }

  template <class Visit>
  void forEachRow(bool areKeys, Visit&& visit) {
    for (int32_t s = 0; s < p_.sequences; ++s)
      for (Token t = 0; t < codes_.ends(areKeys)[s]; ++t)
        for (int32_t h = 0; h < p_.kvHeads; ++h) visit(s, t, h);
  }

  // Draws a row's codes, and scales and minima that its groups do not have yet; the problem's row is what they mean.
  void writeRow(bool areKeys, int32_t s, Token token, int32_t head, bool isSpoilt) {
    const int32_t entry = codes_.table[s * codes_.tableBatch + token / codes_.blockTokens];
    const CodeTier& tier = codes_.tiers[entry & 3];
    const CodeForm& form = areKeys ? tier.keys : tier.values;
    uint8_t* const block =
        data_[entry & 3] + ((entry >> 2) * codes_.heads + head) * tier.headBytes() + (areKeys ? 0 : tier.keys.bytes);
    const Token row = token % codes_.blockTokens;
    const int32_t bits = form.bits, perChunk = 16 * 8 / bits, most = (1 << bits) - 1;
    const Operand& to = areKeys ? p_.key : p_.value;
    for (int32_t d = 0; d < form.dim; ++d) {
      const int64_t group =
          form.axis == CodeAxis::channel ? row / form.group * form.dim + d : d / form.group * form.tokens + row;
      float* const scale = reinterpret_cast<float*>(block + form.scalesAt) + group;
      float* const min = reinterpret_cast<float*>(block + form.minsAt) + group;
      if (std::isnan(*scale)) {
        *scale = std::ldexp(draws_.pick(2) ? 1.0f : 0.5f, 1 - bits);
        *min = isSpoilt && d == 0 ? INFINITY : -*scale * float(draws_.pick(most + 1));
      }
      const int32_t code = draws_.pick(most + 1);
      uint8_t& byte = block[row * form.rowBytes + d / perChunk * 16 + d % 16];
      const int32_t bit = d % perChunk / 16 * bits;
      byte = uint8_t((byte & ~(most << bit)) | code << bit);
      Draws::set(to, p_.keyType, to.offset(s, token, head) + d * to.dim, float(code) * *scale + *min);
    }
  }

  // Exact rows that are in use go to pages in any order.
  void moveToPages() {
    PagedKeys& pages = p_.store.paged;
    p_.store.kind = StoreKind::paged;
    pages.pageSize = 1 + draws_.pick(20);
    pages.tableBatch = ceilDiv(p_.keys, pages.pageSize);
    pages.pages = int32_t(pages.tableBatch) * p_.sequences;
    int32_t* const table = draws_.list<int32_t>(c_, size_t(pages.pages));
    for (int32_t i = 0; i < pages.pages; ++i) {
      const int32_t other = draws_.pick(i + 1);
      table[i] = table[other];
      table[other] = i;
    }
    pages.table = table;
    for (const bool areKeys : {true, false}) {
      Operand& operand = areKeys ? p_.key : p_.value;
      const Operand from = operand;
      const int32_t dim = areKeys ? p_.headDim : p_.valueDim;
      const int64_t element = sizeOf(p_.keyType), row = dim + 8 * draws_.pick(2);
      operand = {nullptr, pages.pageSize * p_.kvHeads * row, p_.kvHeads * row, row, 1};
      const int64_t bytes = pages.pages * operand.batch * element;
      char* const pool = draws_.buffer(c_, bytes);
      std::fill_n(pool, bytes, char(0xff));
      operand.data = pool;
      for (int32_t s = 0; s < p_.sequences; ++s)
        for (Token t = codes_.ends(areKeys)[s]; t < lengthOf(s); ++t)
          for (int32_t h = 0; h < p_.kvHeads; ++h) {
            const int32_t page = table[s * pages.tableBatch + t / pages.pageSize];
            std::memcpy(pool + operand.offset(page, t % pages.pageSize, h) * element,
                        static_cast<const char*>(from.data) + from.offset(s, t, h) * element, size_t(dim * element));
          }
    }
  }

  Case& c_;
  AttentionProblem& p_;
  Draws& draws_;
  CodedKeys codes_;
  int32_t tiers_ = 1;
  uint8_t* data_[CodedKeys::kMostTiers] = {};
};

}  // namespace tilewise
