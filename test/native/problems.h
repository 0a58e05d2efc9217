// Random problems with exact-size buffers, each with its answer (answer.h), for the native checks.
// Buffers end where the tensor ends, so that a sanitizer sees any read past it.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "drawn_ranges.h"
#include "head_windows.h"

namespace tilewise {

class CaseMaker : public Draws {
 public:
  using Draws::Draws;

  std::unique_ptr<Case> make(int32_t queries, int32_t keys, int32_t headDim, int32_t valueDim) {
    auto made = draw(queries, keys, headDim, valueDim);
    answer(*made);
    return made;
  }

  // A problem without its answer, which takes most of the time.
  std::unique_ptr<Case> draw(int32_t queries, int32_t keys, int32_t headDim, int32_t valueDim) {
    return drawIf(queries, keys, headDim, valueDim, [](const AttentionProblem&) { return true; });
  }

  // Null, before any number is drawn, where the shape and the pattern are not those that are looked for.
  template <class IsAsked>
  std::unique_ptr<Case> drawIf(int32_t queries, int32_t keys, int32_t headDim, int32_t valueDim, IsAsked isAsked) {
    auto made = std::make_unique<Case>();
    Case& c = *made;
    AttentionProblem& p = c.problem;
    p.batch = p.sequences = int32_t(pick(2) + 1);
    p.pattern = pick(2) ? PatternKind::window : PatternKind(1 + pick(int32_t(PatternKind::blocks)));
    const int32_t group = int32_t(pick(3) == 0 ? 1 : pick(5) + 1);
    p.kvHeads = int32_t(pick(3) + 1);
    p.queryHeads = p.kvHeads * group;
    if (pick(6) == 0) std::swap(p.kvHeads, p.queryHeads);
    p.pairing = pick(2) ? Pairing::tile : Pairing::interleave;
    p.queries = queries;
    p.keys = keys;
    addPattern(c);
    p.headDim = headDim;
    p.valueDim = valueDim;
    p.dtype = DType(pick(3));
    p.keyType = keyTypeOf(p);
    if (!isAsked(p)) return nullptr;
    const bool isBnhd = pick(2) == 0;
    p.query = operand(c, p.dtype, p.queryHeads, p.queries, headDim, isBnhd);
    p.key = operand(c, p.keyType, p.kvHeads, p.keys, headDim, isBnhd);
    p.value = operand(c, p.keyType, p.kvHeads, p.keys, valueDim, isBnhd);
    p.out = operand(c, p.dtype, p.outputHeads(), p.queries, valueDim, isBnhd);
    p.lse = reinterpret_cast<float*>(buffer(c, int64_t(p.batch) * p.outputHeads() * p.queries * 4));
    p.lseBatch = int64_t(p.outputHeads()) * p.queries;
    p.lseHead = p.queries;
    p.lseToken = 1;
    p.scale = 1 / std::sqrt(float(headDim));
    if (pick(4) == 0) {
      p.extraTokens = pick(4) == 0 ? 200 : 1 + pick(20);
      p.extraKeys = operand(c, p.keyType, p.kvHeads, p.extraTokens, headDim, isBnhd);
      p.extraValues = operand(c, p.keyType, p.kvHeads, p.extraTokens, valueDim, isBnhd);
    }
    addOptions(c);
    if (p.pattern == PatternKind::window && pick(3) == 0) drawRanges(c, *this);
    return made;
  }

  // A few values become NaN or infinite: queries that see one must say so, the others must not. And one of float32 the
  // largest there is, which must not become infinite.
  void spoilValues(Case& c) {
    const AttentionProblem& p = c.problem;
    const int64_t count = int64_t(p.batch) * p.kvHeads * p.keys * p.valueDim;
    const float spoilt[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; count > 0 && i < 4; ++i) {
      const float x = i == 0 && p.keyType == DType::float32 ? std::numeric_limits<float>::max() : spoilt[pick(3)];
      set(p.value, p.keyType, int64_t(any()) % count, x);
    }
    answer(c);
  }

  // In every dim the value of another key is not finite: a query that wrongly sees or misses one shows it.
  void spoilEachDim(Case& c) {
    const AttentionProblem& p = c.problem;
    const float spoilt[] = {NAN, INFINITY, -INFINITY};
    for (int b = 0; p.keys > 0 && b < p.batch; ++b)
      for (int h = 0; h < p.kvHeads; ++h)
        for (int d = 0; d < p.valueDim; ++d)
          set(p.value, p.keyType, p.value.offset(b, pick(p.keys), h) + d, spoilt[pick(3)]);
    answer(c);
  }

  // One value in so many keys is not finite, which is about one in each tile: who looks for them must find any.
  void spoilEachTile(Case& c, int keys) {
    const AttentionProblem& p = c.problem;
    const float spoilt[] = {NAN, INFINITY, -INFINITY};
    for (int b = 0; p.valueDim > 0 && b < p.batch; ++b)
      for (int h = 0; h < p.kvHeads; ++h)
        for (int t = pick(keys); t < p.keys; t += keys)
          set(p.value, p.keyType, p.value.offset(b, t, h) + pick(p.valueDim), spoilt[pick(3)]);
    answer(c);
  }

  // In a quarter of the dims, queries become the largest number there is and keys small multiples of the least, or the
  // other way round: products stay as they were, if nothing overflows or is lost on the way.
  void stretchProducts(Case& c) {
    const AttentionProblem& p = c.problem;
    // Both types have these.
    const float largest = p.keyType == DType::float16    ? 65504.0f
                          : p.keyType == DType::bfloat16 ? 0x1.fep127f
                                                         : std::numeric_limits<float>::max();
    const float least = p.keyType == DType::float16 ? 0x1p-14f : std::numeric_limits<float>::min();
    const bool isOfQueries = pick(2);
    const auto number = [&](bool isLarge) { return isLarge ? largest : least * float(pick(7) - 3); };
    for (int d = pick(smaller(p.headDim, 4)); d < p.headDim; d += 1 + pick(7)) {
      fillDim(p, p.query, d, p.dtype, p.queryHeads, p.queries, [&] { return number(isOfQueries); });
      fillDim(p, p.key, d, p.keyType, p.kvHeads, p.keys, [&] { return number(!isOfQueries); });
      fillDim(p, p.extraKeys, d, p.keyType, p.kvHeads, p.extraTokens, [&] { return number(!isOfQueries); });
    }
    answer(c);
  }

  // Nothing is left but the pattern: the GPU has kernels of their own for that.
  void makePlain(Case& c) {
    AttentionProblem& p = c.problem;
    p.softcap = 0;
    p.cosine = {};
    p.activation = {};
    p.gate = {};
    p.extraTokens = 0;
    p.rules = {};
    answer(c);
  }

  // What exporters write: causal order, padding and a gap, as a mask or as a bias of 0 and -inf, for all heads or each.
  void addStructure(Case& c) {
    AttentionProblem& p = c.problem;
    const int32_t heads = pick(2) ? p.outputHeads() : 1;
    const int64_t perHead = int64_t(p.queries) * p.keys;
    ScoreOperand operand{nullptr, heads * perHead, heads > 1 ? perHead : 0, p.keys, 1};
    const bool isMask = pick(2);
    uint8_t* const mask = list<uint8_t>(c, isMask ? size_t(p.batch * heads * perHead) : 0);
    float* const bias = list<float>(c, isMask ? 0 : size_t(p.batch * heads * perHead));
    int64_t at = 0;
    for (int32_t i = 0; i < p.batch * heads; ++i) {
      const int32_t begin = pick(2) * pick(p.keys + 1), end = p.keys - pick(2) * pick(p.keys + 1);
      const int32_t gap = pick(p.keys + 1), gapEnd = gap + pick(2) * pick(p.keys + 1), isCausal = pick(2);
      for (int32_t q = 0; q < p.queries; ++q)
        for (int32_t k = 0; k < p.keys; ++k, ++at) {
          const bool isSeen =
              k >= begin && k < end && (k < gap || k >= gapEnd) && (!isCausal || k <= q + p.keys - p.queries);
          isMask ? void(mask[at] = isSeen) : void(bias[at] = isSeen ? 0 : -INFINITY);
        }
    }
    operand.data = isMask ? static_cast<const void*>(mask) : bias;
    isMask ? void(p.rules.mask = {operand}) : void(p.rules.bias = {{operand}});
    answer(c);
  }

  // A score of its own for every head, some of which outweigh all keys or none.
  void addSinks(Case& c) {
    AttentionProblem& p = c.problem;
    float* const sinks = list<float>(c, size_t(p.outputHeads()));
    const float unusual[] = {INFINITY, -INFINITY, 300, -300};
    for (int h = 0; h < p.outputHeads(); ++h) sinks[h] = pick(3) == 0 ? unusual[pick(4)] : 5 * number();
    p.sinks = sinks;
    p.sinksHead = 1;
  }

  // Entries of lists are sinks whole or not at all, and these begin anywhere.
  static bool takesAnySinks(const AttentionProblem& p) {
    return p.pattern != PatternKind::blocks || p.blocks.hasWindow;
  }

 private:
  void addPattern(Case& c) {
    AttentionProblem& p = c.problem;
    if (p.pattern == PatternKind::neighborhood) {
      Grid& g = p.grid;
      g.rank = 1 + pick(3);
      const int most = g.rank == 1 ? 200 : g.rank == 2 ? 16 : 7;
      p.queries = 1;
      for (int a = 0; a < g.rank; ++a) {
        g.length[a] = 1 + pick(most);
        g.dilation[a] = pick(3) ? 1 : 1 + pick(smaller(g.length[a], 5));
        g.kernel[a] = 1 + pick(g.length[a] / g.dilation[a]);
        g.stride[a] = pick(2) ? 1 : 1 + pick(g.kernel[a]);
        g.isCausal[a] = pick(4) == 0;
        p.queries *= g.length[a];
      }
      p.keys = p.queries;
    } else if (p.pattern == PatternKind::stridedShards) {
      ShardOptions& s = p.shards;
      s = {1 + pick(20), 1 + pick(4), 1 + pick(3), 1 + pick(5), pick(3), pick(5) - 2, pick(3), 1 + pick(3)};
      if (pick(3) == 0) s.firstDense = pick(4);
      s.isRelative = pick(5) == 0;
    } else if (p.pattern == PatternKind::blocks) {
      addLists(c);
    }
  }

  void addLists(Case& c) {
    AttentionProblem& p = c.problem;
    BlockLists& b = p.blocks;
    b.queries = 1 + pick(40);
    b.keys = 1 + pick(20);
    const int32_t heads = p.outputHeads(), kvHeads = smaller(p.kvHeads, p.queryHeads);
    b.headsPerList = pick(2) ? heads / kvHeads : pick(2) ? 1 : heads;
    const int32_t blocks = larger(1, ceilDiv(p.queries, b.queries)), listHeads = heads / b.headsPerList;
    b.byHead = blocks;
    b.byBatch = pick(2) ? 0 : int64_t(blocks) * listHeads;
    const size_t lists = size_t(b.byBatch ? p.batch : 1) * size_t(listHeads) * size_t(blocks);
    b.hasWindow = pick(2);
    int32_t *begins = list<int32_t>(c, lists), *counts = list<int32_t>(c, lists);
    std::vector<int32_t> starts;
    for (size_t i = 0; i < lists; ++i) {
      begins[i] = int32_t(starts.size());
      for (int32_t at = pick(30); at < p.keys; at += b.keys + (pick(2) ? 0 : pick(60))) starts.push_back(at);
      counts[i] = int32_t(starts.size()) - begins[i];
    }
    int32_t* entries = list<int32_t>(c, starts.size());
    std::copy(starts.begin(), starts.end(), entries);
    b.begins = begins;
    b.counts = counts;
    b.starts = entries;
    if ((p.queries + p.keys + p.queryHeads) % 3 == 0) addAddends(c, starts.size());
    if (pick(2)) return;
    int32_t* index = list<int32_t>(c, starts.size());
    for (size_t i = 0; i < starts.size(); ++i) index[i] = pick(3) - 1;
    const size_t size = size_t(b.queries) * size_t(b.keys);
    uint8_t* masks = list<uint8_t>(c, 2 * size);
    for (size_t i = 0; i < 2 * size; ++i) masks[i] = pick(2);
    b.maskIndex = index;
    b.masks = masks;
  }

  // A number for each entry, some of them 0. Draws none.
  void addAddends(Case& c, size_t entries) {
    float* addends = list<float>(c, entries);
    for (size_t i = 0; i < entries; ++i) addends[i] = 0.5f * float(i * 7 % 11) - 2;
    c.problem.blocks.addends = addends;
  }

  // One dim of every row.
  template <class Number>
  static void fillDim(const AttentionProblem& p, const Operand& o, int32_t dim, DType type, int32_t heads,
                      int32_t tokens, Number&& number) {
    for (int32_t b = 0; b < p.batch; ++b)
      for (int32_t h = 0; h < heads; ++h)
        for (int32_t t = 0; t < tokens; ++t) set(o, type, o.offset(b, t, h) + dim, number());
  }

  // Under float32 queries a third of the keys have 16 bits. Draws no number.
  static DType keyTypeOf(const AttentionProblem& p) {
    if (p.dtype != DType::float32) return p.dtype;
    const int kind = (p.queries + p.keys + p.headDim + p.queryHeads) % 6;
    return kind == 0 ? DType::float16 : kind == 1 ? DType::bfloat16 : DType::float32;
  }

  void addOptions(Case& c) {
    AttentionProblem& p = c.problem;
    if (pick(2)) p.window.right = pick(3) ? 0 : pick(9);
    if (pick(3) == 0) p.window.left = pick(40);
    if (pick(4) == 0) p.window.sinkTokens = pick(5);
    if (!takesAnySinks(p)) p.window.sinkTokens = 0;
    p.window.align = Align(pick(3));
    p.window.offset = pick(21) - 10;
    if (pick(5) == 0) p.softcap = 3;
    const int64_t scores = int64_t(p.batch) * p.outputHeads() * p.queries * p.keys;
    if (pick(4) == 0) {
      float* bias = reinterpret_cast<float*>(buffer(c, scores * 4));
      for (int64_t i = 0; i < scores; ++i) bias[i] = pick(10) == 0 ? -INFINITY : number();
      const int64_t perHead = int64_t(p.queries) * p.keys;
      p.rules.bias = {{{bias, p.outputHeads() * perHead, perHead, p.keys, 1}}};
    }
    if (pick(4) == 0) {  // one mask for all queries
      uint8_t* mask = reinterpret_cast<uint8_t*>(buffer(c, int64_t(p.batch) * p.keys));
      for (int64_t i = 0; i < int64_t(p.batch) * p.keys; ++i) mask[i] = pick(4) != 0;
      p.rules.mask = {{mask, p.keys, 0, 0, 1}};
    }
    const bool isGrid = p.pattern == PatternKind::neighborhood;
    if (isGrid && pick(3) == 0) {
      RelativeBias& relative = p.rules.relativeBias;
      int64_t size = 1;
      for (int a = kMaxRank - 1, axis = p.grid.rank - 1; axis >= 0; --a, --axis) {
        relative.reach[a] = p.grid.kernel[axis] - 1;
        relative.axis[a] = size;
        size *= 2 * p.grid.kernel[axis] - 1;
      }
      relative.head = size;
      float* values = list<float>(c, size_t(size * p.outputHeads()));
      for (int64_t i = 0; i < size * p.outputHeads(); ++i) values[i] = number();
      relative.data = values;
    }
    if (!isGrid && pick(5) == 0) {
      float* slopes = reinterpret_cast<float*>(buffer(c, p.outputHeads() * 4));
      for (int h = 0; h < p.outputHeads(); ++h) slopes[h] = 0.1f * float(h + 1);
      p.rules.alibiSlopes = {slopes, 0, 1};
    }
    if (pick(5) == 0) addSinks(c);
    if (!isGrid && pick(5) == 0) {
      int32_t* lengths = reinterpret_cast<int32_t*>(buffer(c, p.batch * 4));
      for (int b = 0; b < p.batch; ++b) lengths[b] = pick(p.keys + 1);
      p.keyLengths = lengths;
    }
    if (!isGrid && pick(5) == 0) {
      int32_t* starts = reinterpret_cast<int32_t*>(buffer(c, p.batch * 4));
      for (int b = 0; b < p.batch; ++b) starts[b] = pick((p.keyLengths ? p.keyLengths[b] : p.keys) + 1);
      p.keyStarts = starts;
    }
    if (pick(8) == 0) {
      uint8_t* mask = list<uint8_t>(c, size_t(p.batch) * p.keys);
      for (int64_t i = 0; i < int64_t(p.batch) * p.keys; ++i) mask[i] = pick(6) != 0;
      p.rules.keyMask = {{{mask, p.keys, 0, 0, 1}}};
    }
    if (p.rules.alibiSlopes.isPresent() && (p.queries + p.keys) % 2 == 0) addPositions(c);
    addActivation(p);
    addGate(c);
    addFactor(c);
    addCosine(p);
    c.name = "queries " + std::to_string(p.queries) + " keys " + std::to_string(p.keys) + " dims " +
             std::to_string(p.headDim) + "/" + std::to_string(p.valueDim) + " heads " + std::to_string(p.queryHeads) +
             "/" + std::to_string(p.kvHeads) + " " + nameOf(p.dtype) + "/" + nameOf(p.keyType) + " pattern " +
             std::to_string(int(p.pattern));
    if (p.pattern == PatternKind::window && pick(4) == 0) drawHeadWindows(c, [&](int n) { return pick(n); });
    // Borders that clip, of windows that no relative bias is for: they may be longer than their axes. Draws no number.
    if (isGrid && (p.queries + p.headDim + p.queryHeads) % 3 == 0) {
      p.grid.isClipped = true;
      if (!p.rules.relativeBias.isPresent()) p.grid.kernel[0] += p.queries % 7;
    }
  }

  // An activation other than softmax, of weights that are small where there are many. Draws no number.
  static void addActivation(AttentionProblem& p) {
    if (p.sinks || p.keys == 0 || p.extraTokens > p.keys) return;
    const int kind = (p.queries + 2 * p.keys + p.valueDim) % 11;
    if (kind == 0) p.activation.kind = ActivationKind::relu;
    if (kind == 1 || kind == 2) p.activation.kind = ActivationKind::sigmoid;
    p.activation.isBiasOfKeys = kind == 1;
    p.activation.bias = kind == 2 ? -4.0f : 0;
  }

  // A gate that closes rows in runs. Draws no number.
  void addGate(Case& c) {
    AttentionProblem& p = c.problem;
    const int kind = (3 * p.queries + p.keys + 5 * p.valueDim + p.headDim + p.queryHeads) % 9;
    if (kind > 2) return;
    const DType types[] = {DType::float32, DType::float16, DType::bfloat16};
    const float open[] = {1, 0.5f, -0.75f, -1};  // none makes errors larger
    const int32_t heads = p.outputHeads();
    Gate& gate = p.gate;
    gate = {nullptr, types[kind], int64_t(p.queries) * heads, heads, 1};
    gate.data = buffer(c, p.batch * gate.batch * sizeOf(gate.dtype));
    for (int64_t row = 0; row < p.batch * gate.batch; ++row) {
      const int64_t run = row / heads / (kind == 0 ? 100 : 7) + row % heads;
      set({const_cast<void*>(gate.data.data)}, gate.dtype, row, run % 2 == 0 ? 0 : open[row % 4]);
    }
  }

  // A factor on the scores of every pair or of every key, per head or per KV head. Draws no number.
  void addFactor(Case& c) {
    AttentionProblem& p = c.problem;
    if (p.queries == 0 || p.keys == 0 || (3 * p.queries + p.keys + p.headDim) % 7 != 0) return;
    ScoreFactor& factor = p.scoreFactor;
    factor.isOfKvHeads = p.queries % 2 == 0;
    factor.key = 1;
    factor.query = p.keys % 2 == 0 ? p.keys : 0;
    factor.head = factor.query > 0 ? int64_t(p.queries) * p.keys : p.keys;
    factor.batch = factor.head * (factor.isOfKvHeads ? p.kvHeads : p.outputHeads());
    float* values = list<float>(c, size_t(factor.batch * p.batch));
    for (int64_t i = 0; i < factor.batch * p.batch; ++i) values[i] = float(i * 37 % 41 - 20) / 16;
    factor.data = values;
  }

  // Products that are divided by lengths, times up to 8. Draws no number.
  static void addCosine(AttentionProblem& p) {
    p.cosine.isUsed = (p.queries + 5 * p.keys + 2 * p.headDim + p.queryHeads) % 9 == 0;
    if (p.cosine.isUsed) p.scale = float(1 + p.queries % 8);
  }

  // Positions that ascend, for the rules that count distances. Draws no number.
  void addPositions(Case& c) {
    AttentionProblem& p = c.problem;
    if (p.queries == 0 || p.keys == 0) return;
    const int32_t rows = p.keys % 3 == 0 ? 1 : p.batch;
    const auto positions = [&](Token tokens, auto&& positionOf) {
      int32_t* at = list<int32_t>(c, size_t(rows) * size_t(tokens));
      for (int32_t row = 0; row < rows; ++row)
        for (Token i = 0; i < tokens; ++i) at[row * tokens + i] = positionOf(i) + row;
      return at;
    };
    p.positions.ofQueries = positions(p.queries, [](Token i) { return i + i / 3; });
    p.positions.ofKeys = positions(p.keys, [](Token i) { return i - i / 4 - 2; });
    p.positions.queriesByBatch = rows == 1 ? 0 : p.queries;
    p.positions.keysByBatch = rows == 1 ? 0 : p.keys;
  }
};

}  // namespace tilewise
