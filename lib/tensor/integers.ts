// Integers: lengths, running totals and page tables, in any of the forms that people have them in.
// Reader: someone who asks what `keyLengths` and `pages.table` accept.

import { TilewiseRangeError } from '../check/errors.js';
import { invalid, is, readEach } from '../check/validate.js';
import { toDense } from './dense.js';
import { isList } from './nested.js';
import { typedArrayName } from './typed-arrays.js';
import type { DataType, TensorLike } from './types.js';
import { contiguousStrides, type HostView, readHostTensor } from './views.js';

/** Whole numbers along one axis. */
export type IntegerList = ArrayLike<number | bigint> | TensorLike;

/** Whole numbers in rows; rows may differ in length. One row may do without the outer array. */
export type IntegerTable = IntegerList | readonly ArrayLike<number | bigint>[];

const types: readonly DataType[] = ['int32', 'int64', 'uint8'];
const [least, most] = [-(2 ** 31), 2 ** 31 - 1];

/** Reads a list; an Int32Array as it is. */
export function readIntegerList(name: string, value: unknown): Int32Array {
  if (isList(value)) return integersOf(name, value);
  if (!is.object(value)) throw invalid(name, 'an Int32Array, an array of integers or an integer tensor', value);
  const { dims, data } = toDense(name, readHostTensor(name, value, types));
  if (dims.length !== 1) throw invalid(name, 'a tensor with one axis', value);
  return integersOf(name, data);
}

/** Reads a table. Short rows are filled up with -1. */
export function readIntegerTable(name: string, value: unknown): HostView {
  if (is.object(value) && !isList(value)) {
    const view = toDense(name, readHostTensor(name, value, types));
    return { ...view, type: 'int32', data: integersOf(name, view.data) };
  }
  if (!isList(value)) throw invalid(name, 'an array of rows of integers or an integer tensor', value);
  const isOneRow = value.length > 0 && !isList(value[0]);
  const rows = isOneRow
    ? [integersOf(name, value)]
    : readEach(value, (row, i) => {
        if (!isList(row)) throw invalid(`${name}[${i}]`, 'an array of integers', row);
        return integersOf(`${name}[${i}]`, row);
      });
  const dims = [rows.length, Math.max(0, ...rows.map(({ length }) => length))];
  const data = new Int32Array(dims[0] * dims[1]).fill(-1);
  for (const [i, row] of rows.entries()) data.set(row, i * dims[1]);
  return { type: 'int32', data, dims, strides: contiguousStrides(dims), offset: 0 };
}

function integersOf(name: string, list: ArrayLike<unknown>): Int32Array {
  if (typedArrayName(list) === 'Int32Array') return list as Int32Array;
  const numbers = readEach(list, (value, i) => {
    const number = typeof value === 'bigint' ? Number(value) : value;
    if (is.integer(number, least, most)) return number;
    const at = `${name}[${i}]`;
    if (!is.number(number)) throw invalid(at, 'a whole number', value);
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${at}\` must be a whole number from ${least} to ${most}, not ${value}`,
    );
  });
  return Int32Array.from(numbers);
}
