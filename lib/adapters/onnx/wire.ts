// Protobuf's wire format: a message is a list of fields, each kept as the bytes that it was read from.
// Reader: someone who asks how bytes become fields. Assumes nothing about what a field means; numbers.ts has that.
// Source: protobuf.dev, "Encoding". Groups, which protobuf itself gave up, are refused.

import { malformed } from '../files.js';

/** How a field's value is written. */
export const wireTypes = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;
export type WireType = (typeof wireTypes)[keyof typeof wireTypes];

/** A field as it is in the file. Neither array is a copy. */
export interface Field {
  readonly number: number;
  readonly wireType: WireType;
  /** The value alone: a varint's bytes, four or eight bytes, or what the length announces. */
  readonly value: Uint8Array;
  /** The whole field, from its tag on. */
  readonly whole: Uint8Array;
}

/** The fields of a message, in order. @param what the message's name, for errors */
export function readFields(bytes: Uint8Array, what: string): Field[] {
  const fields: Field[] = [];
  for (let begin = 0; begin < bytes.length; ) {
    const { number, wireType, from, to } = readHead(bytes, begin, what);
    if (to > bytes.length) {
      const place = `field ${number} at byte ${begin}`;
      throw malformed(what, `${place} ends at ${to}, and there are ${bytes.length} bytes`);
    }
    fields.push({ number, wireType, value: bytes.subarray(from, to), whole: bytes.subarray(begin, to) });
    begin = to;
  }
  return fields;
}

/** What a field says of itself: its number, and where its value is, which may be behind the bytes. */
export interface FieldHead extends Pick<Field, 'number' | 'wireType'> {
  readonly from: number;
  readonly to: number;
}

/** Reads the head of the field that begins at a byte. */
export function readHead(bytes: Uint8Array, begin: number, what: string): FieldHead {
  const tag = readUnsigned(bytes, begin, what);
  const number = Math.floor(tag.value / 8);
  if (number < 1 || number >= 2 ** 29) throw malformed(what, `no field has the number ${number} (byte ${begin})`);
  const wireType = tag.value % 8;
  const extent = extentOf(bytes, tag.end, wireType, what, `field ${number} at byte ${begin}`);
  return { number, wireType: wireType as WireType, ...extent };
}

/** Where the value of a field is that begins at `at`. */
function extentOf(bytes: Uint8Array, at: number, wireType: number, what: string, place: string) {
  switch (wireType) {
    case wireTypes.varint:
      return { from: at, to: endOfVarint(bytes, at, what) };
    case wireTypes.fixed64:
      return { from: at, to: at + 8 };
    case wireTypes.fixed32:
      return { from: at, to: at + 4 };
    case wireTypes.bytes: {
      const length = readUnsigned(bytes, at, what);
      return { from: length.end, to: length.end + length.value };
    }
    default:
      throw malformed(what, `${place} has wire type ${wireType}`);
  }
}

/** The end of a varint: at most ten bytes, the last below 128. */
function endOfVarint(bytes: Uint8Array, at: number, what: string): number {
  for (let end = at; end < Math.min(bytes.length, at + 10); ++end) if (bytes[end] < 128) return end + 1;
  throw malformed(what, `the number at byte ${at} does not end`);
}

/** A tag or a length: a varint below 2^53. */
function readUnsigned(bytes: Uint8Array, at: number, what: string): { value: number; end: number } {
  const end = endOfVarint(bytes, at, what);
  let value = 0;
  for (let i = end - 1; i >= at; --i) value = value * 128 + (bytes[i] & 127);
  if (!Number.isSafeInteger(value)) throw malformed(what, `the number at byte ${at} is too large`);
  return { value, end };
}

/** The numbers of a run of varints, as int64. */
export function readVarints(bytes: Uint8Array, what: string): bigint[] {
  const numbers: bigint[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = endOfVarint(bytes, at, what);
    let value = 0n;
    for (let i = end - 1; i >= at; --i) value = (value << 7n) | BigInt(bytes[i] & 127);
    numbers.push(BigInt.asIntN(64, value));
    at = end;
  }
  return numbers;
}

/** An int64 as a varint; negative ones take ten bytes. */
function varint(value: number | bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

function fieldOf(number: number, wireType: WireType, prefix: readonly number[], value: Uint8Array): Field {
  const head = [...varint(number * 8 + wireType), ...prefix];
  const whole = new Uint8Array(head.length + value.length);
  whole.set(head);
  whole.set(value, head.length);
  return { number, wireType, value: whole.subarray(head.length), whole };
}

/** A field of a whole number. */
export const integerField = (number: number, value: number | bigint): Field =>
  fieldOf(number, wireTypes.varint, [], Uint8Array.from(varint(value)));

/** A field of a float32. */
export function floatField(number: number, value: number): Field {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return fieldOf(number, wireTypes.fixed32, [], bytes);
}

/** A field of bytes, or of a message. */
export const bytesField = (number: number, value: Uint8Array): Field =>
  fieldOf(number, wireTypes.bytes, varint(value.length), value);

/** What is in front of a field's bytes. */
export const headOf = (number: number, length: number): Uint8Array =>
  Uint8Array.from([...varint(number * 8 + wireTypes.bytes), ...varint(length)]);

/** A field of text. */
export const textField = (number: number, value: string): Field => bytesField(number, new TextEncoder().encode(value));

/** The bytes of a message. */
export function writeFields(fields: readonly Field[]): Uint8Array {
  const bytes = new Uint8Array(fields.reduce((sum, { whole }) => sum + whole.length, 0));
  let at = 0;
  for (const { whole } of fields) {
    bytes.set(whole, at);
    at += whole.length;
  }
  return bytes;
}
