// Sampled blocks: block lists that are drawn, a pair of blocks being kept with a probability of its distance. Host
// only. Reader: someone who follows sampledBlocks() to the lists of block_list.h, or repeats them elsewhere: a pair's
// draw depends on seed, layer, head and the two blocks, and on nothing else. Idea: PrFlashAttention.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "../base/philox.h"

namespace tilewise {

enum class KeepRule : int32_t { table, geometric, power };

// How probable it is that a block of queries keeps the block of keys so many blocks before it. Its own is kept always.
struct KeepProbability {
  KeepRule rule = KeepRule::table;
  double rate = 0;   // geometric: max(floor, rate^distance); power: (1 + distance)^-rate
  double floor = 0;  // of geometric
  std::vector<double> table;  // by distance; its last entry is that of all larger ones

  double at(Token distance) const {
    if (distance == 0) return 1;
    switch (rule) {
      case KeepRule::geometric: return larger(floor, std::pow(rate, double(distance)));
      case KeepRule::power: return std::pow(1.0 + distance, -rate);
      case KeepRule::table: break;
    }
    return table[size_t(smaller<int64_t>(distance, int64_t(table.size()) - 1))];
  }
};

struct SampledBlocks {
  Token block = 1;  // tokens, of queries and keys alike
  KeepProbability probability;
  uint64_t seed = 0;
  uint32_t layer = 0;
  uint32_t heads = 1;  // draws: heads of the output, or groups of them
  // Scores of a kept block get -ln of its probability: over the seeds, sums of weights are right on average (Horvitz
  // and Thompson's estimator).
  bool isUnbiased = false;
};

// The queries and keys of a sequence; query q is at position q + offset.
struct SampledSequence {
  Token queries, keys, offset;
};

// Lists as BlockLists reads them, [sequence][head][list of `queries` queries]; lists may share entries.
struct BlockSample {
  Token queries = 1;
  std::vector<int32_t> begins, counts, starts;
  std::vector<float> addends;  // none where all are 0
};

namespace sampling {

TW_HOST_DEVICE Token floorDiv(Token a, Token b) { return a >= 0 ? a / b : -ceilDiv(-a, b); }

// What is said of blocks at one distance.
struct OfDistance {
  double keepBelow;  // a draw of 32 bits keeps the block when it is below
  float addend;
};

// Appends what one block of queries keeps, ascending: of the blocks of keys [0, blocks), those up to its own.
inline void drawList(const SampledBlocks& s, uint32_t head, Token row, Token blocks,
                     const std::vector<OfDistance>& ofDistances, BlockSample& sample) {
  const Token end = smaller(row + 1, blocks);
  for (Token first = 0; first < end; first += 4) {
    const PhiloxWords bits = philox4x32({{uint32_t(first / 4), uint32_t(row), head, s.layer}}, s.seed);
    for (Token i = 0; i < smaller<Token>(4, end - first); ++i) {
      const Token block = first + i;
      const OfDistance& of = ofDistances[size_t(row - block)];
      if (double(bits.word[i]) >= of.keepBelow) continue;
      sample.starts.push_back(block * s.block);
      if (s.isUnbiased) sample.addends.push_back(of.addend);
    }
  }
}

}  // namespace sampling

// Draws the lists of sequences. A list is for the queries of one block of positions: where a sequence begins inside of
// a block, lists are for as many queries as divide all that is before a boundary.
inline BlockSample sampleBlocks(const SampledBlocks& s, const std::vector<SampledSequence>& sequences) {
  BlockSample sample;
  Token step = s.block, longest = 1, lastRow = 0;
  for (const SampledSequence& sequence : sequences) {
    step = std::gcd(step, std::abs(sequence.offset));
    longest = larger(longest, sequence.queries);
    lastRow = larger(lastRow, sampling::floorDiv(sequence.queries - 1 + sequence.offset, s.block));
  }
  sample.queries = smaller(step, longest);
  std::vector<sampling::OfDistance> ofDistances;
  for (Token distance = 0; distance <= lastRow; ++distance) {
    const double probability = s.probability.at(distance);
    ofDistances.push_back({std::ldexp(probability, 32), float(-std::log(probability))});
  }

  // What a row keeps of all keys that are in use, drawn once: [head][row, keys in blocks].
  struct Drawn {
    int32_t begin, count;
  };
  std::vector<std::unordered_map<int64_t, Drawn>> drawn(s.heads);
  const Token lists = ceilDiv(longest, sample.queries);
  for (const SampledSequence& sequence : sequences) {
    const Token blocks = ceilDiv(sequence.keys, s.block);
    for (uint32_t head = 0; head < s.heads; ++head) {
      for (Token list = 0; list < lists; ++list) {
        const Token row = sampling::floorDiv(list * sample.queries + sequence.offset, s.block);
        const bool isEmpty = row < 0 || list * sample.queries >= sequence.queries;
        const int64_t which = int64_t(row) << 32 | smaller(row + 1, blocks);
        const auto found = isEmpty ? drawn[head].end() : drawn[head].find(which);
        Drawn one{int32_t(sample.starts.size()), 0};
        if (found != drawn[head].end()) {
          one = found->second;
        } else if (!isEmpty) {
          sampling::drawList(s, head, row, blocks, ofDistances, sample);
          one.count = int32_t(sample.starts.size()) - one.begin;
          drawn[head].emplace(which, one);
        }
        sample.begins.push_back(one.begin);
        sample.counts.push_back(one.count);
      }
    }
  }
  const auto isNothing = [](float addend) { return addend == 0; };
  if (std::all_of(sample.addends.begin(), sample.addends.end(), isNothing)) sample.addends.clear();
  return sample;
}

}  // namespace tilewise
