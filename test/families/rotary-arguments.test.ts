// The arguments of rotate(): forms that are taken, and what is said of those that are not. Reader: someone who adds an option.

import * as ort from 'onnxruntime-common';
import { describe, expect, it } from 'vitest';
import { type RotateOptions, rotate, rotateSync, Tensor, type TensorLike } from '../../dist/index.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { tensor } from '../support/tensors.js';

const option = 'ERR_TILEWISE_INVALID_OPTION' as const;
const invalid = 'ERR_TILEWISE_INVALID_TENSOR' as const;
const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH' as const;
const unknown = 'ERR_TILEWISE_UNKNOWN_OPTION' as const;
const overlap = 'ERR_TILEWISE_OVERLAP' as const;
const dtype = 'ERR_TILEWISE_DTYPE' as const;
const x = tensor(2, 3, 4, 8);

describe('positions', () => {
  const rows = [
    [5, 6, 7],
    [0, 1, 2],
  ];
  const want = rotateSync(x, { positions: rows }).data;
  it.each<[string, RotateOptions['positions']]>([
    ['typed arrays', rows.map((row) => Int32Array.from(row))],
    ['bigints', rows.map((row) => row.map(BigInt))],
    ['an int32 tensor', Tensor.from(rows, 'int32')],
    ['an int64 tensor', Tensor.from(rows, 'int64')],
    ['a float32 tensor', Tensor.from(rows)],
  ])('%s', (_, positions) => expect(rotateSync(x, { positions }).data).toEqual(want));

  it('are 0, 1, 2 and so on', () => {
    expect(rotateSync(x).data).toEqual(rotateSync(x, { positions: [0, 1, 2] }).data);
    expect(rotateSync(x).data).not.toEqual(want);
  });
  it('of one row are those of all batch entries', () => {
    const all = rotateSync(x, { positions: [rows[0], rows[0]] }).data;
    for (const positions of [rows[0], [rows[0]]]) expect(rotateSync(x, { positions }).data).toEqual(all);
  });
});

describe('`out`', () => {
  it('may be the tensor itself, by whatever object', async () => {
    const want = rotateSync(x).data;
    const like = { type: 'float32', data: x.data.slice(), dims: x.dims } as const;
    expect(await rotate(like, { out: { ...like, strides: x.strides } })).toEqual({ ...like, strides: x.strides });
    expect(like.data).toEqual(want);
    const merged = new Tensor('float32', x.data.slice(), [2, 3, 32]);
    expect(rotateSync(merged, { heads: 4, out: merged }).data).toEqual(want);
  });
  it('may not share memory with it otherwise', () => {
    const wide = tensor(1, 4, 2, 8);
    const [first, second] = [wide.slice(1, 0, 3), wide.slice(1, 1, 4)];
    const reversed = new Tensor('float32', first.data, first.dims, { strides: [64, 16, -8, 1], offset: 8 });
    for (const out of [second, reversed]) {
      expectError(
        thrownBy(() => rotateSync(first, { out })),
        { code: overlap, type: RangeError, says: ['`out`', '`tensor`'] },
      );
    }
    const repeated = new Tensor('float32', x.data, x.dims, { strides: [96, 0, 8, 1] });
    expectError(
      thrownBy(() => rotateSync(repeated, { out: repeated })),
      { code: overlap, type: RangeError, says: ['`out`', 'the same element'] },
    );
  });
  it('is leased while a call runs', async () => {
    const out = Tensor.zeros('float32', [1, 4000, 8, 128]);
    const running = rotate(tensor(1, 4000, 8, 128), { out });
    expectError(
      thrownBy(() => rotateSync(out, { out })),
      { code: overlap, type: RangeError, says: ['still running'] },
    );
    await running;
  });
});

it('results are of the class that is asked for', () => {
  const got = rotateSync(x, { Tensor: ort.Tensor });
  expect(got).toBeInstanceOf(ort.Tensor);
  expect(got).toMatchObject({ type: 'float32', dims: x.dims, data: rotateSync(x).data });
});

it('a call that is aborted rejects with the reason', async () => {
  const reason = new Error('no more');
  await expect(rotate(x, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  expectError(
    thrownBy(() => rotateSync(x, { signal: AbortSignal.abort(reason) })),
    { code: option, type: TypeError, says: ['`signal`'] },
  );
});

it('empty tensors stay empty', () => {
  for (const dims of [
    [0, 3, 4, 8],
    [2, 0, 4, 8],
  ]) {
    expect(rotateSync(Tensor.zeros('float32', dims)).dims).toEqual(dims);
  }
});

const yarn = { kind: 'yarn', factor: 4, original: 4096 } as const;
const llama3 = { kind: 'llama3', factor: 8, original: 8192 } as const;
type Refused = [unknown, string, typeof TypeError | typeof RangeError, string[]];
const refused: Refused[] = [
  [{ dims: 3 }, option, RangeError, ['`dims`', '3', 'even']],
  [{ dims: 10 }, option, RangeError, ['`dims`', '10', '8']],
  [{ dims: 0 }, option, RangeError, ['`dims`', '0']],
  [{ theta: 1 }, option, RangeError, ['`theta`', '1']],
  [{ theta: Number.POSITIVE_INFINITY }, option, RangeError, ['`theta`', 'Infinity']],
  [{ theta: '10000' }, option, TypeError, ['`theta`', "'10000'"]],
  [{ interleaved: 1 }, option, TypeError, ['`interleaved`', '1']],
  [{ positions: [0, 1] }, mismatch, RangeError, ['`positions`', '[2]', '[3]', '[2, 3]']],
  [
    {
      positions: [
        [0, 1, 2],
        [0, 1, 2],
        [0, 1, 2],
      ],
    },
    mismatch,
    RangeError,
    ['[3, 3]', '[2, 3]'],
  ],
  [{ positions: [0, 1, Number.NaN] }, option, RangeError, ['`positions[2]`', 'NaN']],
  [{ positions: [0, 1, '2'] }, invalid, TypeError, ['`positions`', "'2'"]],
  [{ positions: 4 }, option, TypeError, ['`positions`', '4']],
  [{ positions: x.astype('float16') }, dtype, TypeError, ['`positions`', 'float16']],
  [{ frequencies: [1, 2, 3] }, mismatch, RangeError, ['`frequencies`', '[3]', '[4]', '[4, 4]']],
  [{ frequencies: [1, 2, 3, 4], theta: 500 }, option, TypeError, ['`theta`', '`frequencies`']],
  [{ frequencies: [1, 2, 3, 4], scaling: yarn }, option, TypeError, ['`scaling`', '`frequencies`']],
  [{ scaling: 'yarn' }, option, TypeError, ['`scaling`', "'yarn'"]],
  [{ scaling: { kind: 'longrope', factor: 2 } }, option, TypeError, ['`scaling.kind`', "'longrope'", "'llama3'"]],
  [{ scaling: { kind: 'linear' } }, option, TypeError, ['`scaling.factor`', 'undefined']],
  [{ scaling: { kind: 'linear', factor: 0 } }, option, RangeError, ['`scaling.factor`', '0']],
  [{ scaling: { kind: 'linear', factor: 2, original: 1 } }, unknown, TypeError, ['`original`', "'linear'"]],
  [{ scaling: { kind: 'yarn', factor: 2 } }, option, TypeError, ['`scaling.original`']],
  [
    { scaling: { ...yarn, betaFast: 1, betaSlow: 2 } },
    option,
    RangeError,
    ['`scaling.betaSlow`', '`scaling.betaFast`'],
  ],
  [{ scaling: { ...llama3, highFreqFactor: 1 } }, option, RangeError, ['`scaling.lowFreqFactor`']],
  [{ scaling: { ...llama3, rope_type: 'llama3' } }, unknown, TypeError, ['`rope_type`', '`kind`']],
  [{ scaling: { ...yarn, original_max_position_embeddings: 1 } }, unknown, TypeError, ['it is `original`']],
  [{ rope_theta: 1e4 }, unknown, TypeError, ['`rope_theta`', '`theta`']],
  [{ position_ids: [0] }, unknown, TypeError, ['`position_ids`', '`positions`']],
  [{ heads: 5 }, mismatch, RangeError, ['`tensor`', '[2, 3, 4, 8]', '`heads` 5']],
  [{ layout: 'bhnd', heads: 4 }, option, TypeError, ['`heads`', "'bhnd'"]],
  [{ out: tensor(2, 3, 4, 4) }, mismatch, RangeError, ['`out`', '[2, 3, 4, 8]', '[2, 3, 4, 4]']],
  [{ out: x.astype('float16') }, dtype, TypeError, ['`out`', 'float16']],
];
it.each(refused)('%o is refused', (options, code, type, says) =>
  expectBoth(
    () => rotateSync(x, options as RotateOptions),
    () => rotate(x, options as RotateOptions),
    { code: code as typeof option, type, says },
  ),
);

it.each<[unknown, string, string[]]>([
  [tensor(3, 8), mismatch, ['`tensor`', '[3, 8]', '[batch, tokens, heads, dim]', '[tokens, heads, dim]']],
  [tensor(1, 2, 3, 4, 8), mismatch, ['[1, 2, 3, 4, 8]']],
  [Tensor.zeros('int32', [1, 2, 3, 4]), dtype, ['`tensor`', 'int32']],
  [new Float32Array(8), invalid, ['`tensor`', 'Float32Array(8)']],
])('%o is no tensor of rows', (given, code, says) => {
  const error = thrownBy(() => rotateSync(given as TensorLike)) as Error;
  expectError(error, { code: code as typeof option, type: error.constructor as typeof TypeError, says });
});
