// tilewise/safetensors: files that are written are read, a tensor costs its own bytes alone, and files that lie are refused.
// Reader: someone who changes lib/adapters/safetensors. Files of the tests are made by hand from the format's description.

import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { openSafetensors, writeSafetensors } from 'tilewise/safetensors';
import { afterAll, describe, expect, it } from 'vitest';
import { type ErrorCode, Tensor } from '../../dist/index.js';
import { range } from '../references/operand.js';
import { expectError, thrownBy } from '../support/expect-error.js';

const folder = mkdtempSync(path.join(tmpdir(), 'tilewise-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => path.join(folder, name);

/** A file: its JSON, and the bytes behind it. */
function bytesOf(header: unknown, data: readonly number[] = []): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return new Uint8Array(Buffer.concat([length, json, Uint8Array.from(data)]));
}

const entry = (dtype: unknown, shape: unknown, begin: unknown, end: unknown) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe('a file', () => {
  // Float 1.5 is 0x3fc00000; half 1.5 is 0x3e00; both little-endian.
  const bytes = bytesOf(
    {
      __metadata__: { format: 'pt' },
      w: entry('F32', [1, 2], 0, 8),
      half: entry('F16', [1], 8, 10),
      none: entry('I64', [0, 3], 10, 10),
      e: entry('F8_E4M3', [2], 10, 12),
      nibbles: entry('F4', [2], 12, 13),
    },
    [0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0, 0, 0x3e, 7, 8, 0x21],
  );

  writeFileSync(at('a.safetensors'), bytes);

  it('has its metadata, and of every tensor the type, dims and place', () => {
    const file = openSafetensors(bytes);
    const begin = bytes.length - 13;
    expect(file.metadata).toEqual({ format: 'pt' });
    expect([...file.entries]).toEqual([
      ['w', { dtype: 'F32', dims: [1, 2], offset: begin, length: 8 }],
      ['half', { dtype: 'F16', dims: [1], offset: begin + 8, length: 2 }],
      ['none', { dtype: 'I64', dims: [0, 3], offset: begin + 10, length: 0 }],
      ['e', { dtype: 'F8_E4M3', dims: [2], offset: begin + 10, length: 2 }],
      ['nibbles', { dtype: 'F4', dims: [2], offset: begin + 12, length: 1 }],
    ]);
  });

  it.each([
    ['in memory', () => bytes],
    ['by its path', () => at('a.safetensors')],
    ['by its URL', () => pathToFileURL(at('a.safetensors'))],
  ])('%s gives tensors, and bytes of types that no tensor has', (_, source) => {
    const file = openSafetensors(source());
    expect(file.tensor('w')).toMatchObject({ type: 'float32', dims: [1, 2], data: Float32Array.of(1.5, -2) });
    expect(file.tensor('half').astype('float32').data).toEqual(Float32Array.of(1.5));
    expect(file.tensor('none')).toMatchObject({ type: 'int64', dims: [0, 3] });
    expect([...file.bytes('e'), ...file.bytes('nibbles')]).toEqual([7, 8, 0x21]);
  });

  it('gives new memory each time', () => {
    const file = openSafetensors(bytes);
    file.tensor('w').data.fill(0 as never);
    expect(file.tensor('w').data).toEqual(Float32Array.of(1.5, -2));
  });

  it('of 3 GB is opened by its header, and read behind 2 GB', () => {
    const [large, small] = [3 * 2 ** 30, 8];
    const header = bytesOf({ large: entry('U8', [large], 0, large), w: entry('F32', [2], large, large + small) });
    const file = openSync(at('large.safetensors'), 'w');
    writeSync(file, header);
    writeSync(file, new Uint8Array(Float32Array.of(0.5, 4).buffer), 0, 8, header.length + large);
    ftruncateSync(file, header.length + large + small);
    closeSync(file);
    const before = process.memoryUsage().rss;
    expect(openSafetensors(at('large.safetensors')).tensor('w').data).toEqual(Float32Array.of(0.5, 4));
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 28);
    rmSync(at('large.safetensors'));
  });
});

describe('writing', () => {
  it('and reading give the same tensors, views in row-major order', () => {
    const tensors = {
      wide: new Tensor('int64', BigInt64Array.of(-1n, 2n), [2]),
      bits: new Tensor('bool', Uint8Array.of(1, 0, 1), [3]),
      turned: new Tensor('float32', Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]).transpose([1, 0]),
      theirs: { dtype: 'bfloat16', data: Uint16Array.of(0x3f80), shape: [] },
    };
    writeSafetensors(at('b.safetensors'), tensors, { metadata: { by: 'ä' } });
    const file = openSafetensors(at('b.safetensors'));
    expect(file.metadata).toEqual({ by: 'ä' });
    expect(file.tensor('wide')).toMatchObject({ type: 'int64', dims: [2], data: BigInt64Array.of(-1n, 2n) });
    expect(file.tensor('bits')).toMatchObject({ type: 'bool', dims: [3], data: Uint8Array.of(1, 0, 1) });
    expect(file.tensor('turned')).toMatchObject({ dims: [3, 2], data: Float32Array.of(1, 4, 2, 5, 3, 6) });
    expect(file.tensor('theirs')).toMatchObject({ type: 'bfloat16', dims: [], data: Uint16Array.of(0x3f80) });
    for (const [name, { offset }] of file.entries) {
      expect(offset % tensorBytes[name as keyof typeof tensorBytes], name).toBe(0);
    }
  });
  const tensorBytes = { wide: 8, bits: 1, turned: 4, theirs: 2 };

  it('gives the bytes that the format describes', () => {
    writeSafetensors(at('c.safetensors'), { w: new Tensor('float32', Float32Array.of(1.5), [1]) });
    const json = '{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
    const padded = json.padEnd(Math.ceil(json.length / 8) * 8);
    expect(new Uint8Array(readFileSync(at('c.safetensors')))).toEqual(bytesOf(padded, [0, 0, 0xc0, 0x3f]));
  });

  const one = new Tensor('float32', new Float32Array(1), [1]);
  it.each<[string, unknown, unknown, ErrorCode, string]>([
    ['nothing', null, {}, 'ERR_TILEWISE_INVALID_OPTION', '`tensors`'],
    ['a Map', new Map([['w', one]]), {}, 'ERR_TILEWISE_INVALID_OPTION', '`tensors` must be a plain object'],
    ['an array', [one], {}, 'ERR_TILEWISE_INVALID_OPTION', '`tensors` must be a plain object'],
    ['a tensor', one, {}, 'ERR_TILEWISE_INVALID_OPTION', '`tensors` must be a plain object'],
    ['metadata of a Map', { w: one }, { metadata: new Map([['a', 'b']]) }, 'ERR_TILEWISE_INVALID_OPTION', '`metadata`'],
    ['metadata of an array', { w: one }, { metadata: ['a'] }, 'ERR_TILEWISE_INVALID_OPTION', '`metadata`'],
    ['a number', { w: 5 }, {}, 'ERR_TILEWISE_INVALID_TENSOR', '`w`'],
    ['float64', { w: { type: 'float64', data: new Float64Array(1), dims: [1] } }, {}, 'ERR_TILEWISE_DTYPE', '`w`'],
    ['the name of the metadata', { __metadata__: one }, {}, 'ERR_TILEWISE_INVALID_OPTION', '__metadata__'],
    ['metadata of numbers', { w: one }, { metadata: { a: 1 } }, 'ERR_TILEWISE_INVALID_OPTION', '`metadata`'],
    ['a misspelled option', { w: one }, { metaData: {} }, 'ERR_TILEWISE_UNKNOWN_OPTION', '`metadata`'],
  ])('refuses %s', (_, tensors, options, code, says) =>
    expectError(
      thrownBy(() => writeSafetensors(at('d.safetensors'), tensors as never, options as never)),
      { code, type: TypeError, says: [says] },
    ),
  );
});

it('names may have everything that names are found by', () => {
  const names = ['":', ' "a" : {', '\\', '}', '{', ':', '__proto__', 'dtype'];
  const texts = Object.fromEntries(names.map((name) => [name, `"${name}":`]));
  const entries = names.map((name, i) => [name, entry('U8', [1], i, i + 1)]);
  const header = { __metadata__: texts, ...Object.fromEntries(entries) };
  const file = openSafetensors(bytesOf(header, range(0, names.length)));
  expect([...file.entries.keys()]).toEqual(names);
  expect(Object.entries(file.metadata)).toEqual(Object.entries(texts));
});

describe('a file that lies', () => {
  const code = 'ERR_TILEWISE_INVALID_FILE';
  const two = (first: unknown, second: unknown) => ({ a: first, b: second });
  const big = Number.MAX_SAFE_INTEGER;
  it.each<[string, Uint8Array, string]>([
    ['is too short', new Uint8Array(7), '7 bytes'],
    ['has a header longer than itself', Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 123), '9 bytes in a file of 9'],
    ['has a header of 2^63 bytes', Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 128, 123, 125), '9223372036854775808'],
    ['has a header above the limit', Uint8Array.of(1, 0xe1, 0xf5, 5, 0, 0, 0, 0, 123, 125), '100000001'],
    ['has no JSON', bytesOf('{"a":'), 'no JSON'],
    ['begins with a space', bytesOf(' {}'), 'begin with {'],
    ['is no UTF-8', bytesOf('{}').fill(255, 9, 10), 'no JSON'],
    ['has metadata of numbers', bytesOf({ __metadata__: { a: 1 } }), '__metadata__'],
    ['has metadata of an array', bytesOf({ __metadata__: ['a'] }), '__metadata__'],
    ['has no entry', bytesOf({ a: 5 }), 'dtype undefined'],
    ['has an unknown type', bytesOf({ a: entry('F128', [1], 0, 16) }, Array(16).fill(0)), '"F128"'],
    ['has an inherited type', bytesOf({ a: entry('toString', [1], 0, 1) }, [0]), '"toString"'],
    ['has a negative length', bytesOf({ a: entry('U8', [-1], 0, 1) }, [0]), 'shape [-1]'],
    ['has half a length', bytesOf({ a: entry('U8', [0.5], 0, 1) }, [0]), 'shape [0.5]'],
    ['has no shape', bytesOf({ a: entry('U8', '1', 0, 1) }, [0]), 'shape "1"'],
    ['has one offset', bytesOf({ a: { dtype: 'U8', shape: [1], data_offsets: [0] } }, [0]), 'data_offsets [0]'],
    ['ends before it begins', bytesOf({ a: entry('U8', [1], 1, 0) }, [0]), 'data_offsets [1,0]'],
    ['has fewer bytes than its shape', bytesOf({ a: entry('F32', [2], 0, 4) }, [0, 0, 0, 0]), 'ask for 8'],
    ['has a shape that overflows', bytesOf({ a: entry('U8', [big, big, 0], 0, 1) }, [0]), 'ask for'],
    ['has halves of bytes', bytesOf({ a: entry('F4', [1], 0, 1) }, [0]), 'ask for 0.5'],
    ['overlaps', bytesOf(two(entry('U8', [2], 0, 2), entry('U8', [2], 1, 3)), [0, 0, 0]), "tensor 'b' begins at byte"],
    ['has tensors in one place', bytesOf(two(entry('U8', [2], 0, 2), entry('U8', [2], 0, 2)), [0, 0]), 'begins at'],
    ['leaves a gap', bytesOf(two(entry('U8', [1], 0, 1), entry('U8', [1], 2, 3)), [0, 0, 0]), "tensor 'b' begins at"],
    ['has bytes behind its tensors', bytesOf({ a: entry('U8', [1], 0, 1) }, [0, 0]), 'end at byte'],
    ['is cut off', bytesOf({ a: entry('U8', [2], 0, 2) }, [0]), 'end at byte'],
    [
      'has a name twice',
      bytesOf(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        [0, 0],
      ),
      "the name 'a' twice",
    ],
    [
      'has a name twice, for the same bytes and spelled in two ways',
      bytesOf(
        String.raw`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061" :{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}`,
        [0],
      ),
      "the name 'a' twice",
    ],
    [
      'has a type twice',
      bytesOf('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"dtype":"I8"}}', [0]),
      "the name 'dtype' twice",
    ],
    ['has a note twice', bytesOf('{"__metadata__":{"a":"b","a":"c"}}'), "the name 'a' twice"],
  ])('because it %s, is refused', (_, bytes, says) =>
    expectError(
      thrownBy(() => openSafetensors(bytes)),
      { code, type: RangeError, says: [says] },
    ),
  );

  it('because it is not there, is refused', () =>
    expectError(
      thrownBy(() => openSafetensors(at('missing'))),
      { code, type: RangeError, says: ['ENOENT', 'missing'] },
    ));

  it('because it is a folder, is refused', () =>
    expectError(
      thrownBy(() => openSafetensors(folder)),
      { code, type: RangeError, says: [folder] },
    ));

  it.each<[string, (buffer: ArrayBuffer) => unknown, string]>([
    [
      'has been made smaller',
      (buffer) => (buffer as unknown as { resize: (size: number) => void }).resize(buffer.byteLength - 1),
      'and has',
    ],
    ["is another thread's", (buffer) => structuredClone(buffer, { transfer: [buffer] }), 'has 0'],
  ])('because its memory %s since, is refused', (_, change, says) => {
    const whole = bytesOf({ a: entry('U8', [2], 0, 2) }, [1, 2]);
    const Resizable = ArrayBuffer as unknown as new (size: number, options: object) => ArrayBuffer;
    const bytes = new Uint8Array(new Resizable(whole.length, { maxByteLength: 100 }));
    bytes.set(whole);
    const file = openSafetensors(bytes);
    expect([...file.bytes('a')]).toEqual([1, 2]);
    change(bytes.buffer as ArrayBuffer);
    for (const read of [() => file.bytes('a'), () => file.tensor('a')]) {
      expectError(thrownBy(read), { code, type: RangeError, says: [`had ${whole.length} bytes`, says] });
    }
  });

  it('because it has shrunk since, is refused', () => {
    writeFileSync(at('e.safetensors'), bytesOf({ a: entry('U8', [2], 0, 2) }, [1, 2]));
    const file = openSafetensors(at('e.safetensors'));
    writeFileSync(at('e.safetensors'), 'short');
    expectError(
      thrownBy(() => file.tensor('a')),
      { code, type: RangeError, says: ['has 5'] },
    );
  });
});

describe('an argument', () => {
  const file = openSafetensors(bytesOf({ a: entry('F64', [1], 0, 8) }, Array(8).fill(0)));
  const web = new URL('http://example.org/w');
  it.each<[string, () => unknown, ErrorCode, typeof TypeError | typeof RangeError, string]>([
    ['a URL that is no file', () => openSafetensors(web), 'ERR_TILEWISE_INVALID_OPTION', TypeError, web.href],
    ['a URL to write to', () => writeSafetensors(web, {}), 'ERR_TILEWISE_INVALID_OPTION', TypeError, web.href],
    ['a path that is none', () => writeSafetensors(5 as never, {}), 'ERR_TILEWISE_INVALID_OPTION', TypeError, '`path`'],
    ['a source that is none', () => openSafetensors(5 as never), 'ERR_TILEWISE_INVALID_OPTION', TypeError, '`source`'],
    ['a name that is not there', () => file.tensor('b'), 'ERR_TILEWISE_INVALID_OPTION', RangeError, "'b'"],
    ['a name of every object', () => file.bytes('toString'), 'ERR_TILEWISE_INVALID_OPTION', RangeError, "'toString'"],
    ['a type that no tensor has', () => file.tensor('a'), 'ERR_TILEWISE_DTYPE', TypeError, "bytes('a')"],
  ])('%s is refused', (_, call, code, type, says) => expectError(thrownBy(call), { code, type, says: [says] }));
});
