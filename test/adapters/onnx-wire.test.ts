// Protobuf's wire format: numbers against the examples of protobuf.dev, and bytes that are no message.
// Reader: someone who changes wire.ts or message.ts. The bytes are written by hand from "Encoding" of protobuf.dev.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Message } from '../../dist/adapters/onnx/message.js';
import {
  bytesField,
  floatField,
  integerField,
  readFields,
  readVarints,
  textField,
  writeFields,
} from '../../dist/adapters/onnx/wire.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';

const code = 'ERR_TILEWISE_INVALID_FILE';
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.split(' '), (byte) => Number.parseInt(byte, 16));
const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
const message = (hex: string): Message => Message.read('Test', bytesOf(hex));

/** A field, its bytes by the encoding's rules, and how it is read. */
const examples: [string, Uint8Array, string, (read: Message) => unknown, unknown][] = [
  ['a number', writeFields([integerField(1, 150)]), '08 96 01', (m) => m.integer(1), 150],
  ['a negative one', writeFields([integerField(1, -2)]), '08 fe ff ff ff ff ff ff ff ff 01', (m) => m.integer(1), -2],
  [
    'the smallest int64',
    writeFields([integerField(1, -(2n ** 63n))]),
    '08 80 80 80 80 80 80 80 80 80 01',
    (m) => m.bigints(1)[0],
    -(2n ** 63n),
  ],
  ['text', writeFields([textField(2, 'testing')]), '12 07 74 65 73 74 69 6e 67', (m) => m.text(2), 'testing'],
  ['a float', writeFields([floatField(3, 1)]), '1d 00 00 80 3f', (m) => m.float(3), 1],
  [
    'a large field number',
    writeFields([integerField(2 ** 29 - 1, 1)]),
    'f8 ff ff ff 0f 01',
    (m) => m.integer(2 ** 29 - 1),
    1,
  ],
];

describe('a field', () => {
  it.each(examples)('%s is written and read as protobuf has it', (_, written, hex, read, value) => {
    expect(hexOf(written)).toBe(hex);
    expect(read(message(hex))).toBe(value);
  });

  it('of numbers is read packed, one by one, and mixed', () => {
    expect(message('32 06 03 8e 02 9e a7 05').integers(6)).toEqual([3, 270, 86942]);
    expect(message('30 03 30 8e 02 30 9e a7 05').integers(6)).toEqual([3, 270, 86942]);
    expect(message('30 03 32 05 8e 02 9e a7 05').integers(6)).toEqual([3, 270, 86942]);
    expect(message('1a 08 00 00 80 3f 00 00 00 c0').floats(3)).toEqual([1, -2]);
    expect(message('19 00 00 00 00 00 00 f0 3f').doubles(3)).toEqual([1]);
  });

  it('that is absent is undefined, and a list of nothing', () => {
    const empty = new Message('Test', []);
    expect([empty.integer(1), empty.text(1), empty.float(1), empty.message(1, 'Other')]).toEqual(
      Array(4).fill(undefined),
    );
    expect([empty.integers(1), empty.texts(1), empty.messages(1, 'Other')]).toEqual([[], [], []]);
  });
});

describe('an edit', () => {
  it('puts fields in the place of the first of their number, others at the end, and keeps the rest', () => {
    // Fields 1, 2, 1000 (unknown), 2, 3.
    const before = message('08 01 12 01 61 c0 3e 05 12 01 62 1d 00 00 80 3f');
    const after = before.with({ 2: [textField(2, 'c')], 9: [integerField(9, 7)] });
    expect(hexOf(after.bytes)).toBe('08 01 12 01 63 c0 3e 05 1d 00 00 80 3f 48 07');
    expect(hexOf(before.with({ 2: [] }).bytes)).toBe('08 01 c0 3e 05 1d 00 00 80 3f');
    expect(hexOf(before.bytes)).toBe('08 01 12 01 61 c0 3e 05 12 01 62 1d 00 00 80 3f');
  });
});

describe('bytes that are no message', () => {
  it.each([
    ['a tag that does not end', '80', 'byte 0 does not end'],
    ['a varint of eleven bytes', '08 ff ff ff ff ff ff ff ff ff ff 01', 'byte 1 does not end'],
    ['field 0', '00 01', 'no field has the number 0'],
    ['a field number of 30 bits', 'f8 ff ff ff 1f 01', 'no field has the number'],
    ['a length behind the end', '12 05 61', 'field 2 at byte 0 ends at 7, and there are 3 bytes'],
    ['a length of 2^63', '12 80 80 80 80 80 80 80 80 80 01', 'too large'],
    ['half a float', '1d 00 00', 'ends at 5'],
    ['a group', '0b 0c', 'wire type 3'],
  ])('%s', (_, hex, says) =>
    expectError(
      thrownBy(() => message(hex)),
      { code, type: RangeError, says: ['Test', says] },
    ),
  );

  it.each<[string, string, (read: Message) => unknown, string]>([
    ['text where a number should be', '0a 01 61', (m) => m.integer(1), 'wire type 2, not 0'],
    ['a number where text should be', '08 01', (m) => m.text(1), 'wire type 0, not 2'],
    ['a float among integers', '0d 00 00 80 3f', (m) => m.integers(1), 'wire type 5, not 0'],
    ['one field twice', '08 01 08 02', (m) => m.integer(1), 'there 2 times'],
    ['an int64 beyond 2^53', '08 80 80 80 80 80 80 80 80 80 01', (m) => m.integer(1), '-9223372036854775808'],
    ['text that is no UTF-8', '0a 01 ff', (m) => m.text(1), 'UTF-8'],
    ['packed floats of five bytes', '0a 05 00 00 80 3f 00', (m) => m.floats(1), 'within a number'],
    ['packed numbers that do not end', '0a 01 80', (m) => m.integers(1), 'does not end'],
  ])('%s', (_, hex, read, says) =>
    expectError(
      thrownBy(() => read(message(hex))),
      { code, type: RangeError, says: ['Test', says] },
    ),
  );
});

describe('any message', () => {
  const number = fc.integer({ min: 1, max: 2 ** 29 - 1 });
  const field = fc.oneof(
    fc.tuple(number, fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)).map(([n, value]) => integerField(n, value)),
    fc.tuple(number, fc.float()).map(([n, value]) => floatField(n, value)),
    fc.tuple(number, fc.uint8Array({ maxLength: 300 })).map(([n, value]) => bytesField(n, value)),
  );

  it('is read as it was written', () =>
    expectForAll(fc.array(field), 300, (fields) => {
      const read = readFields(writeFields(fields), 'Test');
      expect(read.map(({ number: n, wireType, value }) => [n, wireType, hexOf(value)])).toEqual(
        fields.map(({ number: n, wireType, value }) => [n, wireType, hexOf(value)]),
      );
    }));

  it('has the int64s that were written', () =>
    expectForAll(fc.array(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)), 300, (values) =>
      expect(values.flatMap((value) => readVarints(integerField(1, value).value, 'Test'))).toEqual(values),
    ));

  it('is itself again, or refused, whatever the bytes', () =>
    expectForAll(fc.uint8Array({ maxLength: 40 }), 2000, (bytes) => {
      try {
        expect(hexOf(Message.read('Test', bytes).bytes)).toBe(hexOf(bytes));
      } catch (error) {
        expectError(error, { code, type: RangeError });
      }
    }));
});
