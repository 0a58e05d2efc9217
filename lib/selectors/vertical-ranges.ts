// Columns and diagonals as ranges: what a query sees whose columns and distances are listed. Reader: someone who follows
// verticalSlash() to attention(): a pair is seen once, however many lists name it.

import { mismatch } from '../call/shape.js';
import { type RangesPattern, rangesPattern } from '../patterns/ranges.js';

/**
 * Query i of `queries` at the end of `keys` sees the keys up to itself that are a listed column, or a listed distance before it.
 * @param lists [batch * heads] of each, ascending
 */
export function verticalRanges(
  lists: readonly { readonly verticals: Int32Array; readonly slashes: Int32Array }[],
  [batch, heads, queries, keys]: readonly [batch: number, heads: number, queries: number, keys: number],
): RangesPattern {
  const offsets = new Int32Array(batch * heads * queries + 1);
  const bounds: number[] = [];
  lists.forEach(({ verticals, slashes }, list) => {
    for (let i = 0; i < queries; ++i) {
      const position = i + keys - queries;
      const start = bounds.length;
      // Distances fall as their keys ascend.
      let column = 0;
      let slash = slashes.length - 1;
      while (slash >= 0 && slashes[slash] > position) --slash;
      for (;;) {
        const ofColumn = column < verticals.length && verticals[column] <= position ? verticals[column] : keys;
        const ofSlash = slash >= 0 ? position - slashes[slash] : keys;
        const key = Math.min(ofColumn, ofSlash);
        if (key === keys) break;
        if (ofColumn === key) ++column;
        if (ofSlash === key) --slash;
        if (bounds.length > start && bounds[bounds.length - 1] === key) bounds[bounds.length - 1] = key + 1;
        else bounds.push(key, key + 1);
      }
      offsets[list * queries + i + 1] = bounds.length / 2;
    }
  });
  if (bounds.length > 2 ** 31 - 1)
    throw mismatch('The lists make more ranges than there is room for; pass fewer queries');
  return rangesPattern({ dims: [batch, heads, queries], offsets, bounds: Int32Array.from(bounds) });
}
