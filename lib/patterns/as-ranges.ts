// Patterns that a range rule of core turns into ranges, once a call says how many tokens there are.
// Reader: someone who adds such a rule. What it made last is kept with the pattern: shapes seldom change from call to call.

import { outputHeads, type Shape } from '../call/shape.js';
import type { NativeRanges } from '../native/ranges.js';
import { rangesOfSlices, type SlicesPattern } from './attention-slices.js';
import { type DocumentsPattern, rangesOfDocuments } from './documents.js';
import { type Positions, positionsInRow, positionsOf, rangesOfWindow } from './positions.js';
import { type PowerPattern, rangesOfPower } from './power.js';
import { type RangesPattern, rangesPattern } from './ranges.js';
import type { WindowPattern } from './window.js';

/** Patterns that a range rule of core turns into ranges. */
export type RuledPattern = DocumentsPattern | SlicesPattern | PowerPattern;

const last = new WeakMap<RuledPattern, { key: string; ranges: RangesPattern }>();

/**
 * The ranges of a pattern in a call of this shape.
 * @param keyLengths keys in use of each batch entry
 * @throws {RangeError} what the rule refuses
 */
export function rangesOf(pattern: RuledPattern, shape: Shape, keyLengths: Int32Array | undefined): RangesPattern {
  const { batch, kvHeads, queries, keys } = shape;
  const key = [batch, outputHeads(shape), kvHeads, queries, keys, ...(keyLengths ?? [])].join();
  const known = last.get(pattern);
  if (known?.key === key) return known.ranges;
  const ranges = newRangesOf(pattern, shape, keyLengths);
  last.set(pattern, { key, ranges });
  return ranges;
}

function newRangesOf(pattern: RuledPattern, shape: Shape, keyLengths: Int32Array | undefined): RangesPattern {
  switch (pattern.kind) {
    case 'documents':
      return tableOf(rangesOfDocuments(pattern, shape), pattern.cuSeqlens.length, 1, shape);
    case 'slices':
      return tableOf(rangesOfSlices(pattern, shape), 1, pattern.slices.length, shape);
    case 'power': {
      const at = positionsInRow(pattern.align, shape, keyLengths);
      return rangesPattern(table(rangesOfPower(pattern, at), at.offsets.length, 1, shape), pattern.align);
    }
  }
}

/** What a window or power() shows where tokens are at these positions. */
export function atPositions(
  pattern: WindowPattern | PowerPattern,
  shape: Shape,
  positions: Positions,
): RangesPattern | WindowPattern {
  const at = positionsOf(positions, shape);
  const batch = at.offsets.length;
  if (pattern.kind === 'power') return tableOf(rangesOfPower(pattern, at), batch, 1, shape);
  if (isOpen(pattern)) return pattern;
  const found = rangesOfWindow(pattern, at);
  return tableOf(found, batch, found.lists, shape);
}

const isOpen = ({ left, right }: { left: unknown; right: unknown }): boolean =>
  left === Number.POSITIVE_INFINITY && right === Number.POSITIVE_INFINITY;

const table = ({ offsets, bounds }: NativeRanges, batch: number, heads: number, { queries }: Shape) => ({
  dims: [batch, heads, queries] as const,
  offsets,
  bounds,
});
const tableOf = (...args: Parameters<typeof table>): RangesPattern => rangesPattern(table(...args));
