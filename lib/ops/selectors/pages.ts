// What selectors of pages have in common: keys of a tensor or of a cache, queries of one token each, budgets. Reader: someone
// who writes another one.

import { mismatch } from '../../call/shape.js';
import { showDims, TilewiseRangeError } from '../../check/errors.js';
import { checkInteger, invalid, maxTokens } from '../../check/validate.js';
import { topList } from '../../selectors/top-list.js';
import { KeyPages } from '../../stores/key-pages.js';
import { axesOf } from '../../tensor/axes.js';
import { type IntegerList, readIntegerList } from '../../tensor/integers.js';
import type { TensorLike } from '../../tensor/types.js';
import { floatTypes, readTensor, type View } from '../../tensor/views.js';
import { readSelectorOptions, type SelectorOptions, type SelectorSettings } from './steps.js';

/** Options of the selectors of pages. */
export interface PageSelectorOptions extends SelectorOptions {
  /** Pages of a list, from 1: forced ones count. With as many as there are, attention to them is dense. */
  pages: number;
  /** Keys of a page, from 1; not for keys of a cache, which has its own. */
  pageSize?: number;
  /** First pages that are always taken; default 0. */
  firstPages?: number;
  /** Last pages that are always taken. */
  lastPages?: number;
  /** Keys in use per sequence; not for keys of a cache. */
  keyLengths?: IntegerList;
}

/** For namesOf(). */
export const pageNames = { pages: 1, pageSize: 1, firstPages: 1, lastPages: 1, keyLengths: 1 } as const;

/** The same, read against the tensors. */
export interface PageSelection extends SelectorSettings {
  readonly q: View;
  /** Of a cache undefined. */
  readonly k: View | undefined;
  readonly cache: KeyPages | undefined;
  readonly batch: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly keys: number;
  readonly pageSize: number;
  readonly budget: number;
  readonly firstPages: number;
  readonly lastPages: number;
  readonly keyLengths: Int32Array;
}

/** @param usualLast pages that are forced unless the caller says otherwise, as far as the budget allows */
export function readPageSelection(
  q: TensorLike,
  k: TensorLike | KeyPages,
  o: PageSelectorOptions,
  usualLast: number,
): PageSelection {
  const settings = readSelectorOptions(o);
  const budget = checkInteger('pages', o.pages, 1, maxTokens);
  const firstPages = o.firstPages === undefined ? 0 : checkInteger('firstPages', o.firstPages, 0, maxTokens);
  const lastPages =
    o.lastPages === undefined
      ? Math.min(usualLast, Math.max(0, budget - firstPages))
      : checkInteger('lastPages', o.lastPages, 0, maxTokens);
  if (firstPages + lastPages > budget) {
    const name = o.lastPages === undefined ? 'firstPages' : 'lastPages';
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${name}\` must leave \`firstPages\` and \`lastPages\` together at most ${budget}, \`pages\`, not ${firstPages + lastPages}`,
    );
  }
  const cache = k instanceof KeyPages ? k : undefined;
  for (const name of ['pageSize', 'keyLengths'] as const) {
    if (cache && o[name] !== undefined) throw invalid(name, 'left out next to keys of a cache', o[name]);
  }
  const pageSize = cache?.pageSize ?? checkInteger('pageSize', o.pageSize, 1, maxTokens);
  const axes = axesOf(4, settings.isHeadsFirst);
  const view = k instanceof KeyPages ? undefined : readTensor('k', k, floatTypes);
  const rows = readTensor('q', q, floatTypes);
  // Packed queries of a pool: one of each sequence.
  const isPacked = cache !== undefined && rows.dims.length === 3;
  const [token, step] = settings.isHeadsFirst ? [1, 0] : [0, 1];
  const whole = isPacked ? unpacked(rows, token, step, settings.isHeadsFirst) : rows;
  const keyDims = view?.dims ?? cache!.keysAs(settings.isHeadsFirst ? 'bhnd' : 'bnhd').dims;
  const batch = cache ? cache.keyLengths.length : keyDims[axes.batch];
  const isRight =
    whole.dims.length === 4 &&
    keyDims.length === 4 &&
    whole.dims[axes.batch] === batch &&
    whole.dims[axes.token] === 1 &&
    whole.dims[axes.dim] === keyDims[axes.dim] &&
    whole.dims[axes.head] % keyDims[axes.head] === 0;
  if (!isRight) {
    throw mismatch(
      `\`q\` ${showDims(rows.dims)} must have one query of each of ${batch} sequences, a multiple of ${keyDims[axes.head]} ` +
        `heads, and the dim of \`k\` ${showDims(keyDims)}`,
    );
  }
  const keys = cache ? Math.max(0, ...cache.keyLengths) : keyDims[axes.token];
  return {
    ...settings,
    q: whole,
    k: view,
    cache,
    batch,
    queryHeads: whole.dims[axes.head],
    kvHeads: keyDims[axes.head],
    headDim: whole.dims[axes.dim],
    keys,
    pageSize,
    budget,
    firstPages,
    lastPages,
    keyLengths: cache?.keyLengths ?? readLengths(o.keyLengths, batch, keys),
  };
}

function readLengths(given: IntegerList | undefined, batch: number, keys: number): Int32Array {
  if (given === undefined) return new Int32Array(batch).fill(keys);
  const lengths = readIntegerList('keyLengths', given);
  if (lengths.length !== batch) {
    throw mismatch(`\`keyLengths\` must have ${batch} entries, one per sequence, not ${lengths.length}`);
  }
  for (const [b, length] of lengths.entries()) checkInteger(`keyLengths[${b}]`, length, 0, keys);
  return lengths;
}

/** Rows [sequences, heads, dim], or heads first, with an axis of one query. */
function unpacked(rows: View, sequence: number, head: number, isHeadsFirst: boolean): View {
  const pick = (values: readonly number[], one: number) =>
    isHeadsFirst ? [values[sequence], values[head], one, values[2]] : [values[sequence], one, values[head], values[2]];
  return { ...rows, dims: pick(rows.dims, 1), strides: pick(rows.strides, 0) };
}

/** Pages that a sequence uses. */
export const pagesOf = ({ keyLengths, pageSize }: PageSelection, b: number): number =>
  Math.ceil(keyLengths[b] / pageSize);

/** The list of one row of scores, of which a sequence uses so many. */
export function pageList(scores: Float32Array, pages: number, { budget, firstPages, lastPages }: PageSelection) {
  return topList(scores.subarray(0, pages), budget, { first: firstPages, last: lastPages });
}
