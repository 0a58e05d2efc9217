// The entry points of one element type: a kernel for each key feed, pattern and tile of dims. A problem runs in the
// next larger tile of dims; its rows are padded with zeros in shared memory alone. Reader: whoever adds a tile of dims
// (a line in TW_ATTENTION, hasTile() in launch_plan.cc), or gives a pattern more kernels than the gather that all have
// (a line in TW_ATTENTION_DIM, a trait of the pattern).
#pragma once

#include "../../prims/kernel.h"
#include "attend.h"
#include "wide_attend.h"
#include "../combine.h"
#include "../row_lengths.h"

#define TW_ATTENTION_KERNEL(feed, pattern, Pattern, type, E, dim)                 \
  TW_KERNEL(attention_##feed##_##pattern##_##type##_##dim, AttentionParams,       \
            (Layout<E, dim, Pattern, KeyFeed::feed>::kThreads),                   \
            (Layout<E, dim, Pattern, KeyFeed::feed>::kSizes.perMultiprocessor)) { \
    attend<Layout<E, dim, Pattern, KeyFeed::feed>>(p);                            \
  }

// Keys of 192 dims with values of 128, as MLA has them in prefill (DeepSeek-V2, arXiv 2405.04434).
#define TW_ATTENTION_192_128(type, E)                                                      \
  namespace tilewise::cuda {                                                               \
  TW_KERNEL(attention_stream_window_##type##_192_128, AttentionParams,                     \
            (Layout<E, 192, OneWindow, KeyFeed::stream, 128>::kThreads),                   \
            (Layout<E, 192, OneWindow, KeyFeed::stream, 128>::kSizes.perMultiprocessor)) { \
    attend<Layout<E, 192, OneWindow, KeyFeed::stream, 128>>(p);                            \
  }                                                                                        \
  }

#define TW_GATHER_KERNEL(pattern, Pattern, type, E, dim) TW_ATTENTION_KERNEL(gather, pattern, Pattern, type, E, dim)

// Tiles of windows and ranges alone: other patterns take the next larger one, and images stay small.
#define TW_WINDOW_DIM(type, E, dim)                            \
  TW_GATHER_KERNEL(window, WindowOrRanges, type, E, dim)       \
  TW_ATTENTION_KERNEL(stream, window, OneWindow, type, E, dim) \
  TW_ATTENTION_KERNEL(decode, window, WindowOrRanges, type, E, dim)

// Tiles of few dims: also of grids and lists. Shards, whose kernels are the largest, take the next larger one.
#define TW_SMALL_DIM(type, E, dim)                                     \
  TW_WINDOW_DIM(type, E, dim)                                          \
  TW_GATHER_KERNEL(neighborhood, Neighborhood<kMaxRank>, type, E, dim) \
  TW_GATHER_KERNEL(blocks, BlockList, type, E, dim)

// Tiles that every pattern has.
#define TW_ATTENTION_DIM(type, E, dim)                         \
  TW_PATTERNS(TW_GATHER_KERNEL, type, E, dim)                  \
  TW_ATTENTION_KERNEL(stream, window, OneWindow, type, E, dim) \
  TW_ATTENTION_KERNEL(decode, window, WindowOrRanges, type, E, dim)

// Lists of blocks have no registers for 256 dims where warps divide the keys (sm_100).
#define TW_BLOCKS_DIM(type, E, dim) TW_ATTENTION_KERNEL(decode, blocks, BlockList, type, E, dim)

// Rows of more dims than the largest tile has.
#define TW_WIDE_KERNEL(pattern, Pattern, type, E)                                                          \
  TW_KERNEL(attention_wide_##pattern##_##type##_1536, AttentionParams, (WideLayout<E, Pattern>::kThreads), \
            (WideLayout<E, Pattern>::kSizes.perMultiprocessor)) {                                          \
    attendWide<WideLayout<E, Pattern>>(p);                                                                 \
  }

// What runs before and after them. Effects are the same for all types: each module has what its calls launch.
#define TW_ATTENTION_HELPERS(type, E)                                                                     \
  TW_KERNEL(attention_combine_##type, AttentionParams, kCombineThreads, 8) { combine<E>(p); }             \
  TW_KERNEL(attention_lengths_##type, LengthParams, kLengthThreads, 8) { writeLengthFactors<E>(p); }      \
  TW_KERNEL(attention_effects_tokens_##type, EffectParams, kEffectThreads, 3) { noteEffects<Window>(p); } \
  TW_KERNEL(attention_effects_grid_##type, EffectParams, kEffectThreads, 3) { noteEffects<Neighborhood<kMaxRank>>(p); }

#define TW_ATTENTION(type, E)          \
  namespace tilewise::cuda {           \
  TW_SMALL_DIM(type, E, 32)            \
  TW_BLOCKS_DIM(type, E, 32)           \
  TW_BLOCKS_DIM(type, E, 64)           \
  TW_BLOCKS_DIM(type, E, 128)          \
  TW_ATTENTION_DIM(type, E, 64)        \
  TW_WINDOW_DIM(type, E, 96)           \
  TW_ATTENTION_DIM(type, E, 128)       \
  TW_WINDOW_DIM(type, E, 192)          \
  TW_ATTENTION_DIM(type, E, 256)       \
  TW_PATTERNS(TW_WIDE_KERNEL, type, E) \
  TW_ATTENTION_HELPERS(type, E)        \
  }
