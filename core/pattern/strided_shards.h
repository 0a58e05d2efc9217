// StridedShards: S2, the sparsely-sharded pattern: a local window of blocks and one block in `stride` older ones,
// shifted from head to head so that the heads together see everything.
// Reader: someone who reads window.h next. Semantics: S2-Attention (arXiv 2407.17678) as dkernel, vLLM and
// onnxruntime's SparseAttention compute it (Phi-3-small); bidirectional by relative position as dkernel does.
#pragma once

#include "key_run.h"

namespace tilewise {

struct ShardOptions {
  Token blockSize = 1;  // tokens per block, of queries and keys alike
  Token localBlocks = 1;  // blocks of the window, the query's own included
  Token localBlocksRight = 1;  // relative: blocks of the window after the query's own, that one included
  Token vertStride = 1;  // one in so many older blocks stays visible
  int32_t headStep = 1;  // from layout to layout the shard moves by so many blocks
  int32_t headOffset = 0;
  int32_t headBase = 0;  // layout of the first head
  int32_t headsPerLayout = 1;
  int32_t firstDense = 0x7fffffff;  // layouts from here on see all blocks up to their own
  bool isRelative = false;  // both directions, by distance, the same for all heads
};

struct StridedShards {
  static constexpr int kRank = 1;
  static constexpr bool kIsGrid = false;
  static constexpr bool kIsDense = false;
  static constexpr bool kHasTokenMasks = false;
  static constexpr bool kHasAddends = false;
  static constexpr bool kMixesHeads = false;

  ShardOptions options;
  Token keys = 0;
  Token offset = 0;  // query q has position q + offset among the keys

  struct Sight {
    Token first, last;            // positions of the box's queries
    Token firstBlock, lastBlock;  // and their blocks
    Token remote;                 // smallest visible block far away: remote, remote + stride, ...
    int32_t remotes;              // how many of them are before the window
    Range window;                 // blocks among which every one is looked at
    bool isDense;
  };

  TW_HOST_DEVICE Sight look(int head, const Box<1>& queries) const {
    Sight s;
    s.first = queries.axis[0].begin + offset;
    s.last = queries.axis[0].end - 1 + offset;
    s.firstBlock = blockOf(s.first);
    s.lastBlock = blockOf(s.last);
    const int64_t layout = options.headBase + int64_t(head) / options.headsPerLayout;
    const int64_t shift = layout * options.headStep + options.headOffset;
    s.remote = Token(((-shift) % options.vertStride + options.vertStride) % options.vertStride);
    s.isDense = layout >= options.firstDense;
    const Token blocks = ceilDiv(keys, options.blockSize);
    s.window.end = options.isRelative ? blocks : clamp<Token>(s.lastBlock + 1, 0, blocks);
    const bool isAll = options.isRelative || s.isDense;
    s.window.begin = isAll ? 0 : clamp<Token>(s.firstBlock - options.localBlocks + 1, 0, s.window.end);
    s.remotes = larger<Token>(0, ceilDiv(s.window.begin - s.remote, options.vertStride));
    return s;
  }

  // The rule: does a query of this block see that block of keys, as far as blocks go.
  TW_HOST_DEVICE bool sees(const Sight& s, Token queryBlock, Token keyBlock) const {
    const Token back = queryBlock - keyBlock;
    if (options.isRelative) {
      const Token far =
          larger<Token>(0, back - options.localBlocks + 1) + larger<Token>(0, -back - options.localBlocksRight + 1);
      return far % options.vertStride == 0;
    }
    return back >= 0 && (back < options.localBlocks || keyBlock % options.vertStride == s.remote || s.isDense);
  }

  // One run per block, its number in at[0]. A block that nobody sees is empty; only relative distances have such.
  TW_HOST_DEVICE int32_t runs(const Sight& s) const { return s.remotes + s.window.size(); }
  TW_HOST_DEVICE KeyRun run(const Sight& s, int32_t i) const {
    const Token block = i < s.remotes ? s.remote + i * options.vertStride : s.window.begin + i - s.remotes;
    KeyRun run;
    run.at[0] = block;
    run.places = {block * options.blockSize, smaller((block + 1) * options.blockSize, keys)};
    if (!options.isRelative) return run;
    for (Token q = s.firstBlock; q <= s.lastBlock; ++q) {
      if (sees(s, q, block)) return run;
    }
    return run.within({run.places.begin, run.places.begin});
  }

  TW_HOST_DEVICE Cut cut(const Sight& s, const KeyRun& run) const {
    bool some = false, all = true;
    for (Token q = s.firstBlock; q <= s.lastBlock; ++q) {
      const bool one = sees(s, q, run.at[0]);
      some |= one;
      all &= one;
    }
    const Token never = run.places.begin;
    if (options.isRelative) return cutRun(run, {0, some ? keys : never}, {0, all ? keys : never});
    return cutRun(run, {0, some ? s.last + 1 : never}, {0, all ? s.first + 1 : never});
  }

  // No decode kernel of its own: it would be a sixth of all machine code for GPUs.
  TW_HOST_DEVICE PatternTraits traits() const {
    PatternTraits traits{"shards"};
    traits.headsAlike = options.isRelative ? 0 : options.headsPerLayout;
    traits.keyBlock = options.blockSize;
    traits.sparsity = options.vertStride;
    return traits;
  }
  TW_HOST_DEVICE int64_t headClass(int head) const {
    if (options.isRelative) return 0;
    const Sight sight = look(head, {{{0, 1}}});
    return sight.isDense ? -1 : sight.remote;
  }
  TW_HOST_DEVICE Token visitedKeys() const {
    return Token(smaller<int64_t>(keys, keys / options.vertStride + int64_t(options.localBlocks) * options.blockSize));
  }

 private:
  TW_HOST_DEVICE Token blockOf(Token position) const {
    return position >= 0 ? position / options.blockSize : -ceilDiv<Token>(-position, options.blockSize);
  }
};

}  // namespace tilewise
