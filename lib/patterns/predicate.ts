// Predicates: which pairs of a query and a key are visible, as a function; its options, and how they are checked.
// Assumes nothing of the function but that it answers at once. Reader: someone who has a mask_mod.

import { types } from 'node:util';
import { TilewiseTypeError } from '../check/errors.js';
import { checkOneOf, invalid } from '../check/validate.js';

/**
 * FlexAttention's mask_mod: whether `query` of `head` of batch entry `batch` sees `key`, rows of their tensors. It answers
 * true or false at once, and always the same: its answers are kept, so a function that would answer otherwise, because
 * what it reads has changed, has to be a new one.
 */
export type MaskPredicate = (batch: number, head: number, query: number, key: number) => boolean;

/** What a predicate does not look at. */
export type PredicateAxis = 'batch' | 'head';

/** Told between slices: pairs asked so far, and pairs to ask. */
export type AskingProgress = (done: number, total: number) => void;

export function checkPredicate(name: string, value: unknown): MaskPredicate | undefined {
  if (types.isAsyncFunction(value)) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${name}\` must return true or false, not a promise: it cannot be an async function`,
    );
  }
  if (value !== undefined && typeof value !== 'function') {
    throw invalid(name, 'a function (batch, head, query, key) => boolean', value);
  }
  return value as MaskPredicate | undefined;
}

export function checkProgress(name: string, value: unknown): AskingProgress | undefined {
  if (value !== undefined && typeof value !== 'function')
    throw invalid(name, 'a function (done, total) => void', value);
  return value as AskingProgress | undefined;
}

const axes = ['batch', 'head'] as const;

/** What a predicate ignores, each axis once. */
export function checkIgnored(name: string, value: unknown): readonly PredicateAxis[] {
  if (value === undefined) return Object.freeze([]);
  if (!Array.isArray(value)) throw invalid(name, "an array of 'batch' and 'head'", value);
  value.forEach((axis, i) => {
    checkOneOf(`${name}[${i}]`, axis, axes);
  });
  return Object.freeze(axes.filter((axis) => value.includes(axis)));
}
