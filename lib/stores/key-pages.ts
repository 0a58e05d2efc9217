// KeyPages: the keys of one layer of a cache, where they are, for selectors and statistics. Reader: someone who selects pages
// while generating. It is a view: an append, truncate or fork of the cache makes it out of date,
// and is refused while a call reads it.

import { mismatch } from '../call/shape.js';
import type { TensorLike } from '../tensor/types.js';
import type { HostView, View } from '../tensor/views.js';

/** What is kept of each page: [pages, 1, kvHeads, ...]. */
export interface PageSummaries {
  /** The largest number of each channel, then the smallest, of the keys' type: 2 * headDim. */
  readonly bounds: TensorLike;
  /** The mean of each channel, float32: headDim. */
  readonly means: TensorLike;
  /** For each sequence the places of its full pages among them. */
  readonly table: TensorLike;
}

/** Made by KvCache.keyPages() and KvPool.keyPages(). */
export class KeyPages {
  /** [pages, pageSize, kvHeads, headDim] */
  readonly #keys: View;
  /** For each sequence its pages, as far as its length reaches. */
  readonly table: HostView;
  readonly pageSize: number;
  /** Keys of each sequence. */
  readonly keyLengths: Int32Array;
  /** Of a cache with `pageSummaries`. */
  readonly summaries: PageSummaries | undefined;
  readonly #hold: () => () => void;
  readonly #areCodes: boolean;

  /**
   * @param areCodes whether older keys are codes: only `summaries` and the last page can be read
   * @internal
   */
  constructor(
    keys: View,
    { table, pageSize }: { table: HostView; pageSize: number },
    keyLengths: Int32Array,
    summaries: PageSummaries | undefined,
    hold: () => () => void,
    areCodes: boolean,
  ) {
    this.#areCodes = areCodes;
    this.#keys = keys;
    this.table = table;
    this.pageSize = pageSize;
    this.keyLengths = keyLengths;
    this.summaries = summaries;
    this.#hold = hold;
  }

  /** Keeps the cache from changing them while an asynchronous call reads them; returns what ends that. @internal */
  hold(): () => void {
    return this.#hold();
  }

  /** What attention() and attentionStats() are told of them. @internal */
  get told(): { pages: { table: TensorLike; pageSize: number }; keyLengths: Int32Array } {
    if (this.#areCodes) {
      throw mismatch(
        '`k` must be of a cache without `format`: of this one older keys are codes, and only questPageScores() chooses by their bounds',
      );
    }
    return { pages: { table: this.table as TensorLike, pageSize: this.pageSize }, keyLengths: this.keyLengths };
  }

  /** The keys, [pages, pageSize, kvHeads, headDim] or in the order of a layout. @internal */
  keysAs(layout: 'bnhd' | 'bhnd' | undefined): View {
    if (layout !== 'bhnd') return this.#keys;
    const swap = ([page, token, head, dim]: readonly number[]) => [page, head, token, dim];
    return { ...this.#keys, dims: swap(this.#keys.dims), strides: swap(this.#keys.strides) };
  }
}
