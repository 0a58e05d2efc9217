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
  /** The keys that every selection shows: the sinks and the window. */
  readonly known: WindowPattern;
  /** Products of one head, all batch entries, at most. */
  readonly dots: number;
}

/** @param keyLengths keys in use per batch entry, where they are not all */
export function boundsOf(pattern: HierarchicalPattern, sizes: Shape, keyLengths?: Int32Array): SelectionBounds {
  const stages = stagesOf(pattern, sizes.keys);
  const keeps = stages.map(({ keep, chunk }) => Math.min(maxTokens, Math.floor(keep / chunk)));
  // Of one batch entry.
  const boundsWith = (keys: number) => {
    const numbers = new Float64Array(formOf(stages.length).fields);
    putRule(numbers, { pattern, sizes: { ...sizes, keys }, stages, window: pattern.window }, keeps);
    return calling(() => native.selectionBounds(numbers));
  };
  const windowWith = (selected: number): WindowPattern => {
    const sinkTokens = Math.min(sizes.keys, pattern.sink + selected);
    return { kind: 'window', left: pattern.window - 1, right: 0, sinkTokens, align: 'bottom-right' };
  };
  const { dots, kept } = boundsWith(sizes.keys);
  return {
    window: windowWith(kept),
    known: windowWith(0),
    dots: keyLengths ? keyLengths.reduce((sum, keys) => sum + boundsWith(keys).dots, 0) : dots * sizes.batch,
  };
}
