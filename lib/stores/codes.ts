// Codes: where the bytes of quantised keys and values are, and how they cross to native code. The bytes are those of
// core/store/coded_keys.h, which says what they mean.
// Reader: someone who writes or reads a block of codes. One block is a few tokens of all heads: keys, then values, head by head.

import type { Request } from '../call/request.js';
import { invalid } from '../check/validate.js';
import { attentionOp } from '../native/fields.js';
import { type DeviceBuffer, passed } from '../tensor/device-buffer.js';
import type { TensorData } from '../tensor/views.js';

export type CodeBits = 8 | 4 | 2;

export function checkBits(name: string, value: unknown): CodeBits {
  if (value === 8 || value === 4 || value === 2) return value;
  throw invalid(name, 'the number 8, 4 or 2', value);
}

/** Which numbers share a scale: consecutive tokens of one channel, or consecutive channels of one token. */
export type CodeAxis = 'channel' | 'token';

/** How the keys, or the values, of one head and block are kept. */
export interface CodeForm {
  readonly axis: CodeAxis;
  readonly bits: CodeBits;
  readonly dim: number;
  /** Numbers that share a scale. */
  readonly group: number;
  /** Tokens of a block. */
  readonly tokens: number;
}

/** The keys and the values of a block. */
export interface TierForms {
  readonly keys: CodeForm;
  readonly values: CodeForm;
}

/** Bytes of a row that belong together, and of a cache line. */
const chunkBytes = 16;
const lineBytes = 64;

const upTo = (count: number, step: number): number => Math.ceil(count / step) * step;

/** The same with where its rows are, in bytes from the first. */
export class CodePlaces {
  readonly form: CodeForm;
  /** Channels of a row, those that only fill it up included. */
  readonly channels: number;
  readonly rowBytes: number;
  /** From the scale of a row, or of a group of rows, to the next one, and from that of a channel, or of a group, to the next. */
  readonly scaleByRow: number;
  readonly scaleByChannel: number;
  readonly scalesAt: number;
  readonly minsAt: number;
  readonly bytes: number;

  constructor(form: CodeForm) {
    const { axis, bits, dim, group, tokens } = form;
    const isChannel = axis === 'channel';
    this.form = form;
    this.channels = upTo(dim, (chunkBytes * 8) / bits);
    this.rowBytes = (this.channels * bits) / 8;
    this.scaleByRow = isChannel ? dim : 1;
    this.scaleByChannel = isChannel ? 1 : tokens;
    const scales = isChannel ? (tokens / group) * dim : (dim / group) * tokens;
    const scaleBytes = upTo(scales * Float32Array.BYTES_PER_ELEMENT, lineBytes);
    this.scalesAt = upTo(tokens * this.rowBytes, lineBytes);
    this.minsAt = this.scalesAt + scaleBytes;
    this.bytes = this.minsAt + scaleBytes;
  }
}

/** Codes of a row, one by one: a byte has channels that are 16 apart, the first in its lowest bits. */
export function unpackRow(bytes: Uint8Array, from: number, { form, rowBytes }: CodePlaces, codes: Uint8Array): void {
  const { bits } = form;
  const fields = 8 / bits;
  for (let byte = 0; byte < rowBytes; ++byte) {
    const channel = Math.floor(byte / chunkBytes) * chunkBytes * fields + (byte % chunkBytes);
    for (let f = 0; f < fields; ++f) {
      codes[channel + f * chunkBytes] = (bytes[from + byte] >> (f * bits)) & (2 ** bits - 1);
    }
  }
}

/** Most tiers of a cache, as many as there are numbers of bits. */
export const mostTiers = 3;

/** The entry of a table for a block of a tier. */
export const tableEntry = (block: number, tier: number): number => block * 4 + tier;

/** Quantised keys of a call, next to pages for the exact ones. */
export interface CodedStore {
  readonly tiers: readonly {
    readonly keys: CodeForm;
    readonly values: CodeForm;
    readonly data: TensorData | DeviceBuffer;
  }[];
  /** [sequences][blocks]: entries of blocks that have codes. */
  readonly table: Int32Array;
  /** Tokens of each sequence before these have codes. */
  readonly keyEnds: Int32Array;
  readonly valueEnds: Int32Array;
}

const { field, view } = attentionOp;
const at = {
  tiers: field('codeTiers'),
  block: field('codeBlock'),
  axis: field('keyCodeAxis'),
  keyGroup: field('keyCodeGroup'),
  valueGroup: field('valueCodeGroup'),
  keyBits: [0, 1, 2].map((tier) => field(`keyBits${tier}`)),
  valueBits: [0, 1, 2].map((tier) => field(`valueBits${tier}`)),
  codes: [0, 1, 2].map((tier) => view(`codes${tier}`)),
  table: view('codeTable'),
  keyEnds: view('codedKeys'),
  valueEnds: view('codedValues'),
};

/** Passes the codes of a cache; there is nothing to check. */
export function putCodes({ numbers, views }: Request, { tiers, table, keyEnds, valueEnds }: CodedStore): void {
  const [{ keys, values }] = tiers;
  numbers[at.tiers] = tiers.length;
  numbers[at.block] = keys.tokens;
  numbers[at.axis] = keys.axis === 'channel' ? 0 : 1;
  numbers[at.keyGroup] = keys.group;
  numbers[at.valueGroup] = values.group;
  for (const [tier, { keys, values, data }] of tiers.entries()) {
    numbers[at.keyBits[tier]] = keys.bits;
    numbers[at.valueBits[tier]] = values.bits;
    views[at.codes[tier]] = passed(data);
  }
  views[at.table] = table;
  views[at.keyEnds] = keyEnds;
  views[at.valueEnds] = valueEnds;
}
