// Tensors made of numbers: zeros(), from() of nested arrays, Node Buffers, and astype().
// Reader: someone who has numbers in another form. Roundings are judged by references/half.ts.

import { describe, expect, it } from 'vitest';
import { attentionSync, Tensor, type TensorLike } from '../../dist/index.js';
import { fromBits, round, toBits } from '../references/half.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { operands } from '../support/tensors.js';

const invalid = 'ERR_TILEWISE_INVALID_TENSOR' as const;
const halves = ['float16', 'bfloat16'] as const;
const bitsOf = ({ data }: Tensor) => new Uint16Array(data.buffer, data.byteOffset, data.length);
/** Every pattern of 16 bits. */
const everyHalf = (type: (typeof halves)[number]) =>
  new Tensor(
    type,
    Uint16Array.from({ length: 65536 }, (_, bits) => bits),
    [65536],
  );

describe('Tensor.zeros()', () => {
  it('has zeros of every type', () => {
    expect([...Tensor.zeros('int64', [2]).data]).toEqual([0n, 0n]);
    for (const type of ['float32', 'float16', 'bfloat16', 'int32', 'uint8', 'bool'] as const) {
      const t = Tensor.zeros(type, [2, 3]);
      expect(t).toMatchObject({ type, dims: [2, 3], size: 6, location: 'cpu' });
      expect(t.data.every((x) => x === 0)).toBe(true);
    }
  });

  it('refuses what is no type and no shape', () => {
    expectError(
      thrownBy(() => Tensor.zeros('float64' as never, [1])),
      { code: 'ERR_TILEWISE_INVALID_OPTION', type: TypeError, says: ["'float64'", "'float32'"] },
    );
    expectError(
      thrownBy(() => Tensor.zeros('float32', [-1])),
      { code: invalid, type: TypeError, says: ['dims', '[-1]'] },
    );
  });
});

describe('Tensor.from() of nested arrays', () => {
  it('has their numbers in order, as float32 unless told otherwise', () => {
    const t = Tensor.from([
      [
        [1, 2],
        [3, 4],
      ],
      [
        [5, 6],
        [7, 8],
      ],
    ]);
    expect(t).toMatchObject({ type: 'float32', dims: [2, 2, 2], offset: 0 });
    expect([...t.data]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(Tensor.from([[], []]).dims).toEqual([2, 0]);
    expect(Tensor.from(3).dims).toEqual([]);
    expect([...Tensor.from([Float64Array.of(1, 2), [3, 4]]).data]).toEqual([1, 2, 3, 4]);
    expect([...Tensor.from([[true, false, 2, Number.NaN]], 'bool').data]).toEqual([1, 0, 1, 1]);
    expect([...Tensor.from([-1, 2 ** 31 - 1], 'int32').data]).toEqual([-1, 2 ** 31 - 1]);
    expect([...Tensor.from([[1n], [2]], 'int64').data]).toEqual([1n, 2n]);
  });

  it('copies typed arrays, so that they may change', () => {
    const data = Float32Array.of(1, 2);
    const t = Tensor.from(data);
    data[0] = 9;
    expect([...t.data]).toEqual([1, 2]);
  });

  it.each<[string, unknown, string | undefined, string, typeof TypeError | typeof RangeError, string[]]>([
    ['rows of two lengths', [[1, 2], [3]], undefined, 'ERR_TILEWISE_SHAPE_MISMATCH', RangeError, ['[2, 2]', '[3]']],
    ['a number beside a row', [[1], 2], undefined, 'ERR_TILEWISE_SHAPE_MISMATCH', RangeError, ['2']],
    ['a row beside a number', [1, [2]], undefined, invalid, TypeError, ['[2]']],
    ['words', ['a'], undefined, invalid, TypeError, ["'a'"]],
    ['holes', new Array(2), undefined, invalid, TypeError, ['undefined']],
    ['a fraction as int32', [1.5], 'int32', invalid, RangeError, ['whole', '1.5', 'int32']],
    ['256 as uint8', [256], 'uint8', invalid, RangeError, ['0 to 255', '256']],
    ['another type', [1], 'float64', 'ERR_TILEWISE_INVALID_OPTION', TypeError, ["'float64'"]],
  ])('refuses %s', (_, nested, type, code, kind, says) =>
    expectError(
      thrownBy(() => Tensor.from(nested as number[], type as 'int32')),
      { code: code as typeof invalid, type: kind, says },
    ),
  );

  it('refuses arrays that hold themselves', () => {
    const endless: unknown[] = [];
    endless.push(endless);
    expectError(
      thrownBy(() => Tensor.from(endless as never)),
      { code: invalid, type: TypeError, says: ['8 deep'] },
    );
  });
});

describe('astype()', () => {
  it.each(halves)('float32 becomes the nearest %s, ties to even', (type) => {
    // Every number of the type, what is half way to the next one, and the neighbours of that.
    const numbers = [...everyHalf(type).data.keys()].flatMap((bits) => {
      const [number, next] = [fromBits(type, bits), fromBits(type, bits + 1)];
      const middle = Math.fround(Number.isFinite(next) ? (number + next) / 2 : number);
      const step = Math.max(Math.abs(middle) * 2 ** -23, 2 ** -149);
      return [number, middle, Math.fround(middle + step), Math.fround(middle - step)];
    });
    const data = Float32Array.from([...numbers, 3.4e38, -3.4e38, 65519.99, 65520, 2 ** -149, -0, Infinity, Number.NaN]);
    const bits = bitsOf(new Tensor('float32', data, [data.length]).astype(type));
    const wrong = [...data].flatMap((x, i) => (bits[i] === toBits(type, x) ? [] : [`${x}: ${bits[i]}`]));
    expect(wrong.slice(0, 5)).toEqual([]);
  });

  it.each(halves)('%s becomes the same number in float32', (type) => {
    const { data } = everyHalf(type).astype('float32');
    const wrong = [...data].flatMap((x, bits) => (Object.is(x, fromBits(type, bits)) ? [] : [`${bits}: ${x}`]));
    expect(wrong.slice(0, 5)).toEqual([]);
  });

  it('rounds once between the 16-bit types, and from int32', () => {
    const bits = bitsOf(everyHalf('bfloat16').astype('float16'));
    const wrong = [...bits].flatMap((got, from) => {
      const wanted = toBits('float16', fromBits('bfloat16', from));
      return got === wanted ? [] : [`${from}: ${got}`];
    });
    expect(wrong.slice(0, 5)).toEqual([]);
    // Half way between two bfloat16, and one more: float32 would round that away first.
    const whole = 2 ** 30 + 2 ** 22;
    const [tie, above] = bitsOf(Tensor.from([whole, whole + 1], 'int32').astype('bfloat16'));
    expect([tie, above]).toEqual([toBits('bfloat16', 2 ** 30), toBits('bfloat16', 2 ** 30 + 2 ** 23)]);
    expect(bitsOf(Tensor.from([0.1], 'float16'))[0]).toBe(toBits('float16', 0.1));
  });

  it('reads views in their order, keeps the type as a view, and makes masks of numbers', () => {
    const t = Tensor.from([
      [0, 1.1],
      [-0, Number.NaN],
    ]);
    expect(t.astype('float32').data).toBe(t.data);
    expect([...t.transpose([1, 0]).astype('bool').data]).toEqual([0, 0, 1, 1]);
    const half = t.slice(1, 1).astype('bfloat16');
    expect(half).toMatchObject({ dims: [2, 1], location: 'cpu' });
    expect(half.astype('float32').data[0]).toBe(round('bfloat16', Math.fround(1.1)));
    expect([...Tensor.from([0, 1, 255], 'uint8').astype('float32').data]).toEqual([0, 1, 255]);
    expect([...Tensor.from([0, 1, -3], 'int64').astype('float32').data]).toEqual([0, 1, -3]);
    expect([...Tensor.from([0n, 7n], 'int64').astype('bool').data]).toEqual([0, 1]);
  });

  it('refuses other types', () =>
    expectError(
      thrownBy(() => Tensor.from([1]).astype('int32' as never)),
      { code: 'ERR_TILEWISE_INVALID_OPTION', type: TypeError, says: ["'int32'", "'float16'"] },
    ));
});

describe('Node Buffers', () => {
  const { q, k, v } = operands(3, 2, 4);
  const expected = attentionSync(q, k, v).out.data;
  const bytes = Buffer.from(q.data.buffer, q.data.byteOffset, q.data.byteLength);

  it('hold tensors where they are aligned, in place', () => {
    const buffer: TensorLike = { type: 'float32', data: bytes, dims: q.dims };
    expect(attentionSync(buffer, k, v).out.data).toEqual(expected);
    const t = new Tensor('float32', bytes, q.dims);
    expect(t.data).toBeInstanceOf(Float32Array);
    expect(t.data.buffer).toBe(q.data.buffer);
    const out = Buffer.alloc(4 * 24);
    attentionSync(q, k, v, { out: { type: 'float32', data: out, dims: q.dims } });
    expect(new Float32Array(out.buffer, out.byteOffset, 24)).toEqual(expected);
    expect([...new Tensor('bool', Buffer.of(1, 0), [2]).data]).toEqual([1, 0]);
  });

  it('that are not aligned are refused with the cure', () => {
    const moved = Buffer.from(new ArrayBuffer(97), 1);
    expectError(
      thrownBy(() => attentionSync({ type: 'float32', data: moved, dims: q.dims }, k, v)),
      { code: invalid, type: TypeError, says: ['`q`', '96 bytes from byte 1', 'Uint8Array.from(buffer)'] },
    );
    const cured = new Float32Array(Uint8Array.from(bytes).buffer);
    expect(attentionSync(new Tensor('float32', cured, q.dims), k, v).out.data).toEqual(expected);
    expectError(
      thrownBy(() => new Tensor('float32', Buffer.alloc(7), [1])),
      { code: invalid, says: ['7 bytes'] },
    );
  });

  it('other byte arrays are told how to become floats', () =>
    expectError(
      thrownBy(() => attentionSync({ type: 'float32', data: new Uint8Array(96), dims: q.dims }, k, v)),
      { code: 'ERR_TILEWISE_DTYPE', type: TypeError, says: ['Uint8Array', 'new Float32Array(bytes.buffer'] },
    ));
});
