// Pages of a call that is counted: their size, and how many a step chooses. Reader: someone who asks which patterns explain() counts on
// pages.

import type { Shape } from '../call/shape.js';
import { TilewiseTypeError } from '../check/errors.js';
import { checkInteger, invalid, maxTokens } from '../check/validate.js';
import type { Pattern } from '../patterns/index.js';
import type { SelectionBounds } from '../selectors/hierarchical-bound.js';
import type { ExplainShape } from './explanation.js';

/** Tokens per page, where keys are on pages; attention() refuses the same patterns. */
export function readPageSize({ pageSize }: ExplainShape, { kind }: Pattern): number | undefined {
  if (pageSize === undefined) return undefined;
  if (kind === 'neighborhood' || kind === 'hierarchical') {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`pageSize\` does not go with a pattern of kind '${kind}', which does not run on pages`,
    );
  }
  return checkInteger('pageSize', pageSize, 1, maxTokens);
}

/**
 * What a step sees of chosen pages: as many keys as there are on them, moved to the end and the start; and two products per page, with the
 * bounds of its channels, which have the size of a key each.
 */
export function boundsOfPages(
  { selectedPages }: ExplainShape,
  pattern: Pattern,
  { batch, queries, keys }: Shape,
  pageSize: number | undefined,
  keyLengths: Int32Array | undefined,
): SelectionBounds | undefined {
  if (selectedPages === undefined) return undefined;
  const chosen = checkInteger('selectedPages', selectedPages, 1, maxTokens);
  const isOpen = pattern.kind === 'window' && pattern.left === Number.POSITIVE_INFINITY;
  if (pageSize === undefined || queries !== 1 || !isOpen) {
    throw invalid(
      'selectedPages',
      'left out but for one query over pages: next to `pageSize`, `queries` 1 and a causal or full pattern',
      selectedPages,
    );
  }
  const lengths = keyLengths ?? new Int32Array(batch).fill(keys);
  const kept = Math.min(keys, chosen * pageSize);
  const last = Math.min(kept, pageSize);
  const windowOf = (sinkTokens: number) =>
    ({ kind: 'window', left: last - 1, right: 0, sinkTokens, align: 'bottom-right' }) as const;
  return {
    window: windowOf(kept - last),
    known: windowOf(0),
    dots: lengths.reduce((sum, length) => sum + 2 * Math.ceil(length / pageSize), 0),
  };
}
