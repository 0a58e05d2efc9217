// Sights: which keys ranges of queries see, as core's patterns answer it.
// Reader: someone who draws or plans with a pattern. Runs come from the addon's sights(); nothing is decided here.

import { allocating } from '../check/errors.js';

export interface Range {
  readonly begin: number;
  readonly end: number;
}

/** Keys that some query of a range sees; interior: every query of the range does. */
export interface Run extends Range {
  readonly isInterior: boolean;
}

/** The runs of every range, from the numbers that sights() returns. */
export function runsOf(sights: Int32Array, ranges: number): Run[][] {
  const runs: Run[][] = Array.from({ length: ranges }, () => []);
  for (let i = 0; i < sights.length; i += 4) {
    runs[sights[i]].push({ begin: sights[i + 1], end: sights[i + 2], isInterior: sights[i + 3] === 1 });
  }
  return runs;
}

/** The keys that every range sees, ascending, from the numbers that sights() returns. */
export function rowsOf(sights: Int32Array, ranges: number): Int32Array[] {
  const ends = allocating(() => new Int32Array(ranges));
  for (let i = 0; i < sights.length; i += 4) ends[sights[i]] += sights[i + 2] - sights[i + 1];
  for (let range = 1; range < ranges; ++range) ends[range] += ends[range - 1];
  const keys = allocating(() => new Int32Array(ends[ranges - 1] ?? 0));
  let next = 0;
  for (let i = 0; i < sights.length; i += 4) {
    for (let key = sights[i + 1]; key < sights[i + 2]; ++key) keys[next++] = key;
  }
  return Array.from(ends, (end, range) => keys.subarray(ends[range - 1] ?? 0, end));
}

/** Ranges as the fewest that cover the same, ascending. */
export function unionOf(ranges: readonly Range[]): Range[] {
  const all: { begin: number; end: number }[] = [];
  for (const { begin, end } of ranges.toSorted((a, b) => a.begin - b.begin)) {
    const last = all.at(-1);
    if (last && begin <= last.end) last.end = Math.max(last.end, end);
    else all.push({ begin, end });
  }
  return all;
}

/** Everything in ranges that do not overlap. */
export function membersOf(ranges: readonly Range[]): Int32Array {
  const members = allocating(() => new Int32Array(ranges.reduce((sum, { begin, end }) => sum + end - begin, 0)));
  let next = 0;
  for (const { begin, end } of ranges) for (let i = begin; i < end; ++i) members[next++] = i;
  return members;
}
