// Rules of the addon that turn documents, slices and positions into ranges: what goes in and what comes out.
// Reader: someone who follows a builder of lib/patterns into core/pattern, where each rule has a file.

/** Rows of ranges as RangesPattern has them, list by list. */
export interface NativeRanges {
  offsets: Int32Array;
  bounds: Int32Array;
}

/** core/pattern/document_ranges.h. */
export interface DocumentRules {
  /** Running totals of each list of documents. */
  starts: readonly Int32Array[];
  causal: boolean;
  /** 0: none. */
  blockCausal: number;
  prefix: number;
  shared: boolean;
  lastSeesAll: boolean;
  globalTokens: number;
  left: number;
  right: number;
}

/** core/pattern/slice_ranges.h. */
export interface SliceRules {
  queries: number;
  /** Per list [query, query end, key, key end, 1 causal + 2 inverse causal] of every slice. */
  slices: readonly Int32Array[];
}

/** core/pattern/position_ranges.h, with a `block` core/pattern/power_ranges.h. */
export interface PositionRules {
  queries: number;
  keys: number;
  /** Rows of positions, of one batch entry or of each: where query 0 is among the keys, or lists of all tokens. */
  offsets: Int32Array;
  ofQueries: Int32Array | undefined;
  ofKeys: Int32Array | undefined;
  /** Of a window: one number, or one per list of ranges. */
  left: Int32Array;
  right: Int32Array;
  sinkTokens: Int32Array;
  /** 0: it is a window. */
  block: number;
  window: number;
  sinkBlocks: number;
}
