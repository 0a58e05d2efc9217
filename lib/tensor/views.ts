// Views: tensors as the rest of lib/ sees them, and how arguments are read into them.
// Reader: someone who asks what counts as a tensor, and why one was refused.

import { Buffer } from 'node:buffer';
import { allocating, show, showDims, TilewiseError, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { is } from '../check/validate.js';
import { bufferOf, DeviceBuffer } from './device-buffer.js';
import { backendName } from './devices.js';
import { byteLengthOf, hasNoMemory, isResizable, typedArrayName } from './typed-arrays.js';
import type { DataType, DataTypes, FloatType } from './types.js';

/** A tensor as the rest of lib/ sees it: every field present, types agree, all elements inside the data. */
export interface View {
  readonly type: DataType;
  /** The numbers, or the device's memory that holds them. */
  readonly data: TensorData | DeviceBuffer;
  readonly dims: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  /** Memory that the call has made for itself: nobody else can change it. */
  readonly isOwn?: true;
}
export type TensorData = DataTypes[DataType];

/** A view of the process's own memory. */
export interface HostView extends View {
  readonly data: TensorData;
}

/** Most axes of a tensor. */
export const maxRank = 8;
const elementBytes: Record<DataType, number> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int32: 4,
  int64: 8,
  uint8: 1,
  bool: 1,
};
const holders: Record<DataType, readonly string[]> = {
  float32: ['Float32Array'],
  float16: ['Float16Array', 'Uint16Array'],
  bfloat16: ['Uint16Array'],
  int32: ['Int32Array'],
  int64: ['BigInt64Array'],
  uint8: ['Uint8Array'],
  bool: ['Uint8Array'],
};
/** Every element type. */
export const dataTypes = Object.keys(holders) as DataType[];
/** Element types of queries, keys, values and outputs. */
export const floatTypes: readonly FloatType[] = ['float32', 'float16', 'bfloat16'];

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

/** Whether a view's elements follow each other in row-major order; strides of axes of length 1 say nothing. */
export function isRowMajor({ dims, strides }: Pick<View, 'dims' | 'strides'>): boolean {
  if (dims.includes(0)) return true;
  let stride = 1;
  for (let axis = dims.length - 1; axis >= 0; --axis) {
    if (dims[axis] !== 1 && strides[axis] !== stride) return false;
    stride *= dims[axis];
  }
  return true;
}

/**
 * A dense view on a subarray that has its elements and no others: for libraries that know no strides and read `data` from
 * its start. Other views stay as they are.
 */
export function trimmed<V extends View>(view: V): V {
  if (!isOnHost(view) || !isRowMajor(view)) return view;
  const size = sizeOf(view.dims);
  const first = size === 0 ? 0 : view.offset;
  if (first === 0 && view.data.length === size) return { ...view, offset: 0 };
  return { ...view, data: view.data.subarray(first, first + size), offset: 0 };
}

/** Some indices of one axis. */
export function sliced<V extends View>(view: V, axis: number, { begin, end }: { begin: number; end: number }): V {
  const dims = view.dims.slice();
  dims[axis] = end - begin;
  return { ...view, dims, offset: view.offset + begin * view.strides[axis] };
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

/** Zeroed data of a type. Owned by the JavaScript heap: memory that native code owns outlives its last use by much. */
export function allocate<T extends DataType>(type: T, size: number): DataTypes[T] {
  return allocating(() => new makers[type](size) as DataTypes[T]);
}
const makers: Record<DataType, new (size: number) => TensorData> = {
  float32: Float32Array,
  float16: float16Array,
  bfloat16: Uint16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

export const isOnHost = (view: View): view is HostView => !(view.data instanceof DeviceBuffer);

/** The device that a view is on, as its place among the backends; 0, the CPU, for the process's own memory. */
export const deviceOf = ({ data }: Pick<View, 'data'>): number => (data instanceof DeviceBuffer ? data.device : 0);

/** Reads an argument that should be a tensor of one of the `accepted` types, in the process's own memory. */
export function readHostTensor(name: string, value: unknown, accepted: readonly DataType[] = dataTypes): HostView {
  const view = readTensor(name, value, accepted);
  if (isOnHost(view)) return view;
  throw notTensor(name, `lies on '${backendName(deviceOf(view))}'; here only tensors in 'cpu' memory are accepted`);
}

/** Where tensors of other libraries and our own say that the process's memory is. Strides are read in any case. */
const hostLocations: readonly unknown[] = [undefined, 'cpu', 'cpu-pinned', 'strided'];

/**
 * Reads an argument that should be a tensor of one of the `accepted` types, on any device.
 * @param hint what the error for another type says besides
 */
export function readTensor(name: string, value: unknown, accepted: readonly DataType[] = dataTypes, hint = ''): View {
  if (!is.object(value) || Array.isArray(value) || ArrayBuffer.isView(value) || !('data' in value)) {
    throw notTensor(
      name,
      `must be a tensor, like new Tensor('${accepted[0]}', data, dims) or { type, data, dims }, not ${show(value)}`,
    );
  }
  const buffer = bufferOf(value);
  if (buffer?.isReleased) throw new TilewiseError('ERR_TILEWISE_DISPOSED', `\`${name}\` was disposed of`);
  const { location } = value;
  if (!buffer && !hostLocations.includes(location)) {
    throw notTensor(name, `lies in ${show(location)}; accepted are tensors in 'cpu' memory and our own device tensors`);
  }
  const type = value.type ?? value.dtype;
  if (!accepted.includes(type as DataType)) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`${name}\` has type ${show(type)}; accepted: ${accepted.join(', ')}${hint}`,
    );
  }
  const data = buffer ?? value.data;
  return readParts(name, type as DataType, data, value.dims ?? value.shape, value.strides, value.offset);
}

/** The same of the parts of a tensor. */
export function readParts(
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
  const held = readData(name, type, data);
  const sizes = readIntegers(name, 'dims', dims, 0);
  const view = {
    type,
    data: held,
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

/** The data of a tensor: a typed array for its type, a Node Buffer as one, or device memory. */
function readData(name: string, type: DataType, data: unknown): TensorData | DeviceBuffer {
  if (data instanceof DeviceBuffer) return data;
  const holder = typedArrayName(data);
  if (holder === undefined) throw notTensor(name, `needs a typed array as \`data\`, not ${show(data)}`);
  if (holders[type].includes(holder)) return data as TensorData;
  const bytes = bytesPer(type);
  const wanted = holders[type].at(-1);
  if (!Buffer.isBuffer(data)) {
    const cure =
      holder === 'Uint8Array' ? `; bytes become one by new ${wanted}(bytes.buffer, bytes.byteOffset, length)` : '';
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`${name}\` has type '${type}', whose data is a ${holders[type].join(' or ')}, not a ${holder}${cure}`,
    );
  }
  if (data.byteOffset % bytes !== 0 || data.length % bytes !== 0) {
    throw notTensor(
      name,
      `has a Buffer of ${data.length} bytes from byte ${data.byteOffset} of its memory on, but ${type} is aligned to ` +
        `${bytes} bytes; copy it: new ${wanted}(Uint8Array.from(buffer).buffer)`,
    );
  }
  return new (makers[type] as new (...memory: unknown[]) => TensorData)(
    data.buffer,
    data.byteOffset,
    data.length / bytes,
  );
}

/** Every element inside the data, in memory that stays where it is. */
function checkExtent(name: string, view: View, isWhole: boolean): void {
  const { data, dims } = view;
  const bytes = data instanceof DeviceBuffer ? data.byteLength : byteLengthOf(data);
  const length = bytes / bytesPer(view.type);
  // A resizable buffer can shrink under a running call and take its pages away.
  if (isOnHost(view) && isResizable(view.data)) {
    throw notTensor(name, 'lies in a resizable ArrayBuffer; copy it or use one of fixed size');
  }
  const extent = extentOf(view);
  if (extent === undefined) return;
  const [first, last] = extent;
  if (first >= 0 && last < length) {
    if (!isWhole || last + 1 === length) return;
    throw new TilewiseRangeError(
      'ERR_TILEWISE_SHAPE_MISMATCH',
      `\`${name}\` has dims ${showDims(dims)}, which are ${last + 1} elements, but data of ${length}; ` +
        'give an `offset` to use a part of it',
    );
  }
  checkAttached(name, view);
  throw new TilewiseRangeError(
    'ERR_TILEWISE_OUT_OF_BOUNDS',
    `\`${name}\` with dims ${showDims(dims)}, strides ${showDims(view.strides)} and offset ${view.offset} ` +
      `reaches elements ${first} to ${last} of data that has ${length}`,
  );
}

/** Refuses memory that went away, be it since the view was read: by a getter of the caller's. */
export function checkAttached(name: string, view: View): void {
  if (!isOnHost(view) || extentOf(view) === undefined || !hasNoMemory(view.data)) return;
  throw notTensor(name, 'has no memory: its buffer is empty or was transferred');
}

/** An array of whole numbers, one per axis. */
export function readIntegers(name: string, what: string, values: unknown, least: number): number[] {
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
