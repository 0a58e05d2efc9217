// A message: its fields by number, read when they are asked for, and written back byte for byte.
// Reader: someone who reads another message of ONNX. Fields that nobody asks for, unknown ones included, stay as they are.
// Source: protobuf.dev, "Encoding": repeated numbers may be packed or not; absent fields have no default here.

import { malformed } from '../files.js';
import { type Field, readFields, readVarints, type WireType, wireTypes, writeFields } from './wire.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A message of a file. Immutable: with() makes another. */
export class Message {
  /** @param what its name in onnx.proto, for errors */
  constructor(
    readonly what: string,
    readonly fields: readonly Field[],
  ) {}

  static read(what: string, bytes: Uint8Array): Message {
    return new Message(what, readFields(bytes, what));
  }

  get bytes(): Uint8Array {
    return writeFields(this.fields);
  }

  /** The message with other fields of some numbers: they take the place of the first of their number, or come last. */
  with(changes: Readonly<Record<number, readonly Field[]>>): Message {
    const waiting = new Map(Object.entries(changes).map(([number, fields]) => [Number(number), fields]));
    const fields: Field[] = [];
    for (const field of this.fields) {
      if (!(field.number in changes)) fields.push(field);
      else fields.push(...(waiting.get(field.number) ?? []));
      waiting.delete(field.number);
    }
    for (const rest of waiting.values()) fields.push(...rest);
    return new Message(this.what, fields);
  }

  all(number: number): Field[] {
    return this.fields.filter((field) => field.number === number);
  }

  bytesOf(number: number): Uint8Array | undefined {
    const field = this.#one(number);
    return field && this.#expect(field, wireTypes.bytes).value;
  }

  text(number: number): string | undefined {
    const bytes = this.bytesOf(number);
    return bytes && this.#decode(number, bytes);
  }

  texts(number: number): string[] {
    return this.all(number).map((field) => this.#decode(number, this.#expect(field, wireTypes.bytes).value));
  }

  /** An int64; one that a number cannot hold is refused. */
  integer(number: number): number | undefined {
    const field = this.#one(number);
    return field && this.#numbers(readVarints(this.#expect(field, wireTypes.varint).value, this.what))[0];
  }

  /** Repeated int64s; those that a number cannot hold are refused. */
  integers(number: number): number[] {
    return this.#numbers(this.bigints(number));
  }

  /** Repeated int64s. */
  bigints(number: number): bigint[] {
    return this.all(number).flatMap((field) => {
      if (field.wireType !== wireTypes.bytes) this.#expect(field, wireTypes.varint);
      return readVarints(field.value, this.what);
    });
  }

  float(number: number): number | undefined {
    return this.#one(number) && this.floats(number)[0];
  }

  /** Repeated float32s. */
  floats(number: number): number[] {
    return this.#fixed(number, wireTypes.fixed32, 4, (view, at) => view.getFloat32(at, true));
  }

  /** Repeated float64s. */
  doubles(number: number): number[] {
    return this.#fixed(number, wireTypes.fixed64, 8, (view, at) => view.getFloat64(at, true));
  }

  message(number: number, what: string): Message | undefined {
    const bytes = this.bytesOf(number);
    return bytes && Message.read(what, bytes);
  }

  messages(number: number, what: string): Message[] {
    return this.all(number).map((field) => Message.read(what, this.#expect(field, wireTypes.bytes).value));
  }

  /** The one field of a number. Protobuf would merge several; writers have no reason to write them. */
  #one(number: number): Field | undefined {
    const fields = this.all(number);
    if (fields.length > 1) throw malformed(this.what, `field ${number} is there ${fields.length} times`);
    return fields[0];
  }

  #expect(field: Field, wireType: WireType): Field {
    if (field.wireType === wireType) return field;
    throw malformed(this.what, `field ${field.number} has wire type ${field.wireType}, not ${wireType}`);
  }

  #decode(number: number, bytes: Uint8Array): string {
    try {
      return utf8.decode(bytes);
    } catch {
      throw malformed(this.what, `field ${number} is no UTF-8`);
    }
  }

  #numbers(values: readonly bigint[]): number[] {
    return values.map((value) => {
      if (Number.isSafeInteger(Number(value))) return Number(value);
      throw malformed(this.what, `the number ${value} is too large`);
    });
  }

  #fixed(number: number, wireType: WireType, size: number, read: (view: DataView, at: number) => number): number[] {
    return this.all(number).flatMap((field) => {
      const { value } = field.wireType === wireTypes.bytes ? field : this.#expect(field, wireType);
      if (value.length % size !== 0) throw malformed(this.what, `field ${number} ends within a number`);
      const view = new DataView(value.buffer, value.byteOffset, value.length);
      return Array.from({ length: value.length / size }, (_, i) => read(view, i * size));
    });
  }
}
