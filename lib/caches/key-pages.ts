// Pages as selectors read them: which ones new tokens fill up, and the keys of a layer where they are. Reader: someone who follows
// keyPages() of a cache or a pool.

import { mismatch } from '../call/shape.js';
import { KeyPages } from '../stores/key-pages.js';
import { OwnPages } from '../stores/pages.js';
import type { TensorLike } from '../tensor/types.js';
import type { KvSizes } from './kv-pages.js';
import type { KvPart } from './kv-parts.js';
import type { Growth } from './kv-run.js';

/** The pages that new tokens of some runs fill up. */
export function filledPages(
  growths: readonly Growth[],
  counts: ArrayLike<number>,
  { pageSize }: Pick<KvSizes, 'pageSize'>,
): number[] {
  const pages: number[] = [];
  for (const [i, { first, slotOf }] of growths.entries()) {
    const end = first + counts[i];
    for (let last = first - (first % pageSize) + pageSize - 1; last < end; last += pageSize) {
      pages.push(Math.floor(slotOf(last) / pageSize));
    }
  }
  return pages;
}

/** The keys of a layer where they are. */
export function keyPagesOf(parts: readonly KvPart[], layer: number): KeyPages {
  const [{ pool, runs, horizon, codes }] = parts;
  if (codes && !codes.summaries) {
    throw mismatch('keyPages() of a cache with `format` needs `pageSummaries`: older keys are codes');
  }
  if (parts.length > 1 || horizon) {
    throw mismatch('keyPages() is for caches that keep all tokens: pages of one with `recentTokens` differ by head');
  }
  const { pageSize } = pool.sizes;
  const lengths = Int32Array.from(runs, (run) => run.lengthOf(layer));
  const perSequence = Math.ceil(lengths.reduce((most, length) => Math.max(most, length), 0) / pageSize);
  const table = new Int32Array(runs.length * perSequence).fill(-1);
  for (const [i, run] of runs.entries()) run.writeTable(layer, table, i * perSequence, true);
  const pages = new OwnPages(table, runs.length, pageSize);
  const tableOf = (data: Int32Array) => ({ type: 'int32', data, dims: [runs.length, perSequence] }) as TensorLike;
  const summaries = codes
    ? codes.summaries!.of(tableOf(codes.fullPages(perSequence)))
    : pool.summaries?.of(layer, tableOf(table));
  const hold = () => {
    const ends = runs.map((run) => run.read(layer));
    if (codes) ends.push(codes.read());
    return () => {
      for (const end of ends) end();
    };
  };
  return new KeyPages(pool.keysOf(layer), pages, lengths, summaries, hold, codes !== undefined);
}
