// KvPages: pages of keys and values of all layers, counted by who refers to them.
// Reader: someone who writes a cache. A page holds `pageSize` tokens of every layer, heads first, so that the rows of a
// head follow each other in memory; sequences share pages until one of them writes. Idea: PagedAttention
// (arXiv 2309.06180).

import { append } from '../ops/append.js';
import type { FloatType } from '../tensor/types.js';
import type { View } from '../tensor/views.js';
import { KvMemory } from './kv-memory.js';
import { KvSummaries } from './kv-summaries.js';
import { PageCounts } from './page-counts.js';

export interface KvSizes {
  /** Layers that have keys and values of their own. */
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  /** Tokens per page. */
  readonly pageSize: number;
  readonly type: FloatType;
  /** Place of the device in the addon's list. */
  readonly device: number;
  /** Pages that there will ever be, when that is known. */
  readonly mostPages?: number;
  /** Whether bounds and means of full pages are kept. */
  readonly hasSummaries?: boolean;
}

/** Keys or values of one layer's pages. */
interface Rows {
  readonly dim: number;
  readonly memory: KvMemory;
  /** The memory as pages, and what it was made of. */
  pages?: { readonly of: View; readonly view: View };
}

export class KvPages {
  readonly sizes: KvSizes;
  readonly #keys: readonly Rows[];
  readonly #values: readonly Rows[];
  readonly counts = new PageCounts();
  readonly summaries: KvSummaries | undefined;

  constructor(sizes: KvSizes) {
    this.sizes = sizes;
    const { layers, kvHeads, pageSize, type, device, mostPages } = sizes;
    const rowsOf = (dim: number): Rows[] =>
      Array.from({ length: layers }, () => ({
        dim,
        memory: new KvMemory(device, type, kvHeads * pageSize * dim, mostPages),
      }));
    this.#keys = rowsOf(sizes.headDim);
    this.#values = rowsOf(sizes.valueDim);
    this.summaries = sizes.hasSummaries ? new KvSummaries(sizes) : undefined;
  }

  /** Pages that may still be taken. */
  get left(): number {
    return (this.sizes.mostPages ?? Number.POSITIVE_INFINITY) - this.counts.taken;
  }

  /** Makes sure that so many pages of a layer can be taken and written. */
  reserve(layer: number, count: number): void {
    const pages = Math.max(this.counts.made, this.counts.taken + count);
    for (const { memory } of [this.#keys[layer], this.#values[layer]]) memory.reserve(pages);
    this.summaries?.reserve(layer, pages);
  }

  /** Copies all layers of a page, as far as they have been written. */
  copy(from: number, to: number): void {
    for (const { memory } of [...this.#keys, ...this.#values]) {
      if (from >= memory.rows) continue;
      memory.reserve(to + 1);
      memory.copy(from, to);
    }
    this.summaries?.copy(from, to);
  }

  /** Writes rows of keys and values of one layer; `slots` as in append(). */
  write(layer: number, k: View, v: View, isHeadsFirst: boolean, slots: Int32Array): void {
    append(
      this.sizes.device,
      { name: 'k', from: k, to: this.keysOf(layer) },
      { name: 'v', from: v, to: this.valuesOf(layer) },
      isHeadsFirst,
      slots,
    );
  }

  /** All keys of a layer, [pages, pageSize, kvHeads, headDim]. */
  keysOf(layer: number): View {
    return this.#viewOf(this.#keys[layer]);
  }

  /** All values of a layer, [pages, pageSize, kvHeads, valueDim]. */
  valuesOf(layer: number): View {
    return this.#viewOf(this.#values[layer]);
  }

  #viewOf(rows: Rows): View {
    const { pageSize, kvHeads } = this.sizes;
    const { dim, memory } = rows;
    const { view: of } = memory;
    if (rows.pages?.of === of) return rows.pages.view;
    const view = {
      ...of,
      dims: [memory.rows, pageSize, kvHeads, dim],
      strides: [kvHeads * pageSize * dim, dim, pageSize * dim, 1],
    };
    rows.pages = { of, view };
    return view;
  }

  /** Bytes of one page, all layers together. */
  get pageBytes(): number {
    const { layers, kvHeads, pageSize, headDim, valueDim, type } = this.sizes;
    const rows = layers * kvHeads * pageSize * (headDim + valueDim) * (type === 'float32' ? 4 : 2);
    return rows + (this.summaries ? KvSummaries.bytesOf(this.sizes) : 0);
  }

  /** Lets go of a device's memory. */
  dispose(): void {
    for (const { memory } of [...this.#keys, ...this.#values]) memory.release();
    this.summaries?.release();
  }
}
