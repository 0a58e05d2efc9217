// The header of a safetensors file: which tensors it has, of which type, and where. Every number in it is checked.
// Reader: someone whose file is refused. Files come from strangers: sizes are compared before anything is allocated.
// Source: huggingface/safetensors, "Format": eight bytes of length, JSON, then the tensors without gaps or overlaps.

import { is } from '../../check/validate.js';
import type { DataType } from '../../tensor/types.js';
import { malformed } from '../files.js';

/** Bits of an element, by the format's names. */
const bitsOf = {
  ...{ F4: 4, F6_E2M3: 6, F6_E3M2: 6 },
  ...{ BOOL: 8, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8 },
  ...{ U16: 16, I16: 16, F16: 16, BF16: 16, U32: 32, I32: 32, F32: 32 },
  ...{ U64: 64, I64: 64, F64: 64, C64: 64 },
} as const;

/** An element type by the format's name. */
export type SafetensorsType = keyof typeof bitsOf;

/** Those that a Tensor has as well. */
export const tensorTypes: Readonly<Partial<Record<SafetensorsType, DataType>>> = {
  ...{ BOOL: 'bool', U8: 'uint8', I32: 'int32', I64: 'int64', F16: 'float16', BF16: 'bfloat16', F32: 'float32' },
};

/** The same the other way round. */
export const storedTypes = Object.fromEntries(
  Object.entries(tensorTypes).map(([stored, type]) => [type, stored]),
) as Readonly<Record<DataType, SafetensorsType>>;

/** A tensor of a file. */
export interface SafetensorsEntry {
  /** Element type by the format's name: `'F32'`, `'BF16'`, `'F8_E4M3'` and so on. */
  readonly dtype: SafetensorsType;
  readonly dims: readonly number[];
  /** The first byte, from the file's begin. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

export interface Header {
  readonly metadata: Readonly<Record<string, string>>;
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
}

/** Headers are refused from here on, as the format's own reader does. */
export const maxHeaderLength = 100_000_000;

/** The key that no tensor has. */
export const metadataKey = '__metadata__';

/** How long the JSON is, from the first eight bytes of a file. */
export function readHeaderLength(what: string, bytes: Uint8Array, fileSize: number): number {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(maxHeaderLength))
    throw malformed(what, `a header of ${length} bytes, at most ${maxHeaderLength}`);
  if (8 + Number(length) > fileSize) throw malformed(what, `a header of ${length} bytes in a file of ${fileSize}`);
  return Number(length);
}

/** Whether something is strings by name, as metadata is. */
export const isStrings = (value: unknown): value is Record<string, string> =>
  is.plain(value) && Object.values(value).every((text) => typeof text === 'string');

/** Reads the JSON of a file of `fileSize` bytes. */
export function readHeader(what: string, json: Uint8Array, fileSize: number): Header {
  const { [metadataKey]: metadata = {}, ...tensors } = parse(what, json);
  if (!isStrings(metadata)) throw malformed(what, `${metadataKey} must have strings by name`);
  const begin = 8 + json.length;
  const entries = Object.entries(tensors).map(([name, value]) => [name, readEntry(what, name, value, begin)] as const);
  checkCover(what, entries, begin, fileSize);
  return { metadata, entries: new Map(entries) };
}

function parse(what: string, json: Uint8Array): Record<string, unknown> {
  // The format's reader refuses white space in front of the brace as well.
  if (json[0] !== '{'.charCodeAt(0)) throw malformed(what, 'its header does not begin with {');
  let text: string;
  let parsed: Record<string, unknown>;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(json);
    parsed = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw malformed(what, `its header is no JSON: ${(error as Error).message}`);
  }
  refuseTwins(what, text);
  return parsed;
}

/** Escapes, quotes with the colon behind a name, and braces: what names in JSON that is right are found by. */
const marks = /\\.|"\s*:?|[{}]/g;

/** Refuses a name that an object has twice, of which JSON.parse() leaves the last. */
function refuseTwins(what: string, json: string): void {
  const names: Set<string>[] = [];
  /** Where the string begins that a mark is in. */
  let begin: number | undefined;
  for (const { 0: mark, index } of json.matchAll(marks)) {
    if (mark.startsWith('"')) {
      if (begin !== undefined && mark.endsWith(':'))
        addName(what, names.at(-1), JSON.parse(json.slice(begin, index + 1)));
      begin = begin === undefined ? index : undefined;
    } else if (begin === undefined) {
      if (mark === '{') names.push(new Set());
      else names.pop();
    }
  }
}

function addName(what: string, names: Set<string> | undefined, name: string): void {
  if (names?.has(name)) throw malformed(what, `its header has the name '${name}' twice`);
  names?.add(name);
}

function readEntry(what: string, name: string, value: unknown, begin: number): SafetensorsEntry {
  const wrong = (fault: string) => malformed(what, `tensor '${name}' has ${fault}`);
  const { dtype, shape, data_offsets: offsets } = is.object(value) ? value : {};
  if (typeof dtype !== 'string' || !Object.hasOwn(bitsOf, dtype)) throw wrong(`dtype ${JSON.stringify(dtype)}`);
  if (!isCounts(shape)) throw wrong(`shape ${JSON.stringify(shape)}`);
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[1] < offsets[0]) {
    throw wrong(`data_offsets ${JSON.stringify(offsets)}`);
  }
  const bits = shape.reduce((product, length) => product * length, bitsOf[dtype as SafetensorsType]);
  const length = offsets[1] - offsets[0];
  if (bits !== length * 8) throw wrong(`${length} bytes, and its shape and dtype ask for ${bits / 8}`);
  return { dtype: dtype as SafetensorsType, dims: shape, offset: begin + offsets[0], length };
}

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((count) => is.integer(count, 0, Number.MAX_SAFE_INTEGER));

/** Refuses tensors that overlap, leave gaps or end elsewhere than the file. */
function checkCover(
  what: string,
  entries: readonly (readonly [string, SafetensorsEntry])[],
  begin: number,
  fileSize: number,
): void {
  let end = begin;
  for (const [name, { offset, length }] of entries.toSorted(
    ([, a], [, b]) => a.offset - b.offset || a.length - b.length,
  )) {
    if (offset !== end) {
      throw malformed(what, `tensor '${name}' begins at byte ${offset}, and what is before it ends at ${end}`);
    }
    end += length;
  }
  if (end !== fileSize) throw malformed(what, `its tensors end at byte ${end}, and the file has ${fileSize}`);
}
