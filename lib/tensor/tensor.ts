// Tensors: numbers with dimensions, in typed arrays or on a device; our own class and everyone else's.
// Reader: anyone who has numbers to bring in. Structurally the Tensor of onnxruntime-common and transformers.js, so
// theirs come in as they are and ours go out to them; with strides and an offset, so that views need no copy.

/// <reference lib="esnext.disposable" preserve="true" />

import { show, showDims, TilewiseError, TilewiseRangeError } from '../check/errors.js';
import { is } from '../check/validate.js';
import { bufferOf, DeviceBuffer, settle } from './device-buffer.js';
import { backendIndex, backendName, checkLocation, type Location } from './devices.js';
import { denseData, move, moveSync, shared } from './transfer.js';
import type { DataType, DataTypes, TensorLike } from './types.js';
import { readParts, readTensor, sizeOf, type TensorData, type View } from './views.js';

/**
 * Numbers with a type and dimensions: in a typed array, or in the memory of a device. `to()` brings them there; results
 * are there when their queries are. Views of a device tensor share its memory, which is freed when all of them have been
 * disposed of, or collected.
 */
export class Tensor<T extends DataType = DataType> implements View {
  readonly type: T;
  /** Of a device tensor: throws ERR_TILEWISE_WRONG_DEVICE; see getData() and to(). */
  declare readonly data: DataTypes[T];
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
    this.dims = Object.freeze(read.dims);
    this.strides = Object.freeze(read.strides);
    this.offset = read.offset;
    const memory: unknown = data;
    if (memory instanceof DeviceBuffer) {
      settle(this, memory);
      Object.defineProperty(this, 'data', { get: () => this.#refuseData() });
    } else {
      this.data = data;
    }
  }

  /**
   * Takes over another library's tensor, sharing its data.
   * @throws {TypeError | RangeError} as the constructor
   */
  static from(tensor: TensorLike): Tensor {
    return tensorOf(shared(readTensor('tensor', tensor)));
  }

  /** Elements: the product of the dims. */
  get size(): number {
    return sizeOf(this.dims);
  }

  /** Where the data is: `'cpu'`, `'cuda'`, `'cuda:1'`; `'none'` once a device tensor was disposed of. */
  get location(): Location | 'none' {
    const buffer = bufferOf(this);
    if (!buffer) return 'cpu';
    return buffer.isReleased ? 'none' : backendName(buffer.device);
  }

  /** The elements in row-major order, brought from the device if need be; `data` itself where that is what it holds. */
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
    const offset = size === 0 ? this.offset : this.offset + begin * this.strides[axis];
    return this.#viewed({ dims: this.dims.with(axis, size), offset });
  }

  /**
   * A view with the axes in another order: axis `i` of the result is axis `order[i]` of this tensor. Shares the data.
   * @throws {RangeError} ERR_TILEWISE_INVALID_OPTION when `order` does not name every axis once
   */
  transpose(order: readonly number[]): Tensor<T> {
    const isPermutation = order.length === this.dims.length && this.dims.every((_, axis) => order.includes(axis));
    if (!isPermutation) throw this.#wrong('order', `a permutation of the ${this.dims.length} axes`, order);
    const pick = (values: readonly number[]) => order.map((axis) => values[axis]);
    return this.#viewed({ dims: pick(this.dims), strides: pick(this.strides) });
  }

  get #view(): View {
    return readTensor('tensor', this);
  }

  #viewed(changed: Partial<View>): Tensor<T> {
    return tensorOf({ ...shared(this.#view), ...changed }) as Tensor<T>;
  }

  #refuseData(): never {
    if (this.location === 'none') throw new TilewiseError('ERR_TILEWISE_DISPOSED', 'The tensor was disposed of');
    throw new TilewiseError(
      'ERR_TILEWISE_WRONG_DEVICE',
      `The tensor lies on '${this.location}' and has no \`data\` here; await getData() or to('cpu')`,
    );
  }

  #wrong(name: string, expected: string, value: unknown): Error {
    return new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${name}\` must be ${expected} for dims ${showDims(this.dims)}, not ${show(value)}`,
    );
  }
}

/** A tensor of a view, which takes over its data. */
function tensorOf({ type, data, dims, strides, offset }: View): Tensor {
  return new Tensor(type, data as TensorData, dims, { strides, offset });
}
