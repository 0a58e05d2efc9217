// Floats: numbers per head, query or distance, in any of the forms that people have them in.
// Reader: someone who asks what `sinks`, `alibiSlopes` and `relativeBias` accept.

import { invalid } from '../check/validate.js';
import { isList, type NestedArray, readNested } from './nested.js';
import { typedArrayName } from './typed-arrays.js';
import type { TensorLike } from './types.js';
import { readTensor, type View } from './views.js';

/** float32 numbers: a tensor, or a typed array of floats or an array of numbers, one inside the other for more axes. */
export type FloatArray = TensorLike | ArrayLike<number> | readonly NestedArray[];

/** Arrays of numbers. Others hold integers, or the bits of 16-bit floats. */
const holders: readonly (string | undefined)[] = ['Float16Array', 'Float32Array', 'Float64Array'];

/** Reads numbers as a float32 tensor; a Float32Array is read where it is. */
export function readFloats(name: string, value: unknown): View {
  const holder = typedArrayName(value);
  if (holder === 'Float32Array') {
    return readTensor(name, { type: 'float32', data: value, dims: [(value as Float32Array).length] }, ['float32']);
  }
  if (!isList(value)) return readTensor(name, value, ['float32']);
  if (holder !== undefined && !holders.includes(holder)) {
    throw invalid(name, 'a Float32Array, an array of numbers or a tensor { type, data, dims }', value);
  }
  return readNested(value, 'float32', name);
}
