// KvSummaries: bounds and means of the pages of a cache, as selectors read them. Reader: someone who follows `pageSummaries`.
// A page has its row once it is full: until then nobody reads it, so truncating or copying a page that is being filled
// changes nothing. Idea: Quest (arXiv 2406.10774).

import { prepareSummary, runSummary } from '../ops/summary.js';
import type { PageSummaries } from '../stores/key-pages.js';
import { cpu } from '../tensor/devices.js';
import type { FloatType, TensorLike } from '../tensor/types.js';
import { bytesPer, type View } from '../tensor/views.js';
import { KvMemory } from './kv-memory.js';

/** What a cache's pages are told, as far as it matters here. */
export interface SummarySizes {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly pageSize: number;
  readonly type: FloatType;
  readonly device: number;
  readonly mostPages?: number;
}

interface Rows {
  readonly bounds: KvMemory;
  readonly means: KvMemory;
}

export class KvSummaries {
  readonly #sizes: SummarySizes;
  readonly #rows: readonly Rows[];

  constructor(sizes: SummarySizes) {
    this.#sizes = sizes;
    const { layers, kvHeads, headDim, type, device, mostPages } = sizes;
    this.#rows = Array.from({ length: layers }, () => ({
      bounds: new KvMemory(device, type, kvHeads * 2 * headDim, mostPages),
      means: new KvMemory(device, 'float32', kvHeads * headDim, mostPages),
    }));
  }

  /** Bytes of one page, all layers together. */
  static bytesOf({ layers, kvHeads, headDim, type }: SummarySizes): number {
    return layers * kvHeads * headDim * (2 * bytesPer(type) + bytesPer('float32'));
  }

  reserve(layer: number, pages: number): void {
    this.#rows[layer].bounds.reserve(pages);
    this.#rows[layer].means.reserve(pages);
  }

  /** Copies all layers of a page, as far as they have been written. */
  copy(from: number, to: number): void {
    for (const { bounds, means } of this.#rows) {
      for (const memory of [bounds, means]) {
        if (from >= memory.rows) continue;
        memory.reserve(to + 1);
        memory.copy(from, to);
      }
    }
  }

  /**
   * Summarises pages of a layer that have become full.
   * @param keys of all pages
   * @param to rows of the summaries
   */
  write(layer: number, keys: View, pages: readonly number[], to = pages): void {
    if (pages.length === 0) return;
    const { bounds, means } = this.#rows[layer];
    const { pageSize, device } = this.#sizes;
    const runs = Int32Array.from(pages.flatMap((page, i) => [page, 0, pageSize, to[i]]));
    const rows = { bounds: bounds.view.data, means: means.view.data };
    // Keys on a device say where.
    const told = { device: device === cpu ? ('cpu' as const) : ('auto' as const), copyInputs: false };
    runSummary(prepareSummary('k', keys, false, runs, [bounds.rows, rows], told));
  }

  /**
   * Those of a layer, [pages, 1, kvHeads, ...].
   * @param table the row of each sequence's full pages
   */
  of(layer: number, table: TensorLike): PageSummaries {
    const { kvHeads } = this.#sizes;
    const shown = ({ view, rows }: KvMemory): TensorLike => {
      const dims = [rows, 1, kvHeads, view.dims[1] / kvHeads];
      return { type: view.type, data: view.data, dims } as TensorLike;
    };
    const { bounds, means } = this.#rows[layer];
    return { bounds: shown(bounds), means: shown(means), table };
  }

  release(): void {
    for (const { bounds, means } of this.#rows) {
      bounds.release();
      means.release();
    }
  }
}
