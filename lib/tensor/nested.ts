// Nested arrays: numbers in arrays of arrays, as a tensor.
// Reader: someone who writes numbers down by hand and asks what Tensor.from() accepts.

import { allocating, show, showDims, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { is } from '../check/validate.js';
import { writer } from './convert.js';
import { typedArrayName } from './typed-arrays.js';
import type { DataType } from './types.js';
import { allocate, contiguousStrides, type HostView, maxRank, sizeOf } from './views.js';

/** Numbers, or arrays of numbers, or arrays of those: all arrays of one depth have one length. */
export type NestedArray = number | bigint | boolean | ArrayLike<number | bigint> | readonly NestedArray[];

type List = ArrayLike<unknown>;

export const isList = (value: unknown): value is List => Array.isArray(value) || typedArrayName(value) !== undefined;

/** The dims of nested arrays, by the first array of each depth. */
function dimsOf(name: string, nested: unknown): number[] {
  const dims: number[] = [];
  for (let at = nested; isList(at); at = at[0]) {
    if (dims.length === maxRank) throw wrong(name, TilewiseTypeError, `be nested at most ${maxRank} deep`, nested);
    dims.push(at.length);
  }
  return dims;
}

/** Reads nested arrays, all of one length at every depth. `name`: that of the argument. */
export function readNested(nested: unknown, type: DataType, name = 'nested'): HostView {
  const dims = dimsOf(name, nested);
  const data = allocate(type, sizeOf(dims));
  const write = writer(type, data);
  const whole = wholeNumbers[type];
  forEachNumber(name, nested, dims, (value, index) => {
    if (whole && !is.integer(value, ...whole)) {
      const expected = `hold whole numbers from ${whole[0]} to ${whole[1]} for type ${type}`;
      throw wrong(name, TilewiseRangeError, expected, value);
    }
    write(index, value);
  });
  return { type, data, dims, strides: contiguousStrides(dims), offset: 0 };
}

/** The same as float64 numbers. */
export function readNumbers(name: string, nested: unknown): { data: Float64Array; dims: number[] } {
  const dims = dimsOf(name, nested);
  const data = allocating(() => new Float64Array(sizeOf(dims)));
  forEachNumber(name, nested, dims, (value, index) => {
    data[index] = value;
  });
  return { data, dims };
}

/** Visits the numbers in row-major order. */
function forEachNumber(
  name: string,
  nested: unknown,
  dims: readonly number[],
  visit: (value: number, index: number) => void,
): void {
  let next = 0;
  const read = (value: unknown, depth: number): void => {
    if (depth < dims.length) {
      if (!isList(value) || value.length !== dims[depth]) throw ragged(name, dims, value);
      for (let i = 0; i < value.length; ++i) read(value[i], depth + 1);
      return;
    }
    if (!is.number(value) && !is.boolean(value) && typeof value !== 'bigint')
      throw wrong(name, TilewiseTypeError, 'hold numbers', value);
    visit(Number(value), next++);
  };
  read(nested, 0);
}

const wholeNumbers: { readonly [type in DataType]?: readonly [least: number, most: number] } = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  uint8: [0, 255],
};

const ragged = (name: string, dims: readonly number[], value: unknown): Error =>
  new TilewiseRangeError(
    'ERR_TILEWISE_SHAPE_MISMATCH',
    `\`${name}\` must have arrays of one length at every depth, ${showDims(dims)} by the first ones, not ${show(value)}`,
  );

const wrong = (
  name: string,
  Kind: typeof TilewiseTypeError | typeof TilewiseRangeError,
  expected: string,
  value: unknown,
): Error => new Kind('ERR_TILEWISE_INVALID_TENSOR', `\`${name}\` must ${expected}, not ${show(value)}`);
