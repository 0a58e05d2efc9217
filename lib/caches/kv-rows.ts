// Rows of keys and values as they are given to a cache, and how they get onto its pages.
// Reader: someone who follows append(). Any layout, strides and float type; heads and dim may be one axis.

import { splitHeads } from '../call/heads.js';
import { mismatch } from '../call/shape.js';
import { showDims, TilewiseError, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { checkInteger } from '../check/validate.js';
import { takeIntegers } from '../native/slabs.js';
import { axesOf, layoutWords } from '../tensor/axes.js';
import { cpu } from '../tensor/devices.js';
import { type IntegerList, readIntegerList } from '../tensor/integers.js';
import type { TensorLike } from '../tensor/types.js';
import { deviceOf, floatTypes, readTensor, sliced, type View } from '../tensor/views.js';
import type { CodedTokens } from './coded-tokens.js';
import { filledPages } from './key-pages.js';
import type { KvPages } from './kv-pages.js';
import type { KvPart } from './kv-parts.js';
import type { Growth } from './kv-run.js';

/** Options of append(). */
export interface AppendOptions {
  /** Tokens of each sequence that are appended, the first ones of its rows; default: all. */
  lengths?: IntegerList;
}

export const appendNames: ReadonlySet<string> = new Set(['lengths']);

/** What the tensors of one append must be. */
export interface RowsForm {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly isHeadsFirst: boolean;
  /** Rows of one sequence: without a batch axis, or with one of length 1. */
  readonly isOneSequence: boolean;
}

export interface KvRows {
  readonly k: View;
  readonly v: View;
  readonly batch: number;
  readonly tokens: number;
}

/**
 * Reads keys and values against each other and the cache.
 * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_DTYPE, ERR_TILEWISE_SHAPE_MISMATCH
 */
export function readRows(kLike: TensorLike, vLike: TensorLike, form: RowsForm): KvRows {
  const k = readOne('k', kLike, form.headDim, form);
  const v = readOne('v', vLike, form.valueDim, form);
  if (k.type !== v.type) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`k\` and \`v\` must have one type, not ${k.type} and ${v.type}`,
    );
  }
  const axes = axesOf(4, form.isHeadsFirst);
  const [batch, tokens] = [k.dims[axes.batch], k.dims[axes.token]];
  if (v.dims[axes.batch] !== batch || v.dims[axes.token] !== tokens) {
    throw mismatch(`\`k\` ${showDims(k.dims)} and \`v\` ${showDims(v.dims)} must have one batch and the same tokens`);
  }
  return { k, v, batch, tokens };
}

function readOne(name: string, value: TensorLike, dim: number, form: RowsForm): View {
  const { kvHeads, isHeadsFirst, isOneSequence } = form;
  const view = readTensor(name, value, floatTypes);
  const axes = axesOf(4, isHeadsFirst);
  const whole = wholeOf(view, form);
  const isRight =
    whole !== undefined &&
    whole.dims[axes.head] === kvHeads &&
    whole.dims[axes.dim] === dim &&
    (!isOneSequence || whole.dims[axes.batch] === 1);
  if (isRight) return whole;
  const words = layoutWords(isOneSequence ? 3 : 4, isHeadsFirst);
  throw mismatch(
    `\`${name}\` must have dims ${words} with ${kvHeads} heads of ${dim}, as the cache has them, not ${showDims(view.dims)}`,
  );
}

/** The view with four axes; undefined when it has too few or too many. */
function wholeOf(view: View, { kvHeads, isHeadsFirst, isOneSequence }: RowsForm): View | undefined {
  const rank = view.dims.length;
  if (rank === 4) return view;
  if (isOneSequence && rank === 3) return { ...view, dims: [1, ...view.dims], strides: [0, ...view.strides] };
  const isMerged = rank === (isOneSequence ? 2 : 3) && !isHeadsFirst && view.dims[rank - 1] % kvHeads === 0;
  if (!isMerged) return undefined;
  const split = splitHeads(view, kvHeads);
  return isOneSequence ? { ...split, dims: [1, ...split.dims], strides: [0, ...split.strides] } : split;
}

/** Tokens of each sequence that are appended. */
export function readCounts(lengths: IntegerList | undefined, batch: number, tokens: number): ArrayLike<number> {
  if (lengths === undefined) return new Array<number>(batch).fill(tokens);
  const counts = readIntegerList('lengths', lengths);
  if (counts.length !== batch) throw mismatch(`\`lengths\` must have ${batch} entries, not ${counts.length}`);
  for (const [entry, count] of counts.entries()) checkInteger(`lengths[${entry}]`, count, 0, tokens);
  return counts;
}

/** Refuses more tokens than a sequence of a cache may have. */
export function checkRoom(
  held: number,
  count: number,
  { isReadOnly, maxTokens }: { readonly isReadOnly: boolean; readonly maxTokens: number },
): void {
  if (isReadOnly && held > 0 && count > 0) {
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      'append() to a cache that is `readOnly`: each layer has been filled; reset() empties it',
    );
  }
  if (held + count > maxTokens) throw mismatch(`A cache holds at most ${maxTokens} tokens, not ${held + count}`);
}

/**
 * Appends rows to the runs of all parts, `counts` of them to each. When anything fails, nothing has changed.
 * @throws {TilewiseError} ERR_TILEWISE_OUT_OF_MEMORY and others
 */
export function appendRows(
  parts: readonly KvPart[],
  layer: number,
  { k, v, tokens }: KvRows,
  isHeadsFirst: boolean,
  counts: ArrayLike<number>,
): void {
  checkPlace(parts[0].pool, k, 'k');
  checkPlace(parts[0].pool, v, 'v');
  for (const { pool, runs } of parts) {
    pool.reserve(
      layer,
      runs.reduce((sum, run, i) => sum + run.pagesFor(layer, counts[i]), 0),
    );
  }
  const { head } = axesOf(4, isHeadsFirst);
  const growths: Growth[] = [];
  try {
    for (const { heads, pool, runs } of parts) {
      const slots = takeIntegers(runs.length * tokens).fill(-1);
      for (const [i, run] of runs.entries()) {
        const growth = run.grow(layer, counts[i]);
        growths.push(growth);
        for (let t = 0; t < counts[i]; ++t) slots[i * tokens + t] = growth.slotOf(growth.first + t);
      }
      pool.write(layer, sliced(k, head, heads), sliced(v, head, heads), isHeadsFirst, slots);
      pool.summaries?.write(layer, pool.keysOf(layer), filledPages(growths.slice(-runs.length), counts, pool.sizes));
    }
  } catch (error) {
    for (const growth of growths) growth.drop();
    throw error;
  }
  for (const growth of growths) growth.settle();
}

/** Rows may come from the process's memory or from the cache's own device. */
function checkPlace(pool: KvPages, view: View, name: string): void {
  const at = deviceOf(view);
  if (at === cpu || at === pool.sizes.device) return;
  throw new TilewiseError(
    'ERR_TILEWISE_WRONG_DEVICE',
    `\`${name}\` lies on another device than the cache; bring it there with to()`,
  );
}

/** Rows that a coded part takes onto its pages at once: what is left of them there is little, however long a prompt. */
const codedRows = 256;

/**
 * Appends rows to the runs of a part whose older tokens have codes. When anything fails, nothing has changed.
 * @throws {TilewiseError} ERR_TILEWISE_OUT_OF_MEMORY and others
 */
function appendCodedRows(part: KvPart, rows: KvRows, isHeadsFirst: boolean, counts: ArrayLike<number>): void {
  const { pool, runs } = part;
  const codes = part.codes as CodedTokens;
  checkPlace(pool, rows.k, 'k');
  checkPlace(pool, rows.v, 'v');
  const lengths = runs.map((run, i) => run.lengthOf(0) + counts[i]);
  codes.reserve(lengths);
  const { summaries } = codes;
  const { pageSize } = pool.sizes;
  summaries?.reserve(
    lengths.reduce((sum, length, i) => sum + Math.floor(length / pageSize) - codes.runs[i].full.pages.length, 0),
  );
  const onPages = Math.min(rows.tokens, codedRows) + codes.format.residual;
  pool.reserve(0, runs.length * (Math.ceil(onPages / pageSize) + 2));
  const { token } = axesOf(4, isHeadsFirst);
  for (let begin = 0; begin < rows.tokens; begin += codedRows) {
    const end = Math.min(rows.tokens, begin + codedRows);
    const piece: KvRows = {
      k: sliced(rows.k, token, { begin, end }),
      v: sliced(rows.v, token, { begin, end }),
      batch: rows.batch,
      tokens: end - begin,
    };
    const taken = runs.map((_, i) => Math.max(0, Math.min(counts[i], end) - begin));
    appendRows([part], 0, piece, isHeadsFirst, taken);
    for (const [i, run] of runs.entries()) {
      summaries?.write(codes.runs[i].full, run, pool.keysOf(0));
      codes.settle(i, run.lengthOf(0), lengths[i], { pool, run });
      run.letGo(codes.codedLength(i));
    }
  }
}

/** appendRows() to the parts that a layer is in, with or without codes. */
export function appendToLayer(
  parts: readonly KvPart[],
  layer: number,
  rows: KvRows,
  isHeadsFirst: boolean,
  counts: ArrayLike<number>,
): void {
  if (parts[0].codes) appendCodedRows(parts[0], rows, isHeadsFirst, counts);
  else appendRows(parts, layer, rows, isHeadsFirst, counts);
}
