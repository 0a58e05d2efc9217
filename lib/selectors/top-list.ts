// Lists of the best entries of a row of scores, with some that are taken whatever their score. Reader: someone who asks what a
// selector's budget counts: forced entries are in it, and of equal scores the smaller index is taken.

import { keptOf } from './top-keys.js';

/** How many entries at the ends of a row are taken whatever their score. */
export interface Ends {
  readonly first: number;
  readonly last: number;
}

const noEnds: Ends = { first: 0, last: 0 };

/**
 * `budget` entries of a row, ascending.
 * @param scores of the entries that there are; NaN counts as the largest number
 * @param forced together no more than `budget`
 */
export function topList(scores: Float32Array, budget: number, forced = noEnds): Int32Array {
  const { length } = scores;
  const taken = new Int32Array(Math.min(budget, length));
  const [first, last] = taken.length === length ? [length, 0] : [forced.first, forced.last];
  for (let i = 0; i < first; ++i) taken[i] = i;
  for (let i = 1; i <= last; ++i) taken[taken.length - i] = length - i;
  const kept = keptOf(scores.subarray(first, length - last), { topKeys: taken.length - first - last });
  for (let i = 0; i < kept.length; ++i) taken[first + i] = first + kept[i];
  return taken;
}
