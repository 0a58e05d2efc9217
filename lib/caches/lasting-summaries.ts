// Summaries of pages that outlive the pages: bounds and means of a layer whose older keys are codes. Reader: someone who follows
// `pageSummaries` of a cache with `format`. A page is summarised when it is full and its keys are still exact.

import type { PageSummaries } from '../stores/key-pages.js';
import type { TensorLike } from '../tensor/types.js';
import type { View } from '../tensor/views.js';
import type { KvRun } from './kv-run.js';
import { KvSummaries, type SummarySizes } from './kv-summaries.js';
import { PageCounts, type PageHold } from './page-counts.js';

/** Rows of summaries, counted by who refers to them. */
export class LastingSummaries {
  readonly counts = new PageCounts();
  readonly rowBytes: number;
  readonly #sizes: SummarySizes;
  readonly #rows: KvSummaries;

  constructor(sizes: SummarySizes) {
    this.#sizes = sizes;
    this.#rows = new KvSummaries(sizes);
    this.#rows.reserve(0, 1);
    this.rowBytes = KvSummaries.bytesOf(sizes);
  }

  /** Makes sure that so many more pages can be summarised. */
  reserve(count: number): void {
    this.#rows.reserve(0, Math.max(this.counts.made, this.counts.taken + count));
  }

  /** Summarises the pages that a run has filled up and `of` has no rows for; they were reserved. */
  write({ pages }: PageHold, run: KvRun, keys: View): void {
    const { pageSize } = this.#sizes;
    const [full, to]: [number[], number[]] = [[], []];
    for (let page = pages.length; (page + 1) * pageSize <= run.lengthOf(0); ++page) {
      full.push(run.pageOf(page * pageSize));
      to.push(this.counts.take());
    }
    this.#rows.write(0, keys, full, to);
    pages.push(...to);
  }

  /** Lets go of those of pages that are no longer full. */
  truncate({ pages }: PageHold, length: number): void {
    for (const row of pages.splice(Math.floor(length / this.#sizes.pageSize))) this.counts.release(row);
  }

  of(table: TensorLike): PageSummaries {
    return this.#rows.of(0, table);
  }
}
