// Kept keys as ranges: which of the keys that a head keeps its queries see. Reader: someone who follows
// dynamicMaskAttention(). Keys that are gathered are one range per query; those in place a range for each run of them.

import type { Shape } from '../call/shape.js';
import { allocating } from '../check/errors.js';
import { type RangesPattern, rangesPattern } from './ranges.js';

type Sizes = Pick<Shape, 'batch' | 'kvHeads' | 'queries'>;

/**
 * Gathered keys: each query sees those up to its own position, which are a prefix.
 * @param kept for each batch entry and KV head the keys that were gathered, ascending
 * @param first position of query 0; undefined: queries see all
 */
export function prefixes(
  kept: readonly Int32Array[],
  { batch, kvHeads, queries }: Sizes,
  first: number | undefined,
): RangesPattern {
  const rows = batch * kvHeads * queries;
  const offsets = allocating(() => new Int32Array(rows + 1));
  const bounds = allocating(() => new Int32Array(2 * rows));
  let count = 0;
  kept.forEach((keys, of) => {
    let seen = first === undefined ? keys.length : 0;
    for (let query = 0; query < queries; ++query) {
      if (first !== undefined) while (seen < keys.length && keys[seen] <= first + query) ++seen;
      if (seen > 0) bounds[2 * count++ + 1] = seen;
      offsets[of * queries + query + 1] = count;
    }
  });
  return rangesPattern({ dims: [batch, kvHeads, queries], offsets, bounds: bounds.slice(0, 2 * count) });
}

/**
 * Keys in place: each query sees the runs of kept keys up to its own position.
 * @param kept the keys, ascending, for each batch entry and KV head, or for each of their queries
 * @param first position of query 0; undefined: queries see all
 */
export function listedKeys(
  kept: readonly Int32Array[],
  { batch, kvHeads, queries }: Sizes,
  first: number | undefined,
): RangesPattern {
  const runs = kept.map(runsOf);
  const rows = batch * kvHeads * queries;
  const isShared = kept.length !== rows;
  const endOf = (query: number) => (first === undefined ? Number.POSITIVE_INFINITY : first + query + 1);
  const runsAt = (row: number) => runs[isShared ? Math.floor(row / queries) : row];
  const offsets = allocating(() => new Int32Array(rows + 1));
  for (let row = 0; row < rows; ++row) offsets[row + 1] = offsets[row] + countBefore(runsAt(row), endOf(row % queries));
  const bounds = allocating(() => new Int32Array(2 * offsets[rows]));
  for (let row = 0; row < rows; ++row) {
    const [from, to] = [2 * offsets[row], 2 * offsets[row + 1]];
    if (from === to) continue;
    bounds.set(runsAt(row).subarray(0, to - from), from);
    bounds[to - 1] = Math.min(bounds[to - 1], endOf(row % queries));
  }
  return rangesPattern({ dims: [batch, kvHeads, queries], offsets, bounds });
}

/** Begins and ends of the runs of keys that follow each other. */
function runsOf(keys: Int32Array): Int32Array {
  const bounds = allocating(() => new Int32Array(2 * keys.length));
  let count = 0;
  for (const key of keys) {
    if (count === 0 || bounds[2 * count - 1] !== key) bounds[2 * count++] = key;
    bounds[2 * count - 1] = key + 1;
  }
  return bounds.subarray(0, 2 * count);
}

/** How many runs begin before a key; by halves. */
function countBefore(runs: Int32Array, end: number): number {
  let [least, most] = [0, runs.length / 2];
  while (least < most) {
    const middle = (least + most) >>> 1;
    if (runs[2 * middle] < end) least = middle + 1;
    else most = middle;
  }
  return least;
}
