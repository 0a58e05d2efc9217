// The numbers to tune in the CPU's attention loops, each with the measurement that chose it; 'budget' or 'not measured'
// where nothing did. Reader: whoever tunes. Plain numbers: the loops of every instruction set are compiled with them.
#pragma once

#include "../../core/base/platform.h"

namespace tilewise::cpu {

// Keys per block: K and V of a block stay in L2 for all panels of a tile, a panel's scores in L1. Up to D = 128, 96 to
// 256 are within 3 points of each other on Zen 3 (512 loses 4) and within 2 on Sapphire Rapids. Above: budget, not
// measured.
TW_HOST_DEVICE Token blockKeys(int32_t headDim, int32_t valueDim) {
  const int32_t dim = larger(headDim, valueDim);
  return dim <= 128 ? 192 : dim <= 256 ? 96 : 48;
}
// Dims of the first product that are taken in one go: queries of a panel and their scores stay in L1. Rows of up to
// kUnstripedDim are one strip.
constexpr int kStripDims = 128, kUnstripedDim = 256;
// Of so few panels, which read what is staged once or twice: 96 keys against 192 take 0.88 and 0.97 of the time (1 and
// 2 panels, 2048 keys, D = 128, AVX-512; AVX2 0.96), 64 and 48 as much.
constexpr Token kFewPanelKeys = 96;
constexpr int kFewPanels = 2;
constexpr Token kMostBlockKeys = 2 * 192;  // grids take twice as many

// Queries per tile, of `rows` in each of `heads` independent heads: as many as leave every thread a few tiles to take
// and keep the tile's queries and outputs near 768 KB. Taller tiles share each staged block more widely (AVX2): 256
// against 96 is worth 3 to 7 points at 512 tokens, 384 against 192 1 to 2 at 2048, 768 against 384 another 0 to 2. The
// choice changes no bit of the result, so it may depend on the threads.
TW_HOST_DEVICE Token tileQueries(int64_t rows, int64_t heads, int32_t dims, int threads, int panel) {
  constexpr int64_t kTallest = 768, kShortest = 64, kFloats = 768 * 256;
  const int64_t tilesPerHead = ceilDiv<int64_t>(4 * int64_t(threads), larger<int64_t>(1, heads));
  const int64_t tallest = clamp<int64_t>(kFloats / dims, 2 * kShortest, kTallest);
  return Token(clamp(rows / tilesPerHead, kShortest, tallest)) / panel * panel;
}

// Heads that share a tile, at most, where they have one bias, and queries of each in it, at least: queries and outputs
// of all of them stay near 768 KB. 4 heads take 0.89 of the time of one, 2 take 0.96 (2048 tokens, 8 heads, D = 64,
// AVX-512).
constexpr int32_t kHeadsTogether = 4;
constexpr Token kQueriesTogether = 240;

// Rows of a head from which wider panels pay, where a target has them: 4 to 9 % from 2048 rows on (AVX-512), even at
// 1024, 6 to 15 % slower at 128, where 48 lanes divide nothing.
constexpr int64_t kWideFromRows = 1536;

// Rows of a tile of the sparse one-dimensional patterns, if a block of their queries is that long: S2 with blocks of 64
// runs at 75, 78, 82 and 82 % of the FMA peak with 64, 128, 256 and 512.
constexpr int64_t kSparseQueries = 256;

// Tiles of ranges, whose runs are planned for them: as tall as dense ones, whole panels of every width, at least so
// many tiles in all. Rows whose ranges differ by more keys than this are a jump. Documents (2048 tokens, 8 heads, D =
// 64 and 128) take 0.99 of the time of packed ones with 512 queries and narrow panels, 1.06 with 240 or 768 and wide
// ones; power() with blocks of 256 (16k) 0.96 of the time with 256 and narrow panels.
constexpr Token kTallestRanges = 768, kRangePanels = 96, kLeastJump = 64;
constexpr int64_t kRangeTiles = 32;

// Keys and values of narrow windows are read where they are: each key is seen by fewer panels than this, and copying it
// costs more than the copy saves. Windows of 128, 512 and 1024 gain 4, 1 and 2 points (D = 64); float16, which is
// converted anyway, would lose 2.
constexpr int kInPlacePanels = 80;

// Tiles with more panels than this pack their values: the copy is shared by all of them. With 4 panels (blocks of 64
// queries, AVX2) packing costs 2 to 10 points of the FMA peak.
constexpr int kPackFromPanels = 4;
// Runs of fewer keys than this are gathered into one piece if all panels see them: products of a few keys waste half
// a register tile. Not measured.
constexpr int kGatherBelow = 16;

// Grids: what a run of keys costs in addition to its keys, in keys. Not measured.
constexpr double kRunOverhead = 1;
// Most panels of a tile of a grid: neighbours find their shared keys in the cache. 16 against 1 gains 11 % at 7x7, 16 %
// at 13x13. Grids are cut into at least so many tiles.
constexpr int64_t kGridPanels = 16, kGridTiles = 8;

// An interior shorter than this is not worth a stretch of its own: products of a few keys waste half a register tile,
// masking them costs two comparisons each (7x7 neighborhoods: 4 to 8 % of the time).
constexpr Token kLeastInterior = 16;

// Keys whose scores are left out, left alone or changed by the score rules as one: with fewer, more of a mask's edge is
// left out; sums of weights are cut alike for any multiple of 4. Not measured.
constexpr Token kEffectKeys = 32;
// Keys whose scores are changed by the score rules at once, a multiple of every register tile's: their table is in L1,
// and what the rules read is requested while their products are computed.
constexpr int kRuleKeys = 96;
// What heads may keep of each other's looks at masks, in bytes: 64k tokens of causal rows. Budget.
constexpr int64_t kMostEffectBytes = int64_t(16) << 20;

// Decode: rows of one KV head up to which dims are in the lanes, whatever the vector: above, more than half of a
// slice's time went into sums across lanes. 8 rows in the lanes of AVX2 are 9 (float32) to 30 % (float16) slower.
constexpr int kDotsUpTo = 8;
// Decode takes several queries where its rows, padded, cost less than panels, padded: so much more a row (AVX2,
// AVX-512: 1.03 to 1.2). It takes them too where so few heads leave threads idle and keys can be split.
constexpr double kDecodeRowCost = 1.15;
constexpr int kDecodeMostRows = 64;
constexpr int64_t kFewHeads = 4;
// Keys per softmax step: one of 8 keys costs half of one of 64.
constexpr int kDecodeKeys = 64;
// How far ahead of the key being read the next ones are requested, in bytes of rows, and in keys at most. A whole piece
// ahead, into L2, is 10 to 30 % slower.
constexpr int kPrefetchBytes = 4096, kMostAhead = 32;
// Keys per work item of a split decode, and the most items a head is split into: the merge buffer stays a bounded
// multiple of the output. Not measured.
constexpr Token kDecodeChunk = 512;
constexpr Token kDecodeMaxChunks = 64;
// Bytes of one token's heads that are read together, and KV heads at most: not measured. Two panels at most do so, too:
// 8 and 16 queries of 32 / 8 heads over 16k keys, tokens first, take 0.77 and 0.8 of the time of a head at a time
// (float32, D = 128, AVX-512; a half of that is from leaving keys in place).
constexpr int64_t kBesideBytes = 4096;
constexpr int kMostBundle = 64;

// Keys whose lengths are an item of a job: enough that beginning one costs nothing. Not measured.
constexpr Token kLengthKeys = 1024;

}  // namespace tilewise::cpu
