// CodeTier: blocks of quantised keys and values that have the same numbers of bits, counted by who refers to them.
// Reader: someone who asks how rows become bytes. Rows come and go as float32, [heads][tokens][dim]. What a code means is said in
// lib/stores/group-codes.ts, where it is in lib/stores/codes.ts.

import { CodePlaces, chunkBytes, type TierForms } from '../stores/codes.js';
import { writeGroup, writeSymmetricGroup } from '../stores/group-codes.js';
import { cpu } from '../tensor/devices.js';
import { KvMemory } from './kv-memory.js';
import { PageCounts } from './page-counts.js';

/** Keys or values. */
export type CodedKind = 'keys' | 'values';

/** Rows of all heads, those of one head after those of the other. */
export interface FloatRows {
  readonly data: Float32Array;
  readonly tokens: number;
}

export class CodeTier {
  readonly heads: number;
  readonly places: Readonly<Record<CodedKind, CodePlaces>>;
  readonly counts = new PageCounts();
  readonly #isSymmetric: boolean;
  readonly #memory: KvMemory;
  #floats: { readonly of: ArrayBufferLike; readonly data: Float32Array } | undefined;

  /** @param isSymmetric codes of one scale for both signs, per token */
  constructor(heads: number, forms: TierForms, isSymmetric: boolean) {
    this.heads = heads;
    this.places = { keys: new CodePlaces(forms.keys), values: new CodePlaces(forms.values) };
    this.#isSymmetric = isSymmetric;
    this.#memory = new KvMemory(cpu, 'uint8', this.blockBytes, undefined);
  }

  /** Bytes of a block of all heads. */
  get blockBytes(): number {
    return this.heads * (this.places.keys.bytes + this.places.values.bytes);
  }

  /** All blocks. */
  get bytes(): Uint8Array {
    return this.#memory.view.data as Uint8Array;
  }

  /** The same as float32, of which a quarter as many fill it. */
  get #asFloats(): Float32Array {
    const { buffer, byteLength } = this.bytes;
    if (this.#floats?.of !== buffer || this.#floats.data.byteLength !== byteLength) {
      this.#floats = { of: buffer, data: new Float32Array(buffer, 0, byteLength / 4) };
    }
    return this.#floats.data;
  }

  /** Makes sure that so many more blocks can be taken. */
  reserve(count: number): void {
    this.#memory.reserve(Math.max(this.counts.made, this.counts.taken + count));
  }

  copy(from: number, to: number): void {
    this.#memory.copy(from, to);
  }

  #at(block: number, head: number, kind: CodedKind): number {
    const { keys, values } = this.places;
    const first = block * this.blockBytes + head * (keys.bytes + values.bytes);
    return kind === 'keys' ? first : first + keys.bytes;
  }

  /**
   * Writes rows of a block; per channel they are whole groups.
   * @param first the row of the block that `from` of `rows` becomes
   */
  write(kind: CodedKind, block: number, first: number, { data, tokens }: FloatRows, from: number, count: number): void {
    const places = this.places[kind];
    const { axis, bits, dim, group } = places.form;
    const codes = new Uint8Array(count * places.channels);
    for (let head = 0; head < this.heads; ++head) {
      const at = this.#at(block, head, kind);
      const to = {
        scales: this.#asFloats.subarray((at + places.scalesAt) / 4),
        mins: this.#asFloats.subarray((at + places.minsAt) / 4),
      };
      const x0 = (head * tokens + from) * dim;
      if (axis === 'channel') {
        for (let t = 0; t < count; t += group)
          for (let d = 0; d < dim; ++d) {
            const into = ((first + t) / group) * places.scaleByRow + d;
            const code = t * places.channels + d;
            writeGroup(bits, data, x0 + t * dim + d, dim, group, codes, code, places.channels, to, into);
          }
      } else {
        for (let t = 0; t < count; ++t)
          for (let g = 0; g < dim / group; ++g) {
            const x = x0 + t * dim + g * group;
            const code = t * places.channels + g * group;
            const into = first + t + g * places.scaleByChannel;
            if (this.#isSymmetric) writeSymmetricGroup(data, x, 1, group, codes, code, 1, to, into);
            else writeGroup(bits, data, x, 1, group, codes, code, 1, to, into);
          }
      }
      for (let t = 0; t < count; ++t) {
        packRow(codes, t * places.channels, places, this.bytes, at + (first + t) * places.rowBytes);
      }
    }
  }

  /** Writes what a block of a tier with more bits is in this one: codes are divided, and no number is made anew. */
  convert(from: CodeTier, source: number, block: number): void {
    for (const kind of ['keys', 'values'] as const) {
      const [wide, own] = [from.places[kind], this.places[kind]];
      const { tokens } = own.form;
      const factor = (2 ** wide.form.bits - 1) / (2 ** own.form.bits - 1);
      const codes = new Uint8Array(Math.max(wide.channels, own.channels));
      const isChannel = own.form.axis === 'channel';
      for (let head = 0; head < this.heads; ++head) {
        const [there, here] = [from.#at(source, head, kind), this.#at(block, head, kind)];
        for (let t = 0; t < tokens; ++t) {
          codes.fill(0);
          unpackRow(from.bytes, there + t * wide.rowBytes, wide, codes);
          for (let d = 0; d < own.form.dim; ++d) codes[d] = narrowed(codes[d], wide.form.bits, own.form.bits);
          packRow(codes, 0, own, this.bytes, here + t * own.rowBytes);
        }
        const rows = isChannel ? tokens / own.form.group : tokens;
        const groups = isChannel ? own.form.dim : own.form.dim / own.form.group;
        for (let row = 0; row < rows; ++row)
          for (let i = 0; i < groups; ++i) {
            const read = (there + wide.scalesAt) / 4 + row * wide.scaleByRow + i * wide.scaleByChannel;
            const write = (here + own.scalesAt) / 4 + row * own.scaleByRow + i * own.scaleByChannel;
            this.#asFloats[write] = from.#asFloats[read] * factor;
            this.#asFloats[write + (own.minsAt - own.scalesAt) / 4] =
              from.#asFloats[read + (wide.minsAt - wide.scalesAt) / 4];
          }
      }
    }
  }

  /** Codes of a row of a block, and its scales and minima by channel. */
  codesOf(kind: CodedKind, block: number, head: number, row: number) {
    const places = this.places[kind];
    const { axis, dim, group } = places.form;
    const at = this.#at(block, head, kind);
    const codes = new Uint8Array(places.channels);
    unpackRow(this.bytes, at + row * places.rowBytes, places, codes);
    const isChannel = axis === 'channel';
    const first = (isChannel ? Math.floor(row / group) : row) * places.scaleByRow;
    const step = (d: number) => (isChannel ? d : Math.floor(d / group)) * places.scaleByChannel;
    const ofChannel = (place: number) =>
      Float32Array.from({ length: dim }, (_, d) => this.#asFloats[(at + place) / 4 + first + step(d)]);
    return { codes: codes.subarray(0, dim), scales: ofChannel(places.scalesAt), mins: ofChannel(places.minsAt) };
  }

  /** A row of a block as numbers. */
  read(kind: CodedKind, block: number, head: number, row: number, to: Float32Array, at: number): void {
    const { codes, scales, mins } = this.codesOf(kind, block, head, row);
    for (let d = 0; d < codes.length; ++d) to[at + d] = codes[d] * scales[d] + mins[d];
  }
}

/** A code of fewer bits, by way of those between: 8 bits become 4, and 4 become 2. Levels nest: 255 = 17 * 15, 15 = 5 * 3. */
export function narrowed(code: number, from: number, to: number): number {
  if (from === to) return code;
  return from === 8 ? narrowed(Math.round(code / 17), 4, to) : Math.round(code / 5);
}

/** Packs the codes of a row: a byte has channels that are 16 apart, the first in its lowest bits. */
function packRow(codes: Uint8Array, from: number, { form, rowBytes }: CodePlaces, bytes: Uint8Array, to: number): void {
  const { bits } = form;
  const fields = 8 / bits;
  for (let byte = 0; byte < rowBytes; ++byte) {
    const channel = Math.floor(byte / chunkBytes) * chunkBytes * fields + (byte % chunkBytes);
    let packed = 0;
    for (let f = 0; f < fields; ++f) packed |= codes[from + channel + f * chunkBytes] << (f * bits);
    bytes[to + byte] = packed;
  }
}

function unpackRow(bytes: Uint8Array, from: number, { form, rowBytes }: CodePlaces, codes: Uint8Array): void {
  const { bits } = form;
  const fields = 8 / bits;
  for (let byte = 0; byte < rowBytes; ++byte) {
    const channel = Math.floor(byte / chunkBytes) * chunkBytes * fields + (byte % chunkBytes);
    for (let f = 0; f < fields; ++f) {
      codes[channel + f * chunkBytes] = (bytes[from + byte] >> (f * bits)) & (2 ** bits - 1);
    }
  }
}
