// Growing memory: rows of one size in a device's memory, more of them when they are needed.
// Reader: someone who asks what a cache costs to grow. In the process's memory addresses are reserved ahead (a growable
// SharedArrayBuffer), so growing copies nothing and takes memory only where something is written; on a GPU it copies.
// V8 takes shared memory for nothing and would not look for caches that nobody has any more: it is told.

import { allocating } from '../check/errors.js';
import { native } from '../native/native.js';
import { append } from '../ops/append.js';
import { DeviceBuffer } from '../tensor/device-buffer.js';
import { cpu } from '../tensor/devices.js';
import type { FloatType } from '../tensor/types.js';
import { bytesPer, contiguousStrides, type TensorData, type View } from '../tensor/views.js';
import { preferHugePages } from './huge-pages.js';

/** Bytes of addresses that are reserved where nobody said how much there will be, and the most a buffer can have. */
const [usualBytes, mostBytes] = [2 ** 30, 2 ** 32];

/** Bytes of a buffer, told to the collector for as long as the buffer is there. */
class SharedBytes {
  static readonly #collected = new FinalizationRegistry<SharedBytes>((bytes) => bytes.become(0));
  #told = 0;

  constructor(buffer: SharedArrayBuffer) {
    SharedBytes.#collected.register(buffer, this);
    this.become(buffer.byteLength);
  }

  become(bytes: number): void {
    native.tellCollector(bytes - this.#told);
    this.#told = bytes;
  }
}

/** Every growth adds a quarter at least, so that there are few. */
const growthOf = (rows: number, held: number): number => Math.max(rows, Math.ceil(held * 1.25));

function viewOf(type: FloatType, buffer: SharedArrayBuffer, length: number): TensorData {
  return type === 'float32' ? new Float32Array(buffer, 0, length) : new Uint16Array(buffer, 0, length);
}

export class KvMemory {
  readonly #device: number;
  readonly #type: FloatType;
  readonly #rowSize: number;
  /** Elements that will ever be needed; undefined: nobody knows. */
  readonly #most: number | undefined;
  #buffer: SharedArrayBuffer | undefined;
  #bytes: SharedBytes | undefined;
  #data: TensorData | DeviceBuffer | undefined;
  #rows = 0;
  #view: View | undefined;

  /**
   * @param rowSize elements of a row
   * @param mostRows rows that there will ever be, when that is known
   */
  constructor(device: number, type: FloatType, rowSize: number, mostRows: number | undefined) {
    this.#device = device;
    this.#type = type;
    this.#rowSize = rowSize;
    this.#most = mostRows;
  }

  get rows(): number {
    return this.#rows;
  }

  /** All rows as one axis, elements as the other; another object once there are more. */
  get view(): View {
    this.#view ??= this.#viewOf(this.#data ?? new Float32Array(0));
    return this.#view;
  }

  #viewOf(data: TensorData | DeviceBuffer): View {
    const dims = [this.#rows, this.#rowSize];
    return { type: this.#type, data, dims, strides: contiguousStrides(dims), offset: 0 };
  }

  /**
   * Makes sure that there are so many rows. Where there is no memory for them, everything stays as it is.
   * @throws {TilewiseError} ERR_TILEWISE_OUT_OF_MEMORY
   */
  reserve(rows: number): void {
    if (rows <= this.#rows) return;
    const wanted = Math.min(growthOf(rows, this.#rows), this.#most ?? Number.POSITIVE_INFINITY);
    if (this.#device === cpu) this.#growHere(Math.max(rows, wanted));
    else this.#growThere(Math.max(rows, wanted));
  }

  #growHere(rows: number): void {
    const bytesOf = (count: number) => count * this.#rowSize * bytesPer(this.#type);
    const bytes = bytesOf(rows);
    let buffer = this.#buffer;
    if (!buffer || buffer.maxByteLength < bytes) {
      const most =
        this.#most === undefined ? Math.max(usualBytes, Math.min(2 * bytes, mostBytes)) : bytesOf(this.#most);
      const larger = allocating(() => new SharedArrayBuffer(bytes, { maxByteLength: Math.max(most, bytes) }));
      preferHugePages(new Uint8Array(larger));
      if (buffer) new Uint8Array(larger).set(new Uint8Array(buffer));
      buffer = larger;
      this.#bytes = new SharedBytes(larger);
    } else {
      const grown = buffer;
      allocating(() => grown.grow(bytes));
      preferHugePages(new Uint8Array(grown));
      this.#bytes!.become(bytes);
    }
    const length = rows * this.#rowSize;
    this.#data = viewOf(this.#type, buffer, length);
    this.#buffer = buffer;
    this.#rows = rows;
    this.#view = undefined;
  }

  #growThere(rows: number): void {
    const held = this.#data as DeviceBuffer | undefined;
    const larger = DeviceBuffer.allocate(this.#device, rows * this.#rowSize * bytesPer(this.#type));
    if (held) {
      try {
        this.#copyRows(this.view, 0, this.#rows, { ...this.view, data: larger }, 0);
      } catch (error) {
        larger.release();
        throw error;
      }
      held.release();
    }
    this.#data = larger;
    this.#rows = rows;
    this.#view = undefined;
  }

  /** Copies one row over another. */
  copy(from: number, to: number): void {
    const { data } = this.view;
    const size = this.#rowSize;
    if (data instanceof DeviceBuffer) this.#copyRows(this.view, from, 1, this.view, to);
    else (data as Float32Array).copyWithin(to * size, from * size, (from + 1) * size);
  }

  #copyRows(source: View, first: number, count: number, target: View, to: number): void {
    const rowsOf = (view: View, begin: number): View => ({
      ...view,
      dims: [count, 1, 1, this.#rowSize],
      strides: [this.#rowSize, this.#rowSize, this.#rowSize, 1],
      offset: begin * this.#rowSize,
    });
    const slots = Int32Array.from({ length: count }, (_, i) => i);
    append(
      this.#device,
      { name: 'pages', from: rowsOf(source, first), to: rowsOf(target, to) },
      undefined,
      false,
      slots,
    );
  }

  /** Lets go of the memory. */
  release(): void {
    if (this.#data instanceof DeviceBuffer) this.#data.release();
    this.#data = undefined;
    this.#buffer = undefined;
    this.#bytes = undefined;
    this.#rows = 0;
    this.#view = undefined;
  }
}
