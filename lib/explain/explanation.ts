// The types of explain(): the shape it takes, its options, and what it answers.
// Reader: someone who reads a field of an explanation. No code: words, pictures and counts all import these.

import type { Similarity } from '../ops/attention/similarity.js';
import type { RotaryOptions } from '../ops/rotary/frequencies.js';
import type { MaskDocuments, MaskPattern } from '../patterns/mask-pattern.js';
import type { PerAxis } from '../patterns/neighborhood.js';
import type { TokenPositions } from '../patterns/positions.js';
import type { SelectionCost } from '../selectors/hierarchical-bound.js';
import type { KvFormat } from '../stores/kv-format.js';
import type { DeviceName } from '../tensor/devices.js';
import type { IntegerList } from '../tensor/integers.js';
import type { FloatType, TensorLike } from '../tensor/types.js';

/** The sizes of a call. */
export interface ExplainShape {
  /** Default 1. */
  batch?: number;
  queryHeads: number;
  kvHeads: number;
  /** Queries and keys, or `tokens` for both. */
  queries?: number;
  keys?: number;
  /** Lengths of the token axes, outermost first: one to three for a neighborhood, which needs them. */
  tokens?: number | readonly number[];
  headDim: number;
  /** Default headDim. */
  valueDim?: number;
  /** Default 'float32'. */
  dtype?: FloatType;
  /** Type of keys and values; default `dtype`, under float32 any. */
  keyDtype?: FloatType;
  /** As in attention(): `'cosine'` takes a workspace. */
  similarity?: Similarity;
  /** As in attention(): turned queries and keys take a workspace. */
  rotary?: RotaryOptions;
  /** Keys and values on pages of so many tokens: `pages` of attention(), a KvPool or a KvCache (256). */
  pageSize?: number;
  /** Keys and values of a KvCache of this `format`, on the CPU unless `device` says otherwise: `bytes` counts codes. Not for grids and `hierarchical()`. */
  format?: KvFormat;
  /**
   * With `pageSize` and a causal or full pattern of one query: it sees so many pages, as questPageScores() of a cache chooses them. Which
   * ones depends on the data; `selection` counts the choice, two products per page.
   */
  selectedPages?: number;
  /**
   * A ragged call, as KvPool.attention() makes it: queries of each sequence, with `keyLengths` and in place of `batch`, `queries`
   * and `keys`. For windows, strided shards and sampled blocks. Every sequence is counted by itself, and the counts are added up.
   */
  queryLengths?: IntegerList;
  /**
   * Keys of each sequence, likewise. Without `queryLengths`: keys in use per batch entry, as in attention(); not for
   * neighborhoods.
   */
  keyLengths?: IntegerList;
  /** The first key in use per batch entry, as in attention(). Not for neighborhoods, `hierarchical()` and ragged calls. */
  keyStarts?: IntegerList;
  /** As in attention(), in the process's memory: its numbers are read. Not for ragged calls. */
  mask?: TensorLike;
  /** [batch, keys] likewise; of a ragged call [sequences, keys of the longest]. */
  keyMask?: TensorLike;
  /**
   * As in attention(), in the process's memory: rows with 0 see nothing, and tiles of them alone are not counted. Of a ragged
   * call [queries of all, heads].
   */
  gate?: TensorLike;
  /** As in attention(). Not for ragged calls. */
  positions?: TokenPositions;
}

export interface ExplainOptions {
  /** As in attention(). */
  device?: DeviceName;
  /** Count by tiles of so many queries, a number or one per token axis, instead of those of the device. */
  queryTile?: PerAxis<number>;
  /** Keys per tile, likewise. */
  keyTile?: PerAxis<number>;
  /**
   * Where tiles of keys begin: `'static'` (default) at multiples of the tile, `'dynamic'` where the keys of their query
   * tile begin.
   */
  tiling?: 'static' | 'dynamic';
}

/** What a call costs. Tiles and pairs count one head, the mean where heads differ, all batch entries; the rest the whole call. */
export interface Explanation {
  /**
   * Dense tiles over visited tiles: what skipping can win, on average and for the query tile that wins least. Dynamic tiles
   * may be more than dense ones, so that it is below 1.
   */
  readonly idealSpeedup: {
    readonly average: number;
    readonly worst: number;
    /**
     * The average against dense attention with the pattern's own causal rule; absent where it has none. What a predicate
     * hides is no rule.
     */
    readonly overCausal?: number;
  };
  readonly tiles: {
    /** Tiles of the whole score matrix. */
    readonly dense: number;
    /**
     * Tiles with a visible key, which are computed. Tiles of which a mask hides all keys from all queries are left out where
     * the device does so, as `why` says.
     */
    readonly visited: number;
    /** Visited tiles that every query sees whole: these run without a mask. A tile that reaches past the keys is none. */
    readonly interior: number;
    /** What the query tile that visits most visits, and what it would visit of a dense matrix. */
    readonly worst: { readonly visited: number; readonly dense: number };
    /** Tokens per tile. */
    readonly shape: { readonly queries: number; readonly keys: number };
    /** The same along every token axis. */
    readonly queryTile: readonly number[];
    readonly keyTile: readonly number[];
    /** Why these tiles. */
    readonly why: string;
  };
  /**
   * (query, key) pairs: of the whole matrix, computed, and visible; `interior` are those computed without a mask. On the
   * device's own tiles `computed` is what its loop computes, which cuts visited tiles to the keys that some query of the
   * tile sees; on tiles of one's own it is visited tiles whole.
   */
  readonly pairs: {
    readonly dense: number;
    readonly computed: number;
    readonly interior: number;
    readonly useful: number;
  };
  /** 2 * visible pairs * (headDim + valueDim), over all heads. */
  readonly flops: number;
  /** q, k, v and out, each read or written once. */
  readonly bytes: number;
  /** The same without the keys and values that no query reads. */
  readonly bytesTouched: number;
  /**
   * Bytes at most that the call takes beside its tensors: with `similarity: 'cosine'` for lengths, of keys and on a GPU of queries, with
   * `rotary` for turned queries and keys.
   */
  readonly workspace?: number;
  /** Where heads see different keys: the first that computes the most pairs, and its counts for one batch entry. */
  readonly worstHead?: {
    readonly head: number;
    readonly visited: number;
    readonly computed: number;
    readonly useful: number;
    readonly idealSpeedup: number;
  };
  /**
   * hierarchical() and `selectedPages`: the cost of the selection at most, which `flops` does not include. `useful` and `flops` of such
   * a pattern are upper bounds too, and tiles are those of as many keys side by side. What a mask hides of the sinks and
   * the window is left out of `useful`; what is selected may all be visible.
   */
  readonly selection?: SelectionCost;
  /**
   * With a mask that says nothing but causal order and padding, and a pattern that hides nothing: options that hide the same
   * keys, as maskPattern() finds them. A call with them in place of the mask reads less.
   */
  readonly maskPattern?: MaskPattern | MaskDocuments;
  /**
   * The backend that would run the call, and why this one. `reasons`: one sentence for every device that cannot be used and
   * for everything that keeps this backend from running the problem.
   */
  readonly backend: { readonly name: string; readonly why: string; readonly reasons: readonly string[] };
  /** A few lines of text and a small picture. */
  toString(): string;
  /** A picture of the mask and of the tiles, as a document of its own. */
  toSVG(): string;
}

/** What an explanation counts. */
export type Counts = Omit<Explanation, 'toString' | 'toSVG'>;
