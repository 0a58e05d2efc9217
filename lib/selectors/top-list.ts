// Lists of the best entries of a row of scores, with some that are taken whatever their score. Reader: someone who asks what a
// selector's budget counts: forced entries are in it, and of equal scores the smaller index is taken.

import { keptOf } from './top-keys.js';

/**
 * `budget` entries of a row, ascending.
 * @param scores of the entries that there are; NaN counts as the largest number
 * @param forced which entries are taken in any case; no more than `budget`
 */
export function topList(scores: Float32Array, budget: number, forced: (index: number) => boolean): Int32Array {
  if (budget >= scores.length) return Int32Array.from(scores.keys());
  const taken: number[] = [];
  const others: number[] = [];
  for (let i = 0; i < scores.length; ++i) (forced(i) ? taken : others).push(i);
  const left = Math.max(0, budget - taken.length);
  if (left > 0) {
    const row = Float32Array.from(others, (index) => scores[index]);
    for (const place of keptOf(row, { topKeys: left })) taken.push(others[place]);
  }
  return Int32Array.from(taken).sort();
}

/** The first `first` and the last `last` of `count` entries. */
export const endsOf =
  (count: number, first: number, last: number) =>
  (index: number): boolean =>
    index < first || index >= count - last;
