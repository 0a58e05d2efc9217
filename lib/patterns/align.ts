// Align: where queries are among the keys, for every pattern that knows a position.
// Reader: someone with fewer queries than keys.

import { checkInteger, checkNames, invalid, is, maxTokens } from '../check/validate.js';
import { field } from '../native/fields.js';

/**
 * Where queries are among the keys. Query `i` has position `i + offset`: `'bottom-right'` puts the last query at the
 * last key (flash-attention, the default), `'top-left'` the first query at the first key (ONNX, PyTorch), and
 * `{ offset }` says it outright.
 */
export type Align = 'bottom-right' | 'top-left' | { readonly offset: number };

const offsetNames = new Set(['offset']);

export function checkAlign(align: unknown, name = 'align'): Align {
  if (align === undefined || align === 'bottom-right') return 'bottom-right';
  if (align === 'top-left') return align;
  if (!is.object(align)) throw invalid(name, "'bottom-right', 'top-left' or { offset }", align);
  checkNames(`\`${name}\``, align, offsetNames);
  return Object.freeze({ offset: checkInteger(`${name}.offset`, align.offset, -maxTokens, maxTokens) });
}

/** Where queries are, as native code reads it: a rule, and the offset of the one that has one. */
export const alignNumbers = (align: Align): readonly [rule: number, offset: number] =>
  typeof align === 'object' ? [2, align.offset] : [align === 'bottom-right' ? 0 : 1, 0];

/** Position of query 0 among the keys. */
export const offsetOf = (align: Align, queries: number, keys: number): number =>
  align === 'bottom-right' ? keys - queries : align === 'top-left' ? 0 : align.offset;

/** Fills in where queries are. */
export function putAlign(numbers: Float64Array, align: Align): void {
  [numbers[field.align], numbers[field.alignOffset]] = alignNumbers(align);
}
