// Ways to lay out a tensor in memory, and the way back from a tensor of the public API to plain numbers.
// Reader: whoever builds cases. Elements between the rows of a view are NaN: nobody may read them.

import type { TensorLike } from '../../dist/index.js';
import { type FloatType, round, toBits } from '../references/half.js';
import { type ElementType, forEachIndex, type Operand, rowMajor } from '../references/operand.js';

export type Layout = 'bnhd' | 'bhnd';

/**
 * dense: what the layout says, no strides given. gaps: unused elements after every row of every axis. reversed: tokens
 * and dims run backwards. swapped: the memory order of the other layout. spread: every third element.
 * repeated: one batch entry in memory, read by all.
 */
export const storages = ['dense', 'gaps', 'reversed', 'swapped', 'spread', 'repeated'] as const;
export type Storage = (typeof storages)[number];

const arrayTypes = { float32: Float32Array, float16: Uint16Array, bfloat16: Uint16Array, bool: Uint8Array };

/** The elements of a type that hold these numbers. */
export function encode(type: ElementType, numbers: ArrayLike<number>): Operand['data'] {
  const data = new arrayTypes[type](numbers.length);
  const isHalf = type === 'float16' || type === 'bfloat16';
  for (let i = 0; i < numbers.length; i++) data[i] = isHalf ? toBits(type, numbers[i]) : numbers[i];
  return data;
}

/** A dense operand with the given numbers. */
export function operandOf(type: ElementType, dims: number[], numbers: ArrayLike<number>): Operand {
  return { type, data: encode(type, numbers), dims, strides: rowMajor(dims), offset: 0 };
}

/** Order of the axes [batch, heads, tokens, dim] in memory, outermost first. */
const memoryOrder = { bnhd: [0, 2, 1, 3], bhnd: [0, 1, 2, 3] };

/** An operand [batch, heads, tokens, dim] filled by `next` in logical order, lying in memory as `storage` says. */
export function store(
  type: FloatType,
  dims: number[],
  layout: Layout,
  storage: Storage,
  next: () => number,
  gap: number = NaN,
): Operand {
  const order = memoryOrder[storage === 'swapped' ? (layout === 'bnhd' ? 'bhnd' : 'bnhd') : layout];
  const strides = [0, 0, 0, 0];
  let extent = storage === 'spread' ? 3 : 1;
  let offset = storage === 'gaps' ? 5 : 0;
  for (const axis of [...order].reverse()) {
    if (storage === 'repeated' && axis === 0) continue;
    strides[axis] = extent;
    extent = extent * Math.max(1, dims[axis]) + (storage === 'gaps' ? 3 : 0);
  }
  if (storage === 'reversed') {
    for (const axis of [2, 3]) {
      offset += Math.max(0, dims[axis] - 1) * strides[axis];
      strides[axis] = -strides[axis];
    }
  }
  const data = encode(type, new Float64Array(offset + extent).fill(gap));
  const operand = { type, data, dims, strides, offset };
  forEachIndex(operand, (index) => {
    const x = round(type, next());
    data[index] = type === 'float32' ? x : toBits(type, x);
  });
  return operand;
}

const permute = <T>(list: readonly T[], order: readonly number[]): T[] => order.map((axis) => list[axis]);

/**
 * The operand [batch, heads, tokens, dim] as the public API takes it in a layout; 3-D without its batch axis, and with
 * the axes of a grid in place of the tokens.
 */
export function toTensor(
  operand: Operand,
  layout: Layout,
  storage: Storage = 'gaps',
  is3d = false,
  grid: readonly number[] = [operand.dims[2]],
): TensorLike {
  const order = memoryOrder[layout].slice(is3d ? 1 : 0);
  const expand = (lengths: number[], tokens: readonly number[]): number[] =>
    order.flatMap((axis) => (axis === 2 ? tokens : [lengths[axis]]));
  const dims = expand(operand.dims, grid);
  const { type, data } = operand;
  if (storage === 'dense') return { type, data, dims };
  const tokenStrides = rowMajor(grid).map((stride) => stride * operand.strides[2]);
  return { type, data, dims, strides: expand(operand.strides, tokenStrides), offset: operand.offset };
}

/** A bias, mask, or vector as the public API takes it. */
export function toPlainTensor({ type, data, dims, strides, offset }: Operand): TensorLike {
  return { type, data, dims, strides, offset };
}

type AnyTensor = {
  type: string;
  data: ArrayBufferView;
  dims: readonly number[];
  strides?: readonly number[];
  offset?: number;
};

/** A tensor that came out of the public API, as an operand with its own axes. */
export function fromTensor(tensor: AnyTensor): Operand {
  const type = tensor.type as ElementType;
  const { buffer, byteOffset, byteLength } = tensor.data;
  const dims = [...tensor.dims];
  return {
    type,
    data: new arrayTypes[type](buffer as ArrayBuffer, byteOffset, byteLength / arrayTypes[type].BYTES_PER_ELEMENT),
    dims,
    strides: tensor.strides ? [...tensor.strides] : rowMajor(dims),
    offset: tensor.offset ?? 0,
  };
}

/** An operand with the axes of a grid, which begin at `first`, as one axis of tokens. */
export function collapse(operand: Operand, first: number, grid: readonly number[]): Operand {
  const own = operand.dims.slice(first, first + grid.length);
  if (`${own}` !== `${grid}`) throw new Error(`dims [${operand.dims}] instead of the grid [${grid}] at axis ${first}`);
  const strides = operand.strides.slice(first, first + grid.length);
  const tokenStride = strides[grid.length - 1];
  const even = rowMajor(grid).every((stride, axis) => grid[axis] === 1 || strides[axis] === stride * tokenStride);
  if (!even) throw new Error(`a grid [${grid}] with strides [${strides}] has no one stride`);
  const replace = (list: number[], one: number): number[] => list.toSpliced(first, grid.length, one);
  return {
    ...operand,
    dims: replace(
      operand.dims,
      grid.reduce((a, n) => a * n, 1),
    ),
    strides: replace(operand.strides, tokenStride),
  };
}

/** An `out` of the public API in a layout, seen as [batch, heads, tokens, dim]. */
export function fromOutput(tensor: AnyTensor, layout: Layout, grid?: readonly number[]): Operand {
  const whole = fromTensor(tensor);
  const operand = grid ? collapse(whole, layout === 'bnhd' ? 1 : 2, grid) : whole;
  const dims = operand.dims.length === 3 ? [1, ...operand.dims] : operand.dims;
  const strides = operand.strides.length === 3 ? [0, ...operand.strides] : operand.strides;
  return { ...operand, dims: permute(dims, memoryOrder[layout]), strides: permute(strides, memoryOrder[layout]) };
}

/** The raw bits of every element in logical order: equal if and only if the results are bitwise equal. */
export function bitsOf(operand: Operand): Uint32Array {
  const { data } = operand;
  const raw = data instanceof Float32Array ? new Uint32Array(data.buffer, data.byteOffset, data.length) : data;
  const bits = new Uint32Array(operand.dims.reduce((size, dim) => size * dim, 1));
  let n = 0;
  forEachIndex(operand, (index) => {
    bits[n++] = raw[index];
  });
  return bits;
}
