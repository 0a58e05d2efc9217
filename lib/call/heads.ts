// Heads that share an axis with the dim: [batch, tokens, heads * dim], as a projection leaves it, and packed
// [tokens, heads * dim].
// Reader: someone who follows `queryHeads` and `kvHeads`. Strides always say how such an axis is cut, so nothing is copied.

import { showDims, TilewiseTypeError } from '../check/errors.js';
import { checkInteger, maxTokens } from '../check/validate.js';
import type { View } from '../tensor/views.js';
import { mismatch } from './shape.js';

/** How many heads operands have whose last axis is heads * dim. */
export interface MergedHeads {
  readonly queryHeads: number;
  readonly kvHeads: number;
}

/** Reads the options of that name; undefined: operands have an axis of heads. */
export function readMergedHeads({ queryHeads, kvHeads }: Partial<MergedHeads>): MergedHeads | undefined {
  if (queryHeads === undefined && kvHeads === undefined) return undefined;
  if (queryHeads === undefined) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      '`kvHeads` needs `queryHeads` next to it: both are for operands [batch, tokens, heads * dim]',
    );
  }
  const heads = checkInteger('queryHeads', queryHeads, 1, maxTokens);
  return {
    queryHeads: heads,
    kvHeads: kvHeads === undefined ? heads : checkInteger('kvHeads', kvHeads, 1, maxTokens),
  };
}

/** The error for heads and dim as one axis where operands have another form. */
export const unmergeable = (option: string, other: string): Error =>
  new TilewiseTypeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`${option}\` is for tensors [batch, tokens, heads * dim] and does not go with ${other}`,
  );

/**
 * Checks an operand and splits its heads from the dim.
 * @param option the option that says how many heads there are
 */
export function readHeads(
  name: string,
  view: View,
  option: keyof MergedHeads,
  { [option]: heads }: MergedHeads,
  isPacked: boolean,
): View {
  const { dims } = view;
  if (dims.length !== 3 && !(isPacked && dims.length === 2)) {
    const orElse = isPacked ? ' or [tokens, heads * dim]' : '';
    throw mismatch(
      `\`${name}\` must have dims [batch, tokens, heads * dim]${orElse} with \`${option}\`, not ${showDims(dims)}`,
    );
  }
  if (dims[dims.length - 1] % heads !== 0) {
    throw mismatch(`\`${name}\` ${showDims(dims)} must have a last axis that \`${option}\` ${heads} divides`);
  }
  return splitHeads(view, heads);
}

/** The view with its last axis as heads and dim. */
export function splitHeads(view: View, heads: number): View {
  const last = view.dims.length - 1;
  const dim = view.dims[last] / heads;
  const stride = view.strides[last];
  return {
    ...view,
    dims: view.dims.toSpliced(last, 1, heads, dim),
    strides: view.strides.toSpliced(last, 1, dim * stride, stride),
  };
}

/** Dims with heads and dim, the last two axes, as one. */
export const mergeHeads = (dims: readonly number[]): number[] => [...dims.slice(0, -2), dims.at(-2)! * dims.at(-1)!];
