// A site: one attention of a graph, what is known of it, and how it is said in a call of attention().
// Reader: someone who reads the list that a model gives, or adds an exporter's form. No code: the words of this folder.

import type { BlocksPattern } from '../../../patterns/blocks.js';
import type { StridedShardsPattern } from '../../../patterns/strided-shards.js';
import type { WindowPattern } from '../../../patterns/window.js';
import type { Message } from '../message.js';

/** How a model writes attention. */
export type SiteKind =
  | 'decomposed'
  | 'Attention'
  | 'com.microsoft.Attention'
  | 'MultiHeadAttention'
  | 'GroupQueryAttention'
  /** An operator that says attention by its name alone. */
  | 'other';

/** What hides keys, as far as the model alone says it. */
export type MaskKind =
  | 'none'
  /** By an attribute, or by a constant of just that order. */
  | 'causal'
  /** Lengths of keys, or a constant that hides a first or last part of them. */
  | 'padding'
  /** Seen or not: true and false, or 0 and a very negative number. */
  | 'boolean'
  /** Numbers that are added to scores. */
  | 'additive';

/** A value that goes in or out. */
export interface Operand {
  readonly value: string;
  /** The part of the value that is meant, where queries, keys and values are one: elements [begin, end) of an axis. */
  readonly part?: { readonly axis: number; readonly begin: number; readonly end: number };
  /**
   * Which axes of the value are [batch, heads, tokens, dim], of five without the part's; absent: it is [batch, tokens, heads *
   * dim].
   */
  readonly order?: readonly number[];
}

/**
 * A value that is a mask: numbers that are added, true and false, or the whole numbers of com.microsoft's operators: a
 * `keyMask` is MultiHeadAttention's `key_padding_mask`, a `maskIndex` is Attention's `mask_index`.
 */
export interface SiteMask {
  readonly value: string;
  readonly as: 'bias' | 'mask' | 'keyMask' | 'maskIndex';
  /** Whether true hides, instead of showing. */
  readonly isInverted: boolean;
  /** Of all but a `bias`: the score of what is hidden. A row without keys is uniform if it is finite, and 0 otherwise. */
  readonly hidden: number;
}

/** Keys and values that a site keeps from run to run. Causal order then counts from the last key. */
export interface SiteCache {
  /** Of earlier runs; absent: every run begins with none. */
  readonly past?: { readonly k: Operand; readonly v: Operand };
  /** What the next run is fed; a value is '' where nobody reads it. */
  readonly present: { readonly k: Operand; readonly v: Operand };
  /**
   * Of a cache that the graph itself puts together: values that are the past with new ones behind it. Nobody makes them any
   * more, but what their lengths are may be asked.
   */
  readonly joined?: readonly { readonly value: string; readonly past: string; readonly fresh: string }[];
  /** As GroupQueryAttention counts: the last token's place in each sequence, [batch], and the tokens of the longest. */
  readonly counts?: { readonly lastPlaces: string; readonly total: string };
  /** Tables by which queries and new keys are turned, [positions, dims / 2]. */
  readonly rotary?: {
    readonly cos: string;
    readonly sin: string;
    readonly isInterleaved: boolean;
    /** [batch, tokens]; absent: tokens are counted. */
    readonly positions?: string;
  };
}

/** A site in words of attention(). */
export interface Swap {
  /** Nodes that make what is read here, and that the model has inside its operator: projections, their bias. */
  readonly before?: readonly Message[];
  readonly q: Operand;
  readonly k: Operand;
  readonly v: Operand;
  readonly out: Operand;
  readonly masks: readonly SiteMask[];
  /** Counted from the first key, as ONNX does without a cache; with `keyLengths` from the last of them. */
  readonly causal: boolean;
  /** A value [batch] with the number of keys in use per batch entry. */
  readonly keyLengths?: string;
  /** Newest keys that a query sees, its own included; absent: all. */
  readonly window?: number;
  /** Logits [heads] that take part in the softmax without a key; 'zero': one of 0 for each head. */
  readonly sinks?: { readonly value: string } | 'zero';
  readonly cache?: SiteCache;
  /** Absent: 1/sqrt(headDim). */
  readonly scale?: number;
  /** 0: none. */
  readonly softcap: number;
}

/** Patterns of sequences in which a query has a position. */
export type SitePattern = WindowPattern | StridedShardsPattern | BlocksPattern;

/** One attention of a graph. */
export interface Site {
  /** The operator's name, or its first output where it has none; of a decomposed one the Softmax. */
  readonly node: string;
  /** How the model writes it. */
  readonly kind: SiteKind;
  /** Heads of the queries; undefined where a run decides. */
  readonly queryHeads: number | undefined;
  /** Heads of keys and values, before exporters repeat them for heads of queries. */
  readonly kvHeads: number | undefined;
  /** Dim of queries and keys. */
  readonly headDim: number | undefined;
  /** Dim of values. */
  readonly valueDim: number | undefined;
  /** What hides keys, as far as the model alone says it. */
  readonly mask: MaskKind;
  /** How attention() says it; absent: it stays with onnxruntime, and `reason` says why. */
  readonly swap?: Swap;
  /** What takes the place of causal order, where fuse() was told so. */
  readonly pattern?: SitePattern;
  /** Why onnxruntime runs it. */
  readonly reason?: string;
}

/** Thrown by a matcher that knows an attention and cannot say it. */
export class Unswappable extends Error {}
