// The shape of a problem: which sizes tensors have, and whether they fit together.
// Reader: someone who asks which shapes fit.

import { showDims, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { maxTokens } from '../check/validate.js';
import { field } from '../native/fields.js';
import { dataTypeCode } from '../native/native.js';
import { type Axes, layoutWords, lengthsOf, tokenAxesOf } from '../tensor/axes.js';
import type { FloatType } from '../tensor/types.js';
import { sizeOf, type View } from '../tensor/views.js';

/** The sizes of a problem, as explain() is told them and attention() finds them in the tensors. */
export interface Shape {
  readonly batch: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
  readonly valueDim: number;
  /** Of q and out. */
  readonly type: FloatType;
  /** Of k and v. */
  readonly keyType: FloatType;
}

/** Largest headDim and valueDim. */
export const maxHeadDim = 4096;

export const mismatch = (message: string): Error => new TilewiseRangeError('ERR_TILEWISE_SHAPE_MISMATCH', message);

/** Refuses a tensor that differs from what it must be. */
export function checkSame(name: string, view: View, type: string, dims: readonly number[]): void {
  if (view.type !== type) {
    throw new TilewiseTypeError('ERR_TILEWISE_DTYPE', `\`${name}\` must have type ${type}, not ${view.type}`);
  }
  if (view.dims.length !== dims.length || dims.some((length, axis) => view.dims[axis] !== length)) {
    throw mismatch(`\`${name}\` must have dims ${showDims(dims)}, not ${showDims(view.dims)}`);
  }
}

/** Refuses sizes beyond what index arithmetic allows. */
export function checkSize(name: string, value: number, least: number, most: number): void {
  if (value < least || value > most) throw mismatch(`${name} must be ${least} to ${most}, not ${value}`);
}

/** Keys and values have the type of the queries; under float32 queries they may have another, and are read as float32. */
export function checkTypes(q: View, k: View, v?: View): void {
  const fits = q.type === 'float32' || k.type === q.type;
  if (fits && (v === undefined || v.type === k.type)) return;
  const [names, others] = v ? ['`q`, `k` and `v`', 'k and v'] : ['`q` and `k`', 'k'];
  const types = [q, k, ...(v ? [v] : [])].map(({ type }) => type);
  throw new TilewiseTypeError(
    'ERR_TILEWISE_DTYPE',
    `${names} must have one type, or q float32 and ${others} one other float type, not ${types.join(', ')}`,
  );
}

/**
 * The sizes of a call; the token axes of a grid count as one.
 * @param pages when k and v are pages: the axes of these, pages in place of the batch, and how many keys a sequence has room for
 */
export function readShape(q: View, k: View, v: View, axes: Axes, pages?: { axes: Axes; keys: number }): Shape {
  checkTypes(q, k, v);
  const length = (view: View, axis: number) => (axis < 0 ? 1 : view.dims[axis]);
  const tokenAxes = tokenAxesOf(axes, q.dims.length);
  const tokens = (view: View) => sizeOf(lengthsOf(view, tokenAxes));
  const at = pages?.axes ?? axes;
  const rank = pages ? 4 : q.dims.length;
  const agree =
    k.dims.length === rank &&
    v.dims.length === rank &&
    (pages !== undefined || length(k, at.batch) === length(q, axes.batch)) &&
    length(v, at.batch) === length(k, at.batch) &&
    lengthsOf(v, tokenAxesOf(at, rank)).every((tokens, axis) => k.dims[at.token + axis] === tokens) &&
    length(v, at.head) === length(k, at.head) &&
    length(k, at.dim) === length(q, axes.dim);
  if (!agree) {
    throw mismatch(
      `\`q\` ${showDims(q.dims)}, \`k\` ${showDims(k.dims)} and \`v\` ${showDims(v.dims)} do not fit: ` +
        `${pages ? 'k and v share the pages' : 'they share the batch'}, q and k the dim, k and v tokens and heads`,
    );
  }
  const shape: Shape = {
    batch: length(q, axes.batch),
    queryHeads: length(q, axes.head),
    kvHeads: length(k, at.head),
    queries: tokens(q),
    keys: pages?.keys ?? tokens(k),
    headDim: length(q, axes.dim),
    valueDim: length(v, at.dim),
    type: q.type as FloatType,
    keyType: k.type as FloatType,
  };
  checkSize('The batch', shape.batch, 0, maxTokens);
  checkSize('The number of query heads', shape.queryHeads, 1, maxTokens);
  checkSize('The number of KV heads', shape.kvHeads, 1, maxTokens);
  checkSize('The number of queries', shape.queries, 0, maxTokens);
  checkSize('The number of keys', shape.keys, 0, maxTokens);
  checkSize('The dim of `q` and `k`', shape.headDim, 1, maxHeadDim);
  checkSize('The dim of `v`', shape.valueDim, 1, maxHeadDim);
  return shape;
}

/** Fills in the sizes, and what follows from them unless options say otherwise. */
export function putShape(numbers: Float64Array, shape: Shape): void {
  numbers[field.batch] = shape.batch;
  numbers[field.queryHeads] = shape.queryHeads;
  numbers[field.kvHeads] = shape.kvHeads;
  numbers[field.queries] = shape.queries;
  numbers[field.keys] = shape.keys;
  numbers[field.headDim] = shape.headDim;
  numbers[field.valueDim] = shape.valueDim;
  numbers[field.type] = dataTypeCode(shape.type);
  numbers[field.keyType] = dataTypeCode(shape.keyType);
  numbers[field.sequences] = shape.batch;
  numbers[field.scale] = 1 / Math.sqrt(shape.headDim);
}

/**
 * Refuses more KV heads than query heads where nobody asked for them: q in one layout and k in the other look like that.
 */
export function checkOneLayout(q: View, k: View, { queryHeads, kvHeads }: Shape, isHeadsFirst: boolean): void {
  if (kvHeads <= queryHeads) return;
  const rank = q.dims.length;
  const words = (isFirst: boolean) => `${layoutWords(rank, isFirst)} (\`layout: '${isFirst ? 'bhnd' : 'bnhd'}'\`)`;
  throw mismatch(
    `\`q\` ${showDims(q.dims)} and \`k\` ${showDims(k.dims)} have ${queryHeads} query heads and ${kvHeads} KV heads, ` +
      `read as ${words(isHeadsFirst)}. All tensors must be that, or all ${words(!isHeadsFirst)}; more KV heads than ` +
      'query heads are for `pairing` and sparseQueryAttention()',
  );
}

/** Heads of the output, of modifiers and of `lse`. */
export const outputHeads = ({ queryHeads, kvHeads }: Pick<Shape, 'queryHeads' | 'kvHeads'>): number =>
  Math.max(queryHeads, kvHeads);

/** Grouped heads must divide evenly; `pairing` answers a question that only reverse SQA poses. */
export function checkHeads({ queryHeads, kvHeads }: Pick<Shape, 'queryHeads' | 'kvHeads'>, pairing?: string): void {
  if (queryHeads % kvHeads !== 0 && kvHeads % queryHeads !== 0) {
    throw mismatch(`${queryHeads} query heads and ${kvHeads} KV heads do not divide either way`);
  }
  if (pairing !== undefined && kvHeads <= queryHeads) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`pairing\` '${pairing}' needs more KV heads than query heads, not ${kvHeads} and ${queryHeads}`,
    );
  }
}
