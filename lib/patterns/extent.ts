// Extent: the sizes of a call that lists of a pattern are spread over. Reader: someone who makes lists of blocks or of ranges.

export interface Extent {
  /** Sequences. */
  readonly batch: number;
  /** Heads of the output. */
  readonly heads: number;
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
}
