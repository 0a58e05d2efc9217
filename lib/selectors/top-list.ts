// Lists of the best entries of a row of scores, with some that are taken whatever their score. Reader: someone who asks what a
// selector's budget counts: forced entries are in it, and of equal scores the smaller index is taken.

import { keptOf } from './top-keys.js';

/**
 * `budget` entries of a row, ascending.
 * @param scores of the entries that there are; NaN counts as the largest number
 * @param forced which entries are taken in any case; no more than `budget`
 */
export function topList(scores: Float32Array, budget: number, forced: (index: number) => boolean): Int32Array {
  const taken = new Int32Array(Math.min(budget, scores.length));
  const others = new Int32Array(scores.length);
  const row = new Float32Array(scores.length);
  let [count, rest] = [0, 0];
  for (let i = 0; i < scores.length; ++i) {
    if (count < taken.length && (taken.length === scores.length || forced(i))) {
      taken[count++] = i;
    } else {
      row[rest] = scores[i];
      others[rest++] = i;
    }
  }
  if (count === taken.length) return taken;
  const kept = keptOf(row.subarray(0, rest), { topKeys: taken.length - count });
  for (let i = 0; i < kept.length; ++i) taken[count++] = others[kept[i]];
  return taken.sort();
}

/** The first `first` and the last `last` of `count` entries. */
export const endsOf =
  (count: number, first: number, last: number) =>
  (index: number): boolean =>
    index < first || index >= count - last;
