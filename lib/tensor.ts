// Tensors: typed arrays with dimensions, our own class and everyone else's.
// Reader: anyone who has numbers to bring in. Structurally the Tensor of onnxruntime-common and transformers.js, so
// theirs come in as they are and ours go out to them; with strides and an offset, so that views need no copy.

import { show, showDims, TilewiseRangeError, TilewiseTypeError } from './errors.js';
import { is } from './validate.js';

/** The global Float16Array where the compiler and the runtime know it, else Uint16Array with the bits. */
export type Float16Data = typeof globalThis extends { Float16Array: { prototype: infer T } }
  ? T | Uint16Array
  : Uint16Array;

/** Element types and the typed arrays that hold them. */
export interface DataTypes {
  float32: Float32Array;
  /** IEEE half precision: Float16Array where it exists, or Uint16Array with the bits. */
  float16: Float16Data;
  /** The upper half of a float32, as bits in a Uint16Array. */
  bfloat16: Uint16Array;
  int32: Int32Array;
  uint8: Uint8Array;
  /** One byte per element, 0 is false. */
  bool: Uint8Array;
}
export type DataType = keyof DataTypes;
/** Element types of queries, keys, values and outputs. */
export type FloatType = 'float32' | 'float16' | 'bfloat16';

/**
 * Anything shaped like a tensor: `{ type, data, dims }` as onnxruntime and transformers.js have it, or
 * `{ dtype, data, shape }` as NumPy readers have it. `strides` and `offset` count elements; without them the data is
 * read in row-major order and must hold exactly as many elements as the dims say.
 */
export interface TensorLike {
  readonly type?: string;
  readonly dtype?: string;
  readonly data: unknown;
  readonly dims?: ArrayLike<number>;
  readonly shape?: ArrayLike<number>;
  /** Elements from one index of an axis to the next; negative runs backwards, 0 repeats (inputs only). */
  readonly strides?: ArrayLike<number>;
  /** The element that index 0 of every axis falls on. */
  readonly offset?: number;
  readonly location?: string;
}

/** A class that results can be given as: `ort.Tensor`, transformers.js's `Tensor`, ours. */
export type TensorConstructor<T> = new (type: never, data: never, dims: never) => T;

/** A tensor as the rest of lib/ sees it: every field present, types agree, all elements inside the data. */
export interface View {
  readonly type: DataType;
  readonly data: TensorData;
  readonly dims: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}
export type TensorData = DataTypes[DataType];

const maxRank = 8;
const elementBytes: Record<DataType, number> = { float32: 4, float16: 2, bfloat16: 2, int32: 4, uint8: 1, bool: 1 };
const holders: Record<DataType, readonly string[]> = {
  float32: ['Float32Array'],
  float16: ['Float16Array', 'Uint16Array'],
  bfloat16: ['Uint16Array'],
  int32: ['Int32Array'],
  uint8: ['Uint8Array'],
  bool: ['Uint8Array'],
};
const dataTypes = Object.keys(holders) as DataType[];

// The getter answers for typed arrays of every realm and cannot be imitated, where instanceof fails across realms.
const nameGetter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)!
  .get as (this: unknown) => string | undefined;

/** The kind of a typed array, undefined for everything else. */
export const typedArrayName = (value: unknown): string | undefined => nameGetter.call(value);

/** Numbers in memory with a type and dimensions; on the CPU. */
export class Tensor<T extends DataType = DataType> implements View {
  readonly type: T;
  readonly data: DataTypes[T];
  /** Length of every axis. Frozen, like `strides`. */
  readonly dims: readonly number[];
  /** Elements from one index of an axis to the next. */
  readonly strides: readonly number[];
  /** The element of `data` that index 0 of every axis falls on. */
  readonly offset: number;

  /**
   * Wraps `data` without copying it.
   * @param type element type; decides how `data` is read, so a Uint16Array is float16 or bfloat16 as `type` says
   * @param data a typed array that holds such elements, over an ArrayBuffer or a SharedArrayBuffer
   * @param dims length of every axis, at most 8 axes; zeros are allowed
   * @param view strides and offset in elements, for data that is not row-major from its first element
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_DTYPE, ERR_TILEWISE_SHAPE_MISMATCH,
   *   ERR_TILEWISE_OUT_OF_BOUNDS
   */
  constructor(
    type: T,
    data: DataTypes[T],
    dims: ArrayLike<number>,
    view: { strides?: ArrayLike<number>; offset?: number } = {},
  ) {
    const read = readParts('tensor', type, data, dims, view.strides, view.offset);
    this.type = type;
    this.data = data;
    this.dims = Object.freeze(read.dims);
    this.strides = Object.freeze(read.strides);
    this.offset = read.offset;
  }

  /**
   * Takes over another library's tensor, sharing its data.
   * @throws {TypeError | RangeError} as the constructor
   */
  static from(tensor: TensorLike): Tensor {
    const { type, data, dims, strides, offset } = readTensor('tensor', tensor);
    return new Tensor(type, data as never, dims, { strides, offset });
  }

  /** Elements: the product of the dims. */
  get size(): number {
    return sizeOf(this.dims);
  }

  /** Where the data is: always the CPU's memory. */
  get location(): 'cpu' {
    return 'cpu';
  }

  /** The data, as libraries with device tensors ask for it. */
  async getData(): Promise<DataTypes[T]> {
    return this.data;
  }

  /** Nothing to free: the collector owns the memory. Present because libraries with device tensors call it. */
  dispose(): void {}

  /**
   * A view of the indices `start` to `end` (exclusive) of one axis; negative ones count from the end, as in
   * Array.prototype.slice. Shares the data: libraries that know no strides would read `data` whole.
   * @throws {RangeError} ERR_TILEWISE_INVALID_OPTION when there is no such axis or an index is not whole
   */
  slice(axis: number, start: number, end = Number.POSITIVE_INFINITY): Tensor<T> {
    if (!is.integer(axis, 0, this.dims.length - 1)) throw this.#wrong('axis', `below ${this.dims.length}`, axis);
    if (!Number.isInteger(start)) throw this.#wrong('start', 'whole', start);
    if (!Number.isInteger(end) && end !== Number.POSITIVE_INFINITY) throw this.#wrong('end', 'whole', end);
    const length = this.dims[axis];
    const index = (i: number) => (i < 0 ? Math.max(length + i, 0) : Math.min(i, length));
    const begin = index(start);
    const size = Math.max(index(end) - begin, 0);
    return new Tensor(this.type, this.data, this.dims.with(axis, size), {
      strides: this.strides,
      offset: size === 0 ? this.offset : this.offset + begin * this.strides[axis],
    });
  }

  /**
   * A view with the axes in another order: axis `i` of the result is axis `order[i]` of this tensor. Shares the data.
   * @throws {RangeError} ERR_TILEWISE_INVALID_OPTION when `order` does not name every axis once
   */
  transpose(order: readonly number[]): Tensor<T> {
    const isPermutation = order.length === this.dims.length && this.dims.every((_, axis) => order.includes(axis));
    if (!isPermutation) throw this.#wrong('order', `a permutation of the ${this.dims.length} axes`, order);
    const pick = (values: readonly number[]) => order.map((axis) => values[axis]);
    return new Tensor(this.type, this.data, pick(this.dims), { strides: pick(this.strides), offset: this.offset });
  }

  #wrong(name: string, expected: string, value: unknown): Error {
    return new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${name}\` must be ${expected} for dims ${showDims(this.dims)}, not ${show(value)}`,
    );
  }
}

export function sizeOf(dims: readonly number[]): number {
  let size = 1;
  for (const length of dims) size *= length;
  return size;
}

export function contiguousStrides(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length);
  let stride = 1;
  for (let axis = dims.length - 1; axis >= 0; --axis) {
    strides[axis] = stride;
    stride *= dims[axis];
  }
  return strides;
}

/** First and last element that a view addresses, inclusive; undefined when it addresses none. */
export function extentOf(view: Pick<View, 'dims' | 'strides' | 'offset'>): [first: number, last: number] | undefined {
  let first = view.offset;
  let last = view.offset;
  for (let axis = 0; axis < view.dims.length; ++axis) {
    if (view.dims[axis] === 0) return undefined;
    const reach = (view.dims[axis] - 1) * view.strides[axis];
    if (reach < 0) first += reach;
    else last += reach;
  }
  return [first, last];
}

export const bytesPer = (type: DataType): number => elementBytes[type];

/** Float16Array where this runtime has it: what float16 results are given as, like onnxruntime's. */
const float16Array = (globalThis as { Float16Array?: typeof Uint16Array }).Float16Array ?? Uint16Array;

/** Zeroed data for a result. Owned by the JavaScript heap: memory that native code owns outlives its last use by much. */
export function allocate(type: FloatType, size: number): TensorData {
  if (type === 'float32') return new Float32Array(size);
  return type === 'float16' ? new float16Array(size) : new Uint16Array(size);
}

/** Reads an argument that should be a tensor of one of the `accepted` types. */
export function readTensor(name: string, value: unknown, accepted: readonly DataType[] = dataTypes): View {
  if (!is.object(value)) throw notTensor(name, `must be a tensor { type, data, dims }, not ${show(value)}`);
  const { location } = value;
  if (location !== undefined && location !== 'cpu' && location !== 'cpu-pinned') {
    throw notTensor(name, `lies in ${show(location)}; only tensors in 'cpu' memory are accepted`);
  }
  const type = value.type ?? value.dtype;
  if (!accepted.includes(type as DataType)) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`${name}\` has type ${show(type)}; accepted: ${accepted.join(', ')}`,
    );
  }
  return readParts(name, type as DataType, value.data, value.dims ?? value.shape, value.strides, value.offset);
}

function readParts(
  name: string,
  type: DataType,
  data: unknown,
  dims: unknown,
  strides: unknown,
  offset: unknown,
): View & { dims: number[]; strides: number[] } {
  if (!dataTypes.includes(type)) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`${name}\` has type ${show(type)}; known types: ${dataTypes.join(', ')}`,
    );
  }
  const holder = typedArrayName(data);
  if (holder === undefined || !holders[type].includes(holder)) {
    throw holder === undefined
      ? notTensor(name, `needs a typed array as \`data\`, not ${show(data)}`)
      : new TilewiseTypeError(
          'ERR_TILEWISE_DTYPE',
          `\`${name}\` has type '${type}', whose data is a ${holders[type].join(' or ')}, not a ${holder}`,
        );
  }
  const sizes = readIntegers(name, 'dims', dims, 0);
  const view = {
    type,
    data: data as TensorData,
    dims: sizes,
    strides:
      strides === undefined
        ? contiguousStrides(sizes)
        : readIntegers(name, 'strides', strides, -Number.MAX_SAFE_INTEGER),
    offset: 0,
  };
  if (view.strides.length !== sizes.length) {
    throw notTensor(name, `has ${sizes.length} dims and ${view.strides.length} strides`);
  }
  if (offset !== undefined) {
    if (!is.integer(offset, 0, Number.MAX_SAFE_INTEGER)) {
      throw notTensor(name, `needs a whole number from 0 as \`offset\`, not ${show(offset)}`);
    }
    view.offset = offset;
  }
  checkExtent(name, view, strides === undefined && offset === undefined);
  return view;
}

/** Every element inside the data, in memory that stays where it is. */
function checkExtent(name: string, view: View, isWhole: boolean): void {
  const { data, dims } = view;
  const { buffer } = data;
  // A resizable buffer can shrink under a running call and take its pages away.
  if ((buffer as { resizable?: boolean }).resizable === true) {
    throw notTensor(name, 'lies in a resizable ArrayBuffer; copy it or use one of fixed size');
  }
  const extent = extentOf(view);
  if (extent === undefined) return;
  const [first, last] = extent;
  if (first >= 0 && last < data.length) {
    if (!isWhole || last + 1 === data.length) return;
    throw new TilewiseRangeError(
      'ERR_TILEWISE_SHAPE_MISMATCH',
      `\`${name}\` has dims ${showDims(dims)}, which are ${last + 1} elements, but data of ${data.length}; ` +
        'give an `offset` to use a part of it',
    );
  }
  if (buffer.byteLength === 0) throw notTensor(name, 'has no memory: its buffer is empty or was transferred');
  throw new TilewiseRangeError(
    'ERR_TILEWISE_OUT_OF_BOUNDS',
    `\`${name}\` with dims ${showDims(dims)}, strides ${showDims(view.strides)} and offset ${view.offset} ` +
      `reaches elements ${first} to ${last} of data that has ${data.length}`,
  );
}

function readIntegers(name: string, what: string, values: unknown, least: number): number[] {
  const length = is.object(values) ? values.length : undefined;
  if (!is.integer(length, 0, maxRank)) {
    throw notTensor(name, `needs an array of at most ${maxRank} numbers as \`${what}\`, not ${show(values)}`);
  }
  const result = new Array<number>(length);
  for (let axis = 0; axis < length; ++axis) {
    const value = (values as unknown as ArrayLike<unknown>)[axis];
    if (!is.integer(value, least, Number.MAX_SAFE_INTEGER)) {
      throw notTensor(name, `needs whole numbers${least === 0 ? ' from 0' : ''} as \`${what}\`, not ${show(values)}`);
    }
    result[axis] = value;
  }
  return result;
}

const notTensor = (name: string, problem: string): Error =>
  new TilewiseTypeError('ERR_TILEWISE_INVALID_TENSOR', `\`${name}\` ${problem}`);
