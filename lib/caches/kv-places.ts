// Where the tokens of a layer are: the lengths of its sequences, and the pages that they are on, as calls over a cache read them.
// Reader: someone who writes another call over a cache. Calls that are made again read these each time, and nothing else.

import type { KvRun } from './kv-run.js';

/**
 * Writes the tokens of each sequence; returns those of the longest.
 * @param isWhole whether tokens that were let go of count, too
 */
export function putLengths(runs: readonly KvRun[], layer: number, lengths: Int32Array, isWhole: boolean): number {
  let most = 0;
  for (let i = 0; i < runs.length; ++i) {
    lengths[i] = runs[i].lengthOf(layer) - (isWhole ? 0 : runs[i].goneTokens);
    most = Math.max(most, lengths[i]);
  }
  return most;
}

/**
 * Writes the pages of each sequence to a table that has as many places for every one.
 * @param isWhole as in putLengths()
 */
export function putTable(runs: readonly KvRun[], layer: number, table: Int32Array, isWhole: boolean): void {
  const perSequence = table.length / runs.length;
  for (let i = 0; i < runs.length; ++i) runs[i].writeTable(layer, table, i * perSequence, isWhole);
}
