// An append that comes again and again: one token of each sequence, whose rows are of one form, on pages that are there.
// Reader: someone whose tokens are so short that preparing an append takes longer than copying it. Assumes that the rows have been
// read and may be appended; where they go to is looked at each time.

import { takeIntegers } from '../native/slabs.js';
import { letGoOfMemory, type Memory, prepareAppend, putPages, putRows, runAppend } from '../ops/append.js';
import { axesOf } from '../tensor/axes.js';
import { cpu } from '../tensor/devices.js';
import { type Form, formOf, isLike } from '../tensor/forms.js';
import { isAnythingLent } from '../tensor/leases.js';
import { isOnHost, sliced, type TensorData, type View } from '../tensor/views.js';
import type { KvSizes } from './kv-pages.js';
import type { KvPart } from './kv-parts.js';
import type { KvRows } from './kv-rows.js';

/** What is written to the pages of one part. */
interface Written {
  readonly request: ReturnType<typeof prepareAppend>;
  readonly slots: Int32Array;
  readonly sizes: KvSizes;
  /** Elements from the first of the rows to the first of this part's heads. */
  readonly key: number;
  readonly value: number;
}

export class RepeatedAppend {
  readonly #k: Form;
  readonly #v: Form;
  readonly #parts: readonly Written[];

  private constructor(k: View, v: View, parts: readonly Written[]) {
    this.#k = formOf(k);
    this.#v = formOf(v);
    this.#parts = parts;
    for (const { request } of parts) letGoOfMemory(request);
  }

  /**
   * Prepares what a cache has just done: these rows were appended.
   * @returns undefined for an append that is another one each time: of more tokens, on a device, to pages with codes or summaries
   */
  static of(
    parts: readonly KvPart[],
    layer: number,
    { k, v, tokens }: KvRows,
    isHeadsFirst: boolean,
  ): RepeatedAppend | undefined {
    const isPlain = parts.every(({ codes, pool }) => !codes && !pool.summaries && pool.sizes.device === cpu);
    if (tokens !== 1 || !isPlain || !isOnHost(k) || !isOnHost(v)) return undefined;
    const { head } = axesOf(4, isHeadsFirst);
    const written = parts.map(({ heads, pool, runs }): Written => {
      const slots = takeIntegers(runs.length);
      const [ownK, ownV] = [sliced(k, head, heads), sliced(v, head, heads)];
      const keys = { name: 'k', from: ownK, to: pool.keysOf(layer) };
      const values = { name: 'v', from: ownV, to: pool.valuesOf(layer) };
      const request = prepareAppend(keys, values, isHeadsFirst, slots);
      return { request, slots, sizes: pool.sizes, key: ownK.offset - k.offset, value: ownV.offset - v.offset };
    });
    return new RepeatedAppend(k, v, written);
  }

  /** Appends rows that were read; false, and nothing done, where it is another append. */
  run(parts: readonly KvPart[], layer: number, { k, v }: KvRows): boolean {
    if (!isOnHost(k) || !isOnHost(v) || !isLike(k, this.#k) || !isLike(v, this.#v)) return false;
    if (!this.isReady(parts, layer)) return false;
    this.write(parts, layer, k, v);
    return true;
  }

  /** Finds where the next token of each sequence goes to; false where there is no place for it, or nobody may write now. */
  isReady(parts: readonly KvPart[], layer: number): boolean {
    if (isAnythingLent() || parts.length !== this.#parts.length) return false;
    for (let i = 0; i < parts.length; ++i) {
      const { pool, runs } = parts[i];
      const { slots, sizes } = this.#parts[i];
      if (runs.length !== slots.length || !isAlike(pool.sizes, sizes)) return false;
      const count = pool.keysOf(layer).dims[0] * sizes.pageSize;
      for (let entry = 0; entry < runs.length; ++entry) {
        const slot = runs[entry].nextSlot(layer);
        if (slot < 0 || slot >= count) return false;
        slots[entry] = slot;
      }
    }
    return true;
  }

  /** Appends rows in this memory, once all is ready. */
  write(parts: readonly KvPart[], layer: number, keys: Memory, values: Memory): void {
    for (let i = 0; i < parts.length; ++i) {
      const { pool } = parts[i];
      const { request, key, value } = this.#parts[i];
      const { dims, data } = pool.keysOf(layer);
      const rowsAt = ({ data, offset }: Memory, from: number): Memory => ({ data, offset: offset + from });
      putRows(request, rowsAt(keys, key), rowsAt(values, value));
      putPages(request, data as TensorData, pool.valuesOf(layer).data as TensorData, dims[0]);
      runAppend(pool.sizes.device, request);
      letGoOfMemory(request);
    }
    for (const { runs } of parts) for (const run of runs) run.step(layer);
  }
}

/** Whether pages are of one form. */
const isAlike = (a: KvSizes, b: KvSizes): boolean =>
  a === b ||
  (a.kvHeads === b.kvHeads &&
    a.headDim === b.headDim &&
    a.valueDim === b.valueDim &&
    a.pageSize === b.pageSize &&
    a.type === b.type &&
    a.device === b.device);
