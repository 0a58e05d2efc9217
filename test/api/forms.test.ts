// Forms of arguments: lengths, tables and other options as people have them, and what is said of those that are not taken.
// Reader: someone whose first call was refused.

import * as ort from 'onnxruntime-common';
import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  hipAttentionSync,
  hipSelectSync,
  mergeAttentionSync,
  neighborhoodAttentionSync,
  Tensor,
  type TensorLike,
} from '../../dist/index.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { isSame, operands, tensor } from '../support/tensors.js';

const option = 'ERR_TILEWISE_INVALID_OPTION' as const;
const invalid = 'ERR_TILEWISE_INVALID_TENSOR' as const;
const { q, k, v } = operands(4, 2, 8);

describe('lengths', () => {
  const [q2, k2] = [tensor(2, 3, 2, 8), tensor(2, 5, 2, 8)];
  const expected = attentionSync(q2, k2, k2, { keyLengths: Int32Array.of(4, 2) }).out.data;
  const forms: [string, unknown][] = [
    ['an array', [4, 2]],
    ['bigints', [4n, 2n]],
    ['another typed array', BigInt64Array.of(4n, 2n)],
    ['bytes', Uint8Array.of(4, 2)],
    ['an int32 tensor', Tensor.from([4, 2], 'int32')],
    [
      'a strided one',
      Tensor.from(
        [
          [4, 9],
          [2, 9],
        ],
        'int32',
      ).select(1, 0),
    ],
    ['an uint8 tensor', { type: 'uint8', data: Uint8Array.of(4, 2), dims: [2] }],
    ["onnxruntime's int32", new ort.Tensor('int32', Int32Array.of(4, 2), [2])],
    ["onnxruntime's int64", new ort.Tensor('int64', BigInt64Array.of(4n, 2n), [2])],
  ];
  it.each(forms)('as %s', (_, keyLengths) => {
    expect(attentionSync(q2, k2, k2, { keyLengths: keyLengths as number[] }).out.data).toEqual(expected);
  });

  it.each(forms)('of packed sequences, from 0 on, as %s', (_, lengths) => {
    const totals = lengths instanceof Uint8Array ? Uint8Array.of(0, 5, 10) : [0, 5, 10];
    const rows = k2.reshape([10, 2, 8]);
    const packed = attentionSync(rows, rows, rows, {
      cuSeqlensQ: totals,
      cuSeqlensK: Tensor.from([0, 5, 10], 'int32'),
    });
    expect(packed.out.data).toEqual(attentionSync(k2, k2, k2).out.data);
  });

  it('for a selection', () => {
    const lists = (keyLengths: number[] | Int32Array) => hipSelectSync(q2, k2, { preset: '3k', keyLengths });
    expect(lists([5, 3]).blocks.counts.data).toEqual(lists(Int32Array.of(5, 3)).blocks.counts.data);
    const { out } = hipAttentionSync(q2, k2, k2, { keyLengths: [5, 3] });
    expect(out.data).toEqual(hipAttentionSync(q2, k2, k2, { keyLengths: Int32Array.of(5, 3) }).out.data);
  });

  it.each<[unknown, string, typeof TypeError | typeof RangeError, string[]]>([
    [[4, 2.5], option, RangeError, ['`keyLengths[1]`', 'whole', '2.5']],
    [[4, 2 ** 31], option, RangeError, ['`keyLengths[1]`', '2147483648']],
    [[4, '2'], option, TypeError, ['`keyLengths[1]`', "'2'"]],
    [[[4], [2]], option, TypeError, ['`keyLengths[0]`', '[4]']],
    [4, option, TypeError, ['`keyLengths`', 'Int32Array', '4']],
    ['4', option, TypeError, ["'4'"]],
    [Tensor.from([[4, 2]], 'int32'), option, TypeError, ['`keyLengths`', 'one axis']],
    [Tensor.from([4, 2]), 'ERR_TILEWISE_DTYPE', TypeError, ['`keyLengths`', 'float32', 'int32']],
    [{ lengths: [4, 2] }, invalid, TypeError, ['`keyLengths`', '{ lengths }']],
  ])('%o is refused', (keyLengths, code, type, says) =>
    expectError(
      thrownBy(() => attentionSync(q2, k2, k2, { keyLengths: keyLengths as number[] })),
      { code: code as typeof option, type, says },
    ),
  );
});

describe('masks of every type', () => {
  const [q, k] = [tensor(2, 3, 2, 8), tensor(2, 5, 2, 8)];
  const bytes = [1, 0, 1, 1, 1, 0, 0, 0, 1, 1];
  const wide = [7, 0, -1, 256, 2 ** 30, 0, 0, 0, 65536, 1];
  const expected = () =>
    attentionSync(q, k, k, { mask: new Tensor('bool', Uint8Array.from(bytes), [2, 1, 1, 5]) }).out.data;
  const int64 = BigInt64Array.from(wide, (n) => BigInt(n) << 32n);

  it('whatever is not 0 shows a key, in the upper half of an int64, too', () => {
    const forms = [
      { type: 'uint8', data: Uint8Array.from(bytes, (n) => 255 * n) },
      { type: 'int32', data: Int32Array.from(wide) },
      { type: 'int64', data: int64 },
    ];
    for (const form of forms) {
      for (const options of [{ mask: { ...form, dims: [2, 1, 1, 5] } }, { keyMask: { ...form, dims: [2, 5] } }]) {
        expect(isSame(attentionSync(q, k, k, options).out.data, expected()), JSON.stringify(Object.keys(options))).toBe(
          true,
        );
      }
    }
  });

  it('with any strides', () => {
    const strided = (type: 'int32' | 'int64', data: Int32Array | BigInt64Array) =>
      attentionSync(q, k, k, { mask: { type, data, dims: [2, 2, 3, 5], strides: [5, 0, 0, -1], offset: 4 } }).out.data;
    const reversed = (values: number[]) => [...values.slice(0, 5).reverse(), ...values.slice(5).reverse()];
    expect(isSame(strided('int32', Int32Array.from(reversed(wide))), expected())).toBe(true);
    expect(isSame(strided('int64', BigInt64Array.from(reversed(bytes), BigInt)), expected())).toBe(true);
  });
});

describe('page tables', () => {
  const [q2, pool] = [tensor(2, 1, 8, 64), tensor(9, 16, 2, 64)];
  const lengths = Int32Array.of(40, 17);
  const padded = Tensor.from(
    [
      [0, 1, 2],
      [3, 4, -1],
    ],
    'int32',
  );
  const call = (table: unknown, keyLengths: unknown = lengths) =>
    attentionSync(q2, pool, pool, {
      pages: { table: table as TensorLike, pageSize: 16 },
      keyLengths: keyLengths as number[],
    }).out.data;
  const expected = call(padded);

  it('as rows that differ in length, typed ones, and tensors of several types', () => {
    expect(
      call(
        [
          [0, 1, 2],
          [3, 4],
        ],
        [40, 17],
      ),
    ).toEqual(expected);
    expect(call([Int32Array.of(0, 1, 2), [3n, 4n]], Tensor.from(lengths, 'int32'))).toEqual(expected);
    expect(
      call(
        Tensor.from(
          [
            [0, 1, 2],
            [3, 4, 0],
          ],
          'uint8',
        ),
      ),
    ).toEqual(expected);
    expect(call(padded.transpose([1, 0]).contiguous().transpose([1, 0]))).toEqual(expected);
  });

  it('of one sequence need no outer array', () => {
    const [one, rows] = [q2.slice(0, 0, 1), [0, 1, 2]];
    const alone = (table: number[] | number[][] | Int32Array) =>
      attentionSync(one, pool, pool, { pages: { table, pageSize: 16 }, keyLengths: [40] }).out.data;
    expect(alone(rows)).toEqual(expected.slice(0, 512));
    expect(alone(Int32Array.from(rows))).toEqual(alone([rows]));
  });

  it('may be empty, with a batch of 0', () => {
    const none = Tensor.zeros('float32', [0, 3, 2, 4]);
    const few = Tensor.zeros('float32', [5, 4, 2, 4]);
    for (const table of [new Tensor('int32', new Int32Array(0), [0, 3]), []]) {
      const { out } = attentionSync(none, few, few, { pages: { table, pageSize: 4 }, keyLengths: [] });
      expect(out.dims).toEqual([0, 3, 2, 4]);
    }
  });

  it.each<[unknown, string, typeof TypeError | typeof RangeError, string[]]>([
    [[[0, 1, 2], 3], option, TypeError, ['`pages.table[1]`', '3']],
    [[[0, 1, 2], [3.5]], option, RangeError, ['`pages.table[1][0]`', '3.5']],
    [[[0, 1, 2], [3]], option, RangeError, ['[1, 1]', '-1']],
    [[0, 1, 2], 'ERR_TILEWISE_SHAPE_MISMATCH', RangeError, ['[1, 3]', '2 sequences']],
    [7, option, TypeError, ['`pages.table`', '7']],
    [
      Tensor.from([
        [0, 1, 2],
        [3, 4, 0],
      ]),
      'ERR_TILEWISE_DTYPE',
      TypeError,
      ['float32', 'int32'],
    ],
  ])('%o is refused', (table, code, type, says) =>
    expectError(
      thrownBy(() => call(table)),
      { code: code as typeof option, type, says },
    ),
  );
});

describe('numbers per head', () => {
  const slopes = [0.5, 0.25];
  const forms = {
    'an array': slopes,
    'a Float32Array': Float32Array.from(slopes),
    'a Float64Array': Float64Array.from(slopes),
    'a tensor': Tensor.from(slopes),
  };
  it.each(Object.entries(forms))('`sinks`, `alibiSlopes` in %s', (_, form) => {
    const expected = attentionSync(q, k, v, { sinks: Tensor.from(slopes), alibiSlopes: Tensor.from(slopes) });
    expect(attentionSync(q, k, v, { sinks: form, alibiSlopes: form }).out.data).toEqual(expected.out.data);
    expect(attentionSync(q, k, v, { sinks: form }).out.data).not.toEqual(expected.out.data);
  });

  it('slopes of each batch entry in nested arrays', () => {
    expect(attentionSync(q, k, v, { alibiSlopes: [slopes] }).out.data).toEqual(
      attentionSync(q, k, v, { alibiSlopes: slopes }).out.data,
    );
  });

  it('`relativeBias` in nested arrays', () => {
    const relativeBias = [
      [1, 2, 3, 4, 5],
      [5, 4, 3, 2, 1],
    ];
    const call = (bias: AttentionOptions['relativeBias']) =>
      neighborhoodAttentionSync(q, k, v, { kernelSize: 3, relativeBias: bias }).out.data;
    expect(call(relativeBias)).toEqual(call(Tensor.from(relativeBias)));
    expect(call(relativeBias)).not.toEqual(call(undefined));
  });

  it('`sinks` of mergeAttention()', () => {
    const part = attentionSync(q, k, v, { returnLse: true });
    const merge = (sinks: number[] | Float32Array) => mergeAttentionSync([part], { sinks }).out.data;
    expect(merge(slopes)).toEqual(merge(Float32Array.from(slopes)));
  });
});

describe('what is off', () => {
  it('softcap 0 is no cap', () => {
    expect(attentionSync(q, k, v, { softcap: 0 }).out.data).toEqual(attentionSync(q, k, v).out.data);
    expect(attentionSync(q, k, v, { softcap: 0.1 }).out.data).not.toEqual(attentionSync(q, k, v).out.data);
  });

  it('window [-1, -1] is no window', () => {
    expect(attentionSync(q, k, v, { window: [-1, -1] }).out.data).toEqual(attentionSync(q, k, v).out.data);
  });
});

describe('what is not a tensor is told what is', () => {
  const shown = ["new Tensor('float32', data, dims)", '{ type, data, dims }'];
  const bare = new Float32Array(64);
  it.each<[string, unknown[], string[]]>([
    ['a bare Float32Array as q', [bare, k, v], ['`q`', 'Float32Array(64)']],
    ['a bare Float32Array as k', [q, bare, v], ['`k`']],
    ['a bare Float32Array as v', [q, k, bare], ['`v`']],
    ['nested arrays', [[[[[1, 2]]]], k, v], ['`q`', '[[[[1, 2]]]]']],
    ['options in place of v', [q, k, { causal: true }], ['`v`', '{ causal }']],
    ['an ArrayBuffer', [bare.buffer, k, v], ['ArrayBuffer']],
  ])('%s', (_, [a, b, c], says) =>
    expectBoth(
      () => attentionSync(a as Tensor, b as Tensor, c as Tensor),
      () => attention(a as Tensor, b as Tensor, c as Tensor),
      { code: invalid, type: TypeError, says: [...says, ...shown] },
    ),
  );

  it('a mask of floats is told of `bias`', () =>
    expectError(
      thrownBy(() => attentionSync(q, k, v, { mask: tensor(4, 4) })),
      { code: 'ERR_TILEWISE_DTYPE', type: TypeError, says: ['`mask`', "'float32'", '`bias`'] },
    ));
});

describe('results of a class that has not their type', () => {
  const half = q.astype('bfloat16');
  it('are refused before anything is computed', () =>
    expectBoth(
      () => attentionSync(half, half, half, { Tensor: ort.Tensor }),
      () => attention(half, half, half, { Tensor: ort.Tensor, signal: AbortSignal.abort(new Error('began')) }),
      { code: 'ERR_TILEWISE_DTYPE', type: TypeError, says: ['`Tensor`', 'bfloat16', 'astype('] },
    ));

  it('are given where it has the type', () => {
    const { out } = attentionSync(q.astype('float16'), k.astype('float16'), v.astype('float16'), {
      Tensor: ort.Tensor,
    });
    expect(out).toBeInstanceOf(ort.Tensor);
    expect(out).toMatchObject({ type: 'float16', dims: [1, 4, 2, 8] });
    const given = Tensor.zeros('bfloat16', [1, 4, 2, 8]);
    expect(attentionSync(half, half, half, { Tensor: ort.Tensor, out: given }).out).toBe(given);
  });
});
