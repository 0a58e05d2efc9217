// What hierarchical() costs at most: which keys it selects depends on the data, how many does not.
// Reader: someone who plans with hierarchical(). Native code counts, in core/plan/selection_bounds.h.

import type { Shape } from '../call/shape.js';
import { calling } from '../check/errors.js';
import { maxTokens } from '../check/validate.js';
import { native } from '../native/native.js';
import { type HierarchicalPattern, stagesOf } from '../patterns/hierarchical.js';
import type { WindowPattern } from '../patterns/window.js';
import { formOf, putRule } from './selection-request.js';

/** Products of a query and a key that the selection computes. */
export interface SelectionCost {
  /** Of one head, all batch entries, at most. */
  readonly dots: number;
  /** 2 * dots * headDim * heads. */
  readonly flops: number;
}

export interface SelectionBounds {
  /** As many keys for every query as a selection shows it at most: what is selected, moved to the sinks. */
  readonly window: WindowPattern;
  /** Products of one head and batch entry, at most. */
  readonly dots: number;
}

export function boundsOf(pattern: HierarchicalPattern, sizes: Shape): SelectionBounds {
  const stages = stagesOf(pattern, sizes.keys);
  const numbers = new Float64Array(formOf(stages.length).fields);
  const keeps = stages.map(({ keep, chunk }) => Math.min(maxTokens, Math.floor(keep / chunk)));
  putRule(numbers, { pattern, sizes, stages, window: pattern.window }, keeps);
  const { dots, kept } = calling(() => native.selectionBounds(numbers));
  const sinkTokens = Math.min(sizes.keys, pattern.sink + kept);
  return { dots, window: { kind: 'window', left: pattern.window - 1, right: 0, sinkTokens, align: 'bottom-right' } };
}
