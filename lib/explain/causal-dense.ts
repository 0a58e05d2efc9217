// Causal dense: what dense attention visits under the causal rule of a pattern, so that a pattern is not praised for what
// the rule alone saves. Assumes tiles that do not depend on the pattern. Reader: someone who compares with causal attention.

import type { Shape } from '../call/shape.js';
import { calling } from '../check/errors.js';
import { native } from '../native/native.js';
import { describe, type Pattern, type RunnablePattern } from '../patterns/index.js';
import type { Grid } from '../patterns/neighborhood.js';
import type { WindowPattern } from '../patterns/window.js';

const open = Number.POSITIVE_INFINITY;

/**
 * The share of dense tiles that are left when only the causal rule of a pattern hides keys; undefined where a pattern has
 * none. A predicate may be causal, too, but does not say so.
 * @param tiles as for explain(), of one head
 */
export function causalShare(
  pattern: Pattern | RunnablePattern,
  sizes: Shape,
  grid: Grid | undefined,
  tiles: Float64Array,
): number | undefined {
  const causal = grid ? undefined : causalOf(pattern);
  const causalGrid = grid && causalGridOf(grid);
  if (!causal && !causalGrid) return undefined;
  const { numbers, views } = describe({ ...sizes, batch: 1 }, causal ?? (pattern as RunnablePattern), causalGrid);
  const { visited, queryTiles, keyTiles } = calling(() => native.explain(numbers, views, tiles));
  return visited > 0 ? visited / (queryTiles * keyTiles) : 0;
}

/** A window of everything that a pattern's rule leaves. */
function causalOf(pattern: Pattern | RunnablePattern): WindowPattern | undefined {
  const window = { kind: 'window', left: open, sinkTokens: 0 } as const;
  switch (pattern.kind) {
    case 'window':
    case 'lists':
      return pattern.right === open ? undefined : { ...window, right: pattern.right, align: pattern.align };
    case 'stridedShards':
    case 'power':
      return { ...window, right: 0, align: pattern.align };
    case 'documents':
      return pattern.causal && pattern.prefix === undefined
        ? { ...window, right: 0, align: 'bottom-right' }
        : undefined;
    case 'blocks':
      return pattern.causal ? { ...window, right: 0, align: pattern.align } : undefined;
    case 'neighborhood':
    case 'ranges':
    case 'slices':
    case 'sampledBlocks':
    case 'hierarchical':
      return undefined;
  }
}

/** Neighborhoods as large as the grid, causal on the same axes. */
function causalGridOf({ lengths, rules }: Grid): Grid | undefined {
  if (!rules.some(({ causal }) => causal)) return undefined;
  const whole = rules.map(({ causal }, axis) => ({
    kernelSize: lengths[axis],
    stride: 1,
    dilation: 1,
    causal,
    border: 'shift' as const,
  }));
  return { lengths, rules: whole };
}
