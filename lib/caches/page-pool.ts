// PagePool: keys and values on pages of one size, which a cache takes and gives back.
// Reader: someone who writes a cache. All heads share the pages; a cache's tables say which page belongs to whom.

import { allocating } from '../check/errors.js';
import type { Axes } from '../tensor/axes.js';
import type { FloatType, TensorLike } from '../tensor/types.js';
import type { HostView } from '../tensor/views.js';
import { preferHugePages } from './huge-pages.js';

/** Floats, or the bits of 16-bit ones, whichever class they came in. */
type Bits = Float32Array | Uint16Array;

const allocateBits = (type: FloatType, size: number): Bits =>
  allocating(() => (type === 'float32' ? new Float32Array(size) : new Uint16Array(size)));

const bitsOf = ({ type, data }: HostView): Bits =>
  type === 'float32' ? (data as Float32Array) : new Uint16Array(data.buffer, data.byteOffset, data.length);

/** Consecutive tokens of one head of a tensor. */
export interface HeadRows {
  readonly head: number;
  readonly first: number;
  readonly count: number;
}

export interface PoolSizes {
  readonly type: FloatType;
  readonly batch: number;
  /** Tokens per page. */
  readonly pageSize: number;
  readonly keyDim: number;
  readonly valueDim: number;
}

/** Keys or values of all pages: [batch, pages * pageSize, dim]. */
interface Rows {
  readonly dim: number;
  data: Bits;
}

export class PagePool {
  readonly sizes: PoolSizes;
  readonly #keys: Rows;
  readonly #values: Rows;
  readonly #free: number[] = [];
  #pages = 0;

  constructor(sizes: PoolSizes) {
    this.sizes = sizes;
    this.#keys = { dim: sizes.keyDim, data: allocateBits(sizes.type, 0) };
    this.#values = { dim: sizes.valueDim, data: allocateBits(sizes.type, 0) };
  }

  /** Pages that are taken. */
  get taken(): number {
    return this.#pages - this.#free.length;
  }

  get bytes(): number {
    return this.#keys.data.byteLength + this.#values.data.byteLength;
  }

  /**
   * Makes sure that so many pages are free. The pool grows by a quarter at least, so that copies stay few; where there is no
   * memory for that it stays as it is.
   */
  reserve(needed: number): void {
    const missing = needed - this.#free.length;
    if (missing <= 0) return;
    const { type, batch, pageSize } = this.sizes;
    const pages = Math.max(this.#pages + missing, Math.ceil(this.#pages * 1.25));
    const grown = ({ dim, data }: Rows): Bits => {
      const [from, to] = [this.#pages * pageSize * dim, pages * pageSize * dim];
      const more = allocateBits(type, batch * to);
      preferHugePages(more);
      for (let b = 0; b < batch; ++b) more.set(data.subarray(b * from, (b + 1) * from), b * to);
      return more;
    };
    const [keys, values] = [grown(this.#keys), grown(this.#values)];
    this.#keys.data = keys;
    this.#values.data = values;
    for (let page = pages - 1; page >= this.#pages; --page) this.#free.push(page);
    this.#pages = pages;
  }

  /** A page that was reserved. */
  take(): number {
    return this.#free.pop() as number;
  }

  give(page: number): void {
    this.#free.push(page);
  }

  /** Copies rows of keys and values to a page, from its token `at` on. */
  write(keys: HostView, values: HostView, axes: Axes, rows: HeadRows, page: number, at: number): void {
    const to = page * this.sizes.pageSize + at;
    this.#copy(keys, this.#keys, axes, rows, to);
    this.#copy(values, this.#values, axes, rows, to);
  }

  #copy(from: HostView, into: Rows, axes: Axes, rows: HeadRows, to: number): void {
    const { strides } = from;
    const bits = bitsOf(from);
    const { dim, data } = into;
    const tokens = this.#pages * this.sizes.pageSize;
    for (let b = 0; b < this.sizes.batch; ++b) {
      for (let row = 0; row < rows.count; ++row) {
        const source =
          from.offset +
          b * strides[axes.batch] +
          (rows.first + row) * strides[axes.token] +
          rows.head * strides[axes.head];
        const target = (b * tokens + to + row) * dim;
        for (let d = 0; d < dim; ++d) data[target + d] = bits[source + d * strides[axes.dim]];
      }
    }
  }

  /** All pages as the keys and values of so many heads, which share them. */
  views(heads: number, isHeadsFirst: boolean): { k: TensorLike; v: TensorLike } {
    const { type, batch, pageSize } = this.sizes;
    const tokens = this.#pages * pageSize;
    const view = ({ dim, data }: Rows): TensorLike => ({
      type,
      data,
      dims: isHeadsFirst ? [batch, heads, tokens, dim] : [batch, tokens, heads, dim],
      strides: isHeadsFirst ? [tokens * dim, 0, dim, 1] : [tokens * dim, dim, 0, 1],
      offset: 0,
    });
    return { k: view(this.#keys), v: view(this.#values) };
  }
}
