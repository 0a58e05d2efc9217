// Operand: numbers in a buffer under any strides, as the references read them.
// Reader: whoever builds a test problem. Strides and offset count elements; 0 repeats, negative walks backwards.

import { type FloatType, fromBits } from './half.js';

export type ElementType = FloatType | 'bool';

export interface Operand {
  type: ElementType;
  data: Float32Array | Float64Array | Uint16Array | Uint8Array;
  dims: number[];
  strides: number[];
  offset: number;
}

/** Strides of a dense row-major array. */
export function rowMajor(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length).fill(1);
  for (let axis = dims.length - 2; axis >= 0; axis--) {
    strides[axis] = strides[axis + 1] * dims[axis + 1];
  }
  return strides;
}

/** Calls visit with the buffer index of every element, in row-major order of the logical indices. */
export function forEachIndex(
  operand: Readonly<Record<'dims' | 'strides', readonly number[]>> & Pick<Operand, 'offset'>,
  visit: (index: number) => void,
): void {
  const { dims, strides } = operand;
  const walk = (axis: number, index: number): void => {
    if (axis === dims.length) visit(index);
    else for (let i = 0; i < dims[axis]; i++) walk(axis + 1, index + i * strides[axis]);
  };
  walk(0, operand.offset);
}

export function readElement(operand: Operand, index: number): number {
  const bits = operand.data[index];
  return operand.type === 'float16' || operand.type === 'bfloat16' ? fromBits(operand.type, bits) : bits;
}

/** All elements as numbers, dense and row-major. */
export function toNumbers(operand: Operand): Float64Array {
  const numbers = new Float64Array(operand.dims.reduce((size, dim) => size * dim, 1));
  let n = 0;
  forEachIndex(operand, (index) => {
    numbers[n++] = readElement(operand, index);
  });
  return numbers;
}

/** The operand seen with four axes by numpy's rule: missing leading axes and axes of size 1 repeat. */
export function broadcast(operand: Operand, dims: readonly number[]): Operand {
  const missing = dims.length - operand.dims.length;
  const strides = dims.map((dim, axis) => {
    const own = axis < missing ? 1 : operand.dims[axis - missing];
    if (own !== 1 && own !== dim) throw new Error(`cannot broadcast ${operand.dims} to ${dims}`);
    return own === 1 ? 0 : operand.strides[axis - missing];
  });
  return { ...operand, dims: [...dims], strides };
}

/** The whole numbers from `begin` to `end`, without `end`. */
export const range = (begin: number, end: number): number[] => Array.from({ length: end - begin }, (_, i) => begin + i);
