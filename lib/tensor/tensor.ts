// Tensors: numbers with dimensions, in typed arrays or on a device; our own class and everyone else's.
// Reader: anyone who has numbers to bring in. Structurally the Tensor of onnxruntime-common and transformers.js, so
// theirs come in as they are and ours go out to them; with strides and an offset, so that views need no copy.

/// <reference lib="esnext.disposable" preserve="true" />

import { show, showDims, TilewiseError, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { checkNames, checkOneOf, is } from '../check/validate.js';
import { converted, targetTypes } from './convert.js';
import { toDense } from './dense.js';
import { bufferOf, DeviceBuffer, settle } from './device-buffer.js';
import { backendIndex, backendName, checkLocation, type Location } from './devices.js';
import { checkOverlaps } from './leases.js';
import { isList, type NestedArray, readNested } from './nested.js';
import { reshapedStrides } from './reshape.js';
import { denseData, move, moveSync, shared } from './transfer.js';
import type { BufferLike, DataType, DataTypes, ElementOf, FloatType, TensorLike } from './types.js';
import {
  allocate,
  dataTypes,
  type HostView,
  isOnHost,
  isRowMajor,
  maxRank,
  readIntegers,
  readParts,
  readTensor,
  sizeOf,
  type TensorData,
  trimmed,
  type View,
} from './views.js';

const viewNames: ReadonlySet<string> = new Set(['strides', 'offset']);

/**
 * Numbers with a type and dimensions: in a typed array, or in the memory of a device. `to()` brings them there; results
 * are there when their queries are. Views of a device tensor share its memory, which is freed when all of them have been
 * disposed of, or collected.
 */
export class Tensor<T extends DataType = DataType> implements View {
  readonly type: T;
  /**
   * The elements in row-major order and no others, unless `location` is `'strided'`. Of a device tensor: throws
   * ERR_TILEWISE_WRONG_DEVICE; see getData() and to().
   */
  declare readonly data: DataTypes[T];
  /** Length of every axis. Frozen, like `strides`. */
  readonly dims: readonly number[];
  /** Elements from one index of an axis to the next. */
  readonly strides: readonly number[];
  /** The element of `data` that index 0 of every axis falls on. */
  readonly offset: number;

  /**
   * Wraps `data` without copying it. Where strides and offset say nothing but a part of `data` in row-major order, that part
   * becomes the tensor's `data`.
   * @param type element type; decides how `data` is read, so a Uint16Array is float16 or bfloat16 as `type` says
   * @param data a typed array that holds such elements, over an ArrayBuffer or a SharedArrayBuffer; or a Node Buffer with
   *   their bytes, aligned
   * @param dims length of every axis, at most 8 axes; zeros are allowed
   * @param view strides and offset in elements, for data that is not row-major from its first element
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_DTYPE, ERR_TILEWISE_SHAPE_MISMATCH,
   *   ERR_TILEWISE_OUT_OF_BOUNDS, ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_UNKNOWN_OPTION
   */
  constructor(
    type: T,
    data: DataTypes[T] | BufferLike,
    dims: ArrayLike<number>,
    view: { strides?: ArrayLike<number>; offset?: number } = {},
  ) {
    checkNames('new Tensor()', view, viewNames);
    const read = readParts('tensor', type, data, dims, view.strides, view.offset);
    const { data: memory, offset } = trimmed(read);
    this.type = type;
    this.dims = Object.freeze(read.dims);
    this.strides = Object.freeze(read.strides);
    this.offset = offset;
    if (memory instanceof DeviceBuffer) {
      settle(this, memory);
      Object.defineProperty(this, 'data', { get: () => this.#refuseData() });
    } else {
      this.data = memory as DataTypes[T];
    }
  }

  /**
   * Takes over another library's tensor, sharing its data.
   * @throws {TypeError | RangeError} as the constructor
   */
  static from<const X extends TensorLike>(tensor: X): Tensor<ElementOf<X, DataType>>;
  /**
   * Copies numbers in nested arrays: `[[1, 2], [3, 4]]` has dims [2, 2].
   * @param type default `'float32'`; 16-bit floats are rounded to the nearest, ties to even
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_SHAPE_MISMATCH,
   *   ERR_TILEWISE_INVALID_OPTION
   */
  static from<T extends DataType = 'float32'>(nested: NestedArray, type?: T): Tensor<T>;
  static from(value: TensorLike | NestedArray, type: DataType = 'float32'): Tensor {
    if (is.object(value) && !isList(value)) {
      return tensorOf(shared(readTensor('tensor', value)));
    }
    return tensorOf(readNested(value, checkOneOf('type', type, dataTypes)));
  }

  /**
   * A tensor of zeros.
   * @throws {TypeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_INVALID_TENSOR,
   *   ERR_TILEWISE_OUT_OF_MEMORY
   */
  static zeros<T extends DataType>(type: T, dims: ArrayLike<number>): Tensor<T> {
    const lengths = readIntegers('tensor', 'dims', dims, 0);
    return new Tensor<T>(type, allocate(checkOneOf('type', type, dataTypes) as T, sizeOf(lengths)), lengths);
  }

  /** Elements: the product of the dims. */
  get size(): number {
    return sizeOf(this.dims);
  }

  /**
   * Where the data is: `'cpu'`, `'cuda'`, `'cuda:1'`; `'none'` once a device tensor was disposed of. `'strided'`: in the
   * process's memory, but not in row-major order, or with gaps. Libraries that know no strides refuse that, onnxruntime
   * among them; see contiguous().
   */
  get location(): Location | 'strided' | 'none' {
    const buffer = bufferOf(this);
    if (!buffer) return isRowMajor(this) ? 'cpu' : 'strided';
    return buffer.isReleased ? 'none' : backendName(buffer.device);
  }

  /** The elements in row-major order, brought from the device if need be; `data` itself unless `location` is `'strided'`. */
  async getData(): Promise<DataTypes[T]> {
    return denseData(await move(this.#view, 0)) as DataTypes[T];
  }

  /**
   * The same numbers on another device, or a view of them if they are there already. A view that leaves gaps in memory becomes
   * dense; otherwise strides stay. Until the promise settles, `data` must not be written, transferred or resized.
   * @param device 'cpu', 'cuda', 'cuda:1' and so on
   * @returns rejects with TypeError, or with TilewiseError ERR_TILEWISE_NO_DEVICE, ERR_TILEWISE_OUT_OF_MEMORY and others
   */
  async to(device: Location): Promise<Tensor<T>> {
    const index = backendIndex(checkLocation('device', device));
    return tensorOf(await move(this.#view, index)) as Tensor<T>;
  }

  /**
   * to() on the calling thread.
   * @throws {TypeError | TilewiseError} what to() rejects with
   */
  toSync(device: Location): Tensor<T> {
    const index = backendIndex(checkLocation('device', device));
    return tensorOf(moveSync(this.#view, index)) as Tensor<T>;
  }

  /**
   * Lets go of a device's memory; calls that run on it are not disturbed. The tensor cannot be used any more, its views
   * can. Does nothing to tensors in typed arrays, whose memory is the collector's.
   */
  dispose(): void {
    bufferOf(this)?.release();
  }

  /** dispose(), for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * A view of the indices `start` to `end` (exclusive) of one axis; negative ones count from the end, as in
   * Array.prototype.slice. Shares the data.
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION when there is no such axis or an index is not whole
   */
  slice(axis: number, start: number, end = Number.POSITIVE_INFINITY): Tensor<T> {
    this.#checkAxis(axis);
    if (!Number.isInteger(start)) throw this.#wrong('start', 'whole', start);
    if (!Number.isInteger(end) && end !== Number.POSITIVE_INFINITY) throw this.#wrong('end', 'whole', end);
    const length = this.dims[axis];
    const index = (i: number) => (i < 0 ? Math.max(length + i, 0) : Math.min(i, length));
    const begin = index(start);
    const size = Math.max(index(end) - begin, 0);
    return this.#viewed(this.dims.with(axis, size), this.strides, begin * this.strides[axis]);
  }

  /**
   * A view of one index of an axis, without that axis; a negative index counts from the end. Shares the data. For a fused
   * qkv [batch, tokens, 3, heads, dim], `qkv.select(2, 0)` is q.
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION when there is no such axis or index
   */
  select(axis: number, index: number): Tensor<T> {
    this.#checkAxis(axis);
    const length = this.dims[axis];
    if (!is.integer(index, -length, length - 1)) throw this.#wrong('index', `one of axis ${axis}`, index);
    const at = index < 0 ? length + index : index;
    return this.#viewed(this.dims.toSpliced(axis, 1), this.strides.toSpliced(axis, 1), at * this.strides[axis]);
  }

  /**
   * A view without an axis of length 1; without all of them when none is named. Shares the data.
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION when there is no such axis or it is longer
   */
  squeeze(axis?: number): Tensor<T> {
    if (axis !== undefined) {
      this.#checkAxis(axis);
      if (this.dims[axis] !== 1) throw this.#wrong('axis', 'one of length 1', axis);
    }
    const stays = (_: number, i: number) => (axis === undefined ? this.dims[i] !== 1 : i !== axis);
    return this.#viewed(this.dims.filter(stays), this.strides.filter(stays));
  }

  /**
   * A view with the axes in another order: axis `i` of the result is axis `order[i]` of this tensor. Shares the data.
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION when `order` does not name every axis once
   */
  transpose(order: readonly number[]): Tensor<T> {
    const rank = this.dims.length;
    const isPermutation =
      Array.isArray(order) && order.length === rank && this.dims.every((_, axis) => order.includes(axis));
    if (!isPermutation) throw this.#wrong('order', `a permutation of the ${rank} axes`, order);
    const pick = (values: readonly number[]) => order.map((axis) => values[axis]);
    return this.#viewed(pick(this.dims), pick(this.strides));
  }

  /**
   * A view of the same elements in the same order under other dims. Shares the data.
   * @param dims their product is `size`; one of them may be -1, for what is left
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION when the elements are not as many, or when no strides say
   *   it: contiguous() copies them into an order in which strides do
   */
  reshape(dims: readonly number[]): Tensor<T> {
    const lengths = this.#readDims(dims);
    const strides = reshapedStrides(this, lengths);
    if (strides) return this.#viewed(lengths, strides);
    const expected = `what strides can say (they are ${showDims(this.strides)}; contiguous() copies the elements)`;
    throw this.#wrong('dims', expected, dims);
  }

  /**
   * The elements in row-major order: a view where they are in it already, else a copy.
   * @throws {TilewiseError | RangeError} ERR_TILEWISE_WRONG_DEVICE for a copy on a device, ERR_TILEWISE_OVERLAP for memory
   *   that a call in flight writes
   */
  contiguous(): Tensor<T> {
    if (isRowMajor(this)) return this.#viewed(this.dims, this.strides);
    return tensorOf(toDense('tensor', this.#readable('contiguous()'))) as Tensor<T>;
  }

  /**
   * The same numbers as another type: a view where they have it already, else a copy in row-major order. Rounds to the
   * nearest, ties to even; beyond the largest number is infinity. A bool is whether a number is not 0. Numbers of type int64
   * are rounded to float64 first.
   * @param type 'float32', 'float16', 'bfloat16' or 'bool'
   * @throws {TypeError | TilewiseError | RangeError} ERR_TILEWISE_INVALID_OPTION, and as contiguous()
   */
  astype<To extends FloatType | 'bool'>(type: To): Tensor<To> {
    checkOneOf('type', type, targetTypes);
    if ((this.type as DataType) === type)
      return this.#viewed(this.dims, this.strides) as Tensor<DataType> as Tensor<To>;
    return tensorOf(converted(this.#readable('astype()'), type)) as Tensor<To>;
  }

  get #view(): View {
    return readTensor('tensor', this);
  }

  /** A view on the same memory, its first element `distance` from that of this one. */
  #viewed(dims: readonly number[], strides: readonly number[], distance = 0): Tensor<T> {
    // Nothing says that the first index of a view without elements is inside the memory.
    const offset = dims.includes(0) ? 0 : this.offset + distance;
    return tensorOf({ ...shared(this.#view), dims, strides, offset }) as Tensor<T>;
  }

  /** What a copy reads. */
  #readable(what: string): HostView {
    const view = this.#view;
    if (!isOnHost(view)) {
      throw new TilewiseError(
        'ERR_TILEWISE_WRONG_DEVICE',
        `${what} copies in the process's memory, and the tensor lies on '${this.location}'; bring it with to('cpu')`,
      );
    }
    checkOverlaps([{ name: 'tensor', view }], undefined);
    return view;
  }

  #checkAxis(axis: number): void {
    if (!is.integer(axis, 0, this.dims.length - 1)) throw this.#wrong('axis', `below ${this.dims.length}`, axis);
  }

  /** Dims of as many elements as there are. */
  #readDims(dims: readonly number[]): number[] {
    const expected = `dims of ${this.size} elements, one of them -1 at most,`;
    const given = Array.isArray(dims) && dims.length <= maxRank ? [...dims] : [undefined];
    const isLengths = given.every((length) => is.integer(length, -1, Number.MAX_SAFE_INTEGER));
    const open = given.indexOf(-1);
    if (!isLengths || open !== given.lastIndexOf(-1)) throw this.#wrong('dims', expected, dims);
    const known = sizeOf(given.filter((length) => length !== -1));
    const lengths = open < 0 ? given : given.with(open, known === 0 ? 0 : this.size / known);
    if (sizeOf(lengths) !== this.size || !Number.isInteger(lengths[open] ?? 0))
      throw this.#wrong('dims', expected, dims);
    return lengths;
  }

  #refuseData(): never {
    if (this.location === 'none') throw new TilewiseError('ERR_TILEWISE_DISPOSED', 'The tensor was disposed of');
    throw new TilewiseError(
      'ERR_TILEWISE_WRONG_DEVICE',
      `The tensor lies on '${this.location}' and has no \`data\` here; await getData() or to('cpu')`,
    );
  }

  #wrong(name: string, expected: string, value: unknown): Error {
    const message = `\`${name}\` must be ${expected} for dims ${showDims(this.dims)}, not ${show(value)}`;
    const isRightKind = is.number(value) || Array.isArray(value);
    return new (isRightKind ? TilewiseRangeError : TilewiseTypeError)('ERR_TILEWISE_INVALID_OPTION', message);
  }
}

/** A tensor of a view, which takes over its data. */
function tensorOf({ type, data, dims, strides, offset }: View): Tensor {
  return new Tensor(type, data as TensorData, dims, { strides, offset });
}
