// What selectors of a prompt's tokens have in common: queries and keys of one batch, read once. Reader: someone who writes
// another one.

import { mismatch } from '../../call/shape.js';
import { showDims } from '../../check/errors.js';
import { KeyPages } from '../../stores/key-pages.js';
import { axesOf, layoutWords } from '../../tensor/axes.js';
import type { TensorLike } from '../../tensor/types.js';
import { floatTypes, readTensor, sliced, type View } from '../../tensor/views.js';
import { readSelectorOptions, type SelectorOptions, type SelectorSettings } from './steps.js';

/** The tensors of a selector, read. */
export interface TokenSelection extends SelectorSettings {
  readonly q: View;
  readonly k: TensorLike | KeyPages;
  readonly batch: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly queries: number;
  /** Of the longest sequence. */
  readonly keys: number;
}

export function readTokenSelection(q: TensorLike, k: TensorLike | KeyPages, o: SelectorOptions): TokenSelection {
  const settings = readSelectorOptions(o);
  const axes = axesOf(4, settings.isHeadsFirst);
  const rows = readTensor('q', q, floatTypes);
  const cache = k instanceof KeyPages ? k : undefined;
  const { dims } = cache
    ? cache.keysAs(settings.isHeadsFirst ? 'bhnd' : 'bnhd')
    : readTensor('k', k as TensorLike, floatTypes);
  const isRight =
    rows.dims.length === 4 &&
    dims.length === 4 &&
    rows.dims[axes.batch] === (cache ? cache.keyLengths.length : dims[axes.batch]) &&
    rows.dims[axes.dim] === dims[axes.dim] &&
    rows.dims[axes.head] % dims[axes.head] === 0;
  if (!isRight) {
    const words = layoutWords(4, settings.isHeadsFirst);
    throw mismatch(
      `\`q\` ${showDims(rows.dims)} and \`k\` ${showDims(dims)} must have dims ${words}, one batch and dim, and heads of k ` +
        'that divide those of q',
    );
  }
  return {
    ...settings,
    q: rows,
    k,
    batch: rows.dims[axes.batch],
    queryHeads: rows.dims[axes.head],
    kvHeads: dims[axes.head],
    headDim: dims[axes.dim],
    queries: rows.dims[axes.token],
    keys: cache ? Math.max(0, ...cache.keyLengths) : dims[axes.token],
  };
}

/** The last `count` queries. */
export function lastQueries({ q, queries, isHeadsFirst }: TokenSelection, count: number): TensorLike {
  const { token } = axesOf(4, isHeadsFirst);
  return sliced(q, token, { begin: Math.max(0, queries - count), end: queries }) as TensorLike;
}
