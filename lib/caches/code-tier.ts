// CodeTier: blocks of quantised keys and values that have the same numbers of bits, counted by who refers to them.
// Reader: someone who asks where the blocks of a cache are. Native code makes codes (lib/ops/encode.ts); where they are in a block is
// said in lib/stores/codes.ts.

import { type CodeBlocks, type CodedKind, encode, narrow } from '../ops/encode.js';
import { CodePlaces, type TierForms, unpackRow } from '../stores/codes.js';
import { DeviceBuffer } from '../tensor/device-buffer.js';
import type { TensorData } from '../tensor/views.js';
import { KvMemory } from './kv-memory.js';
import type { KvPages } from './kv-pages.js';
import { PageCounts } from './page-counts.js';

/** Rows that a tier takes: four numbers a run, as encode() has them, and the slots of their tokens. */
export interface CodedRuns {
  readonly slots: number[];
  readonly runs: Readonly<Record<CodedKind, number[]>>;
}

export class CodeTier {
  readonly heads: number;
  readonly places: Readonly<Record<CodedKind, CodePlaces>>;
  readonly counts = new PageCounts();
  readonly #device: number;
  readonly #forms: TierForms;
  readonly #isSymmetric: boolean;
  /** Rows are blocks, as whole numbers of float32. */
  readonly #memory: KvMemory;

  /** @param isSymmetric codes of one scale for both signs, per token */
  constructor(device: number, heads: number, forms: TierForms, isSymmetric: boolean) {
    this.heads = heads;
    this.places = { keys: new CodePlaces(forms.keys), values: new CodePlaces(forms.values) };
    this.#device = device;
    this.#forms = forms;
    this.#isSymmetric = isSymmetric;
    this.#memory = new KvMemory(device, 'float32', this.blockBytes / Float32Array.BYTES_PER_ELEMENT, undefined);
  }

  /** Bytes of a block of all heads. */
  get blockBytes(): number {
    return this.heads * (this.places.keys.bytes + this.places.values.bytes);
  }

  /** The memory of all blocks. */
  get data(): TensorData | DeviceBuffer {
    return this.#memory.view.data;
  }

  get #blocks(): CodeBlocks {
    return { heads: this.heads, forms: this.#forms, isSymmetric: this.#isSymmetric, data: this.data };
  }

  /** Makes sure that so many more blocks can be taken. */
  reserve(count: number): void {
    this.#memory.reserve(Math.max(this.counts.made, this.counts.taken + count));
  }

  copy(from: number, to: number): void {
    this.#memory.copy(from, to);
  }

  /** Writes rows that are on pages; per channel they are whole groups. */
  write(pool: KvPages, { slots, runs }: CodedRuns): void {
    encode(this.#device, this.#blocks, {
      keys: pool.keysOf(0),
      values: pool.valuesOf(0),
      slots: Int32Array.from(slots),
      runs: { keys: Int32Array.from(runs.keys), values: Int32Array.from(runs.values) },
    });
  }

  /** Writes what a block of a tier with more bits is in this one. */
  convert(from: CodeTier, source: number, block: number): void {
    narrow(this.#device, from.#blocks, this.#blocks, Int32Array.of(source, block));
  }

  /** Reads rows as numbers, as all blocks are now. */
  reader(): CodeReader {
    const { data } = this;
    if (!(data instanceof DeviceBuffer)) return new CodeReader(this, data as Float32Array);
    const floats = new Float32Array(data.byteLength / Float32Array.BYTES_PER_ELEMENT);
    if (floats.length > 0) data.downloadSync(floats, 0);
    return new CodeReader(this, floats);
  }
}

/** Blocks of a tier in the process's memory. */
export class CodeReader {
  readonly #tier: CodeTier;
  readonly #floats: Float32Array;
  readonly #bytes: Uint8Array;

  constructor(tier: CodeTier, floats: Float32Array) {
    this.#tier = tier;
    this.#floats = floats;
    this.#bytes = new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
  }

  /** A row of a block as numbers. */
  read(kind: CodedKind, block: number, head: number, row: number, to: Float32Array, into: number): void {
    const { keys, values } = this.#tier.places;
    const places = this.#tier.places[kind];
    const { axis, dim, group } = places.form;
    const first = block * this.#tier.blockBytes + head * (keys.bytes + values.bytes);
    const at = kind === 'keys' ? first : first + keys.bytes;
    const codes = new Uint8Array(places.channels);
    unpackRow(this.#bytes, at + row * places.rowBytes, places, codes);
    const isChannel = axis === 'channel';
    const scales = (at + places.scalesAt) / 4 + (isChannel ? Math.floor(row / group) : row) * places.scaleByRow;
    const toMins = (places.minsAt - places.scalesAt) / 4;
    for (let d = 0; d < dim; ++d) {
      const scale = scales + (isChannel ? d : Math.floor(d / group)) * places.scaleByChannel;
      to[into + d] = codes[d] * this.#floats[scale] + this.#floats[scale + toMins];
    }
  }
}
