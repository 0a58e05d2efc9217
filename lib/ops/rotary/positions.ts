// Positions and frequencies of rotate() as the caller has them: float64 numbers in rows.
// Reader: someone who asks what `positions` and `frequencies` accept.

import { mismatch } from '../../call/shape.js';
import { showDims } from '../../check/errors.js';
import { invalid, is } from '../../check/validate.js';
import { toDense } from '../../tensor/dense.js';
import { isList, type NestedArray, readNumbers } from '../../tensor/nested.js';
import type { DataType, TensorLike } from '../../tensor/types.js';
import { readHostTensor } from '../../tensor/views.js';

/** Numbers in an array or a typed array, one inside the other for more axes, or a tensor of integers or float32. */
export type NumberArray = TensorLike | ArrayLike<number | bigint> | readonly NestedArray[];

/** Rows of numbers: `stride` from row to row, 0 where there is one row for all. */
export interface Rows {
  readonly data: Float64Array;
  readonly stride: number;
}

const types: readonly DataType[] = ['float32', 'int32', 'int64', 'uint8'];

/** Reads a row of `length` numbers for all, or one for each of `count`, in memory of their own. */
export function readRows(name: string, value: unknown, count: number, length: number): Rows {
  const { data, dims } = readValues(name, value);
  const [rows, last] = dims.length === 1 ? [1, dims[0]] : dims;
  if (dims.length < 1 || dims.length > 2 || last !== length || (rows !== 1 && rows !== count)) {
    throw mismatch(`\`${name}\` must have dims [${length}] or [${count}, ${length}], not ${showDims(dims)}`);
  }
  const wrong = data.findIndex((x) => !Number.isFinite(x));
  if (wrong >= 0) throw invalid(`${name}[${wrong}]`, 'a finite number', data[wrong]);
  return { data, stride: rows === 1 ? 0 : length };
}

function readValues(name: string, value: unknown): { data: Float64Array; dims: readonly number[] } {
  if (isList(value)) return readNumbers(name, value);
  if (!is.object(value)) throw invalid(name, 'an array or a tensor', value);
  const { data, dims } = toDense(name, readHostTensor(name, value, types));
  return { data: Float64Array.from(data as ArrayLike<number | bigint>, Number), dims };
}
