// encode: rows on pages become codes in blocks, and blocks of codes become those of fewer bits.
// Reader: someone who writes a cache. What a code is, is said in core/store/code_groups.h; where it is, in
// core/store/coded_keys.h.

import { onDevice } from '../call/placement.js';
import { Request } from '../call/request.js';
import { dataTypeCode } from '../native/native.js';
import { Op } from '../native/op.js';
import type { CodeForm, TierForms } from '../stores/codes.js';
import { type DeviceBuffer, passed } from '../tensor/device-buffer.js';
import type { TensorData, View } from '../tensor/views.js';

const op = new Op('encode');
const form = { fields: op.fields, slots: op.views };
const field = {
  heads: op.field('heads'),
  pages: op.field('pages'),
  pageSize: op.field('pageSize'),
  type: op.field('type'),
  isSymmetric: op.field('isSymmetric'),
  blockTokens: op.field('blockTokens'),
  keyAxis: op.field('keyAxis'),
};
const kindOf = (kind: 'key' | 'value', wideBits: string) => ({
  dim: op.field(`${kind}Dim`),
  group: op.field(`${kind}Group`),
  bits: op.field(`${kind}Bits`),
  wideBits: op.field(wideBits),
  rows: op.place(`${kind}s`),
  runs: op.view(`${kind}Runs`),
});
const kinds = { keys: kindOf('key', 'wideKeyBits'), values: kindOf('value', 'wideValueBits') };
const view = {
  blocks: op.view('blocks'),
  slots: op.view('slots'),
  wide: op.view('wide'),
  narrowed: op.view('narrowed'),
};

/** Keys or values. */
export type CodedKind = 'keys' | 'values';
export const codedKinds = ['keys', 'values'] as const;

/** Blocks of one tier. */
export interface CodeBlocks {
  readonly heads: number;
  /** A dim of 0: there are none of this kind. */
  readonly forms: TierForms;
  /** One scale for both signs, per token, of 8 bits. */
  readonly isSymmetric: boolean;
  readonly data: TensorData | DeviceBuffer;
}

/** Rows that become codes. */
export interface EncodedRows {
  /** [pages, pageSize, heads, dim], by whatever strides; undefined where there are none of this kind. */
  readonly keys: View | undefined;
  readonly values: View | undefined;
  /** Tokens: page * pageSize + row of the page. */
  readonly slots: Int32Array;
  /** For each run [block, first row there, rows, first of its slots]; per channel they are whole groups. */
  readonly runs: Readonly<Record<CodedKind, Int32Array>>;
}

/**
 * Writes codes of rows on a device, on the calling thread.
 * @throws {TilewiseError} what the device reports
 */
export function encode(device: number, to: CodeBlocks, { keys, values, slots, runs }: EncodedRows): void {
  const request = requestOf(to);
  const { numbers, views } = request;
  const { dims, type } = (keys ?? values) as View;
  numbers[field.pages] = dims[0];
  numbers[field.pageSize] = dims[1];
  numbers[field.type] = dataTypeCode(type);
  if (keys) request.operand('keys', kinds.keys.rows, keys, false);
  if (values) request.operand('values', kinds.values.rows, values, false);
  views[view.slots] = slots;
  for (const kind of codedKinds) views[kinds[kind].runs] = runs[kind];
  runEncode(device, request);
}

/**
 * Writes what blocks of a tier with more bits are in one with fewer: codes are divided, and no number is made anew.
 * @param moved for each block its place in `from` and in `to`
 */
export function narrow(device: number, from: CodeBlocks, to: CodeBlocks, moved: Int32Array): void {
  const request = requestOf(to);
  const { numbers, views } = request;
  for (const kind of codedKinds) numbers[kinds[kind].wideBits] = from.forms[kind].bits;
  views[view.wide] = passed(from.data);
  views[view.narrowed] = moved;
  runEncode(device, request);
}

function requestOf({ heads, forms, isSymmetric, data }: CodeBlocks): Request {
  const request = new Request(form, false);
  const { numbers, views } = request;
  numbers[field.heads] = heads;
  numbers[field.pageSize] = 1;
  numbers[field.isSymmetric] = Number(isSymmetric);
  numbers[field.blockTokens] = forms.keys.tokens;
  numbers[field.keyAxis] = forms.keys.axis === 'channel' ? 0 : 1;
  const put = (kind: CodedKind, { dim, group, bits }: CodeForm): void => {
    numbers[kinds[kind].dim] = dim;
    numbers[kinds[kind].group] = group;
    numbers[kinds[kind].bits] = bits;
  };
  for (const kind of codedKinds) {
    put(kind, forms[kind]);
    views[kinds[kind].runs] = none;
  }
  views[view.blocks] = passed(data);
  views[view.slots] = none;
  views[view.narrowed] = none;
  return request;
}

const none = new Int32Array(0);

function runEncode(device: number, request: Request): void {
  onDevice({ candidates: [device] }, (index) => op.run(index, request));
}
