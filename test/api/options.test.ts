// Options: every wrong value gets a sentence with the option's name, the value and what would be accepted, and a stable
// code; both forms of a call agree. Reader: someone adding an option, who adds its wrong values here.

import { describe, expect, it } from 'vitest';
import type { AttentionOptions, ErrorCode, TensorLike } from '../../dist/index.js';
import { attention, attentionSync, causal, full, hierarchical, slidingWindow, Tensor } from '../../dist/index.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { operands, tensor } from '../support/tensors.js';

const { q, k, v } = operands(4, 2, 8);
const refuse = (options: unknown, code: ErrorCode, type: typeof TypeError | typeof RangeError, says: string[]) =>
  expectBoth(
    () => attentionSync(q, k, v, options as AttentionOptions),
    () => attention(q, k, v, options as AttentionOptions),
    { code, type, says },
  );

describe('the options as a whole', () => {
  it.each([
    [null],
    [5],
    ['causal'],
    [[true]],
    [new Float32Array(2)],
    [new Map([['causal', true]])],
    [new Set(['causal'])],
  ])('%o is refused', (options) => refuse(options, 'ERR_TILEWISE_INVALID_OPTION', TypeError, ['must be an object']));

  it.each([
    ['casual', 'causal'],
    ['isCausal', 'causal'],
    ['is_causal', 'causal'],
    ['softmaxScale', 'scale'],
    ['window_size', 'window'],
    ['return_lse', 'returnLse'],
    ['cu_seqlens_q', 'cuSeqlensQ'],
    ['alibi_slopes', 'alibiSlopes'],
    ['tensor', 'Tensor'],
  ])('`%s` is unknown, and `%s` is suggested', (name, meant) =>
    refuse({ [name]: true }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, [`\`${name}\``, `\`${meant}\``]),
  );

  it('an unknown name that resembles none lists all', () =>
    refuse({ dropout: 0.1 }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`dropout`', 'layout', 'copyInputs']));

  it.each([
    ['key_padding_mask', '`keyMask`, where 0 hides'],
    ['attention_mask', '`keyMask` when it is [batch, keys]'],
    ['cache_seqlens', '`keyLengths`'],
    ['block_table', '`pages.table`'],
  ])('`%s` of others is answered with ours', (name, says) =>
    refuse({ [name]: 1 }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, [name, says]),
  );

  it('absent and undefined are the same', () => {
    const names = ['layout', 'pattern', 'causal', 'scale', 'bias', 'out', 'signal', 'Tensor', 'keyLengths'];
    const options = Object.fromEntries(names.map((name) => [name, undefined]));
    expect(attentionSync(q, k, v, options).out.data).toEqual(attentionSync(q, k, v).out.data);
  });
});

const bool = new Tensor('bool', new Uint8Array(16), [4, 4]);
const slopes = (...dims: number[]) => tensor(...dims);
const cu = (...totals: number[]) => Int32Array.from(totals);
const invalid = 'ERR_TILEWISE_INVALID_OPTION' as const;
const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH' as const;
const dtype = 'ERR_TILEWISE_DTYPE' as const;

const wrong: [
  options: Record<string, unknown>,
  code: ErrorCode,
  type: typeof TypeError | typeof RangeError,
  says: string[],
][] = [
  [{ layout: 'nhd' }, invalid, TypeError, ['`layout`', "'nhd'", "'bnhd' or 'bhnd'"]],
  [{ layout: null }, invalid, TypeError, ['`layout`', 'null']],
  [{ pattern: 'causal' }, invalid, TypeError, ['`pattern`', "'causal'"]],
  [{ pattern: {} }, invalid, TypeError, ['`pattern`']],
  [{ pattern: { ...full(), kind: 'blocks' } }, invalid, TypeError, ['`pattern`']],
  [{ pattern: { ...full(), left: -1 } }, invalid, RangeError, ['`pattern.left`', '-1']],
  [{ pattern: { ...full(), right: undefined } }, invalid, TypeError, ['`pattern.right`', 'undefined']],
  [{ pattern: { ...full(), sinkTokens: 0.5 } }, invalid, RangeError, ['`pattern.sinkTokens`', '0.5']],
  [{ pattern: { ...full(), align: 'left' } }, invalid, TypeError, ['`pattern.align`', "'left'"]],
  [{ pattern: { ...full(), stride: 2 } }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`stride`']],
  [{ pattern: causal(), causal: true }, invalid, TypeError, ['`pattern`', '`causal`']],
  [{ pattern: causal(), window: [1, 1] }, invalid, TypeError, ['`pattern`', '`window`']],
  [{ pattern: causal(), sinkTokens: 1 }, invalid, TypeError, ['`pattern`', '`sinkTokens`']],
  [{ pattern: causal(), align: 'top-left' }, invalid, TypeError, ['`pattern`', '`align`']],
  [{ causal: 1 }, invalid, TypeError, ['`causal`', '1', 'true or false']],
  [{ causal: 'yes' }, invalid, TypeError, ["'yes'"]],
  [{ window: 128 }, invalid, TypeError, ['`window`', '128']],
  [{ window: [1] }, invalid, TypeError, ['`window`', '[1]']],
  [{ window: [1, 2, 3] }, invalid, TypeError, ['`window`']],
  [{ window: [-2, 0] }, invalid, RangeError, ['`window[0]`', '-2', '-1']],
  [{ window: [0, 'x'] }, invalid, TypeError, ['`window[1]`', "'x'"]],
  [{ window: { left: -1 } }, invalid, RangeError, ['`left`', '-1']],
  [{ window: { left: 1.5 } }, invalid, RangeError, ['1.5']],
  [{ window: { right: Number.NaN } }, invalid, RangeError, ['`right`', 'NaN']],
  [{ window: { right: 2 ** 30 } }, invalid, RangeError, ['1073741824']],
  [{ window: { lft: 1 } }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`lft`', '`left`']],
  [{ window: new Float32Array(2) }, invalid, TypeError, ['Float32Array(2)']],
  [{ sinkTokens: -1 }, invalid, RangeError, ['`sinkTokens`', '-1']],
  [{ sinkTokens: '4' }, invalid, TypeError, ["'4'"]],
  [{ align: 'center' }, invalid, TypeError, ['`align`', "'center'", "'bottom-right'"]],
  [{ align: 3 }, invalid, TypeError, ['`align`', '3']],
  [{ align: {} }, invalid, TypeError, ['`align.offset`', 'undefined']],
  [{ align: { offset: 0.5 } }, invalid, RangeError, ['`align.offset`', '0.5']],
  [{ align: { offset: 2 ** 31 } }, invalid, RangeError, ['2147483648']],
  [{ align: { offset: 0, shift: 1 } }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`shift`']],
  [{ scale: '1' }, invalid, TypeError, ['`scale`', "'1'"]],
  [{ scale: Number.POSITIVE_INFINITY }, invalid, RangeError, ['Infinity']],
  [{ scale: Number.NaN }, invalid, RangeError, ['NaN']],
  [{ scale: 1e300 }, invalid, RangeError, ['1e+300']],
  [{ scale: 1n }, invalid, TypeError, ['1n']],
  [{ softcap: -1 }, invalid, RangeError, ['`softcap`', '-1', '0 for no cap']],
  [{ softcap: 1e-300 }, invalid, RangeError, ['1e-300']],
  [{ softcap: true }, invalid, TypeError, ['true']],
  [{ alibiSlopes: new Int32Array(2) }, invalid, TypeError, ['`alibiSlopes`', 'Int32Array(2)', 'Float32Array']],
  [{ alibiSlopes: [1, 2, 3] }, mismatch, RangeError, ['`alibiSlopes`', '[3]', '[2]']],
  [{ alibiSlopes: [1, '2'] }, 'ERR_TILEWISE_INVALID_TENSOR', TypeError, ['`alibiSlopes`', "'2'"]],
  [{ alibiSlopes: [[1, 2], [3]] }, mismatch, RangeError, ['`alibiSlopes`', '[2, 2]', '[3]']],
  [{ sinks: new Uint16Array(2) }, invalid, TypeError, ['`sinks`', 'Uint16Array(2)', 'an array of numbers']],
  [{ alibiSlopes: new Float32Array(3) }, mismatch, RangeError, ['`alibiSlopes`', '[3]', '[2]', '[1, 2]']],
  [{ alibiSlopes: slopes(2, 2) }, mismatch, RangeError, ['[2, 2]']],
  [{ alibiSlopes: slopes(1, 1, 2) }, mismatch, RangeError, ['[1, 1, 2]']],
  [{ alibiSlopes: slopes() }, mismatch, RangeError, ['[]']],
  [{ sinks: new Float32Array(1) }, mismatch, RangeError, ['`sinks`', '[1]', '[2]']],
  [{ sinks: slopes(1, 2) }, mismatch, RangeError, ['`sinks`', '[1, 2]']],
  [{ sinks: 0 }, 'ERR_TILEWISE_INVALID_TENSOR', TypeError, ['`sinks`', '0']],
  [{ bias: tensor(3, 4) }, mismatch, RangeError, ['`bias`', '[3, 4]', '[1, 2, 4, 4]']],
  [{ bias: tensor(1, 1, 2, 4, 4) }, mismatch, RangeError, ['`bias`', '[1, 1, 2, 4, 4]']],
  [{ bias: bool }, dtype, TypeError, ['`bias`', 'bool', 'float32, float16, bfloat16']],
  [{ bias: 1 }, 'ERR_TILEWISE_INVALID_TENSOR', TypeError, ['`bias`', '1']],
  [{ mask: tensor(4, 4) }, dtype, TypeError, ['`mask`', 'float32', 'bool, uint8']],
  [{ mask: bool.slice(0, 0, 3) }, mismatch, RangeError, ['`mask`', '[3, 4]']],
  [{ mask: tensor(4, 4) }, dtype, TypeError, ['`mask`', 'int32, int64', '`bias`']],
  [{ keyMask: tensor(1, 4) }, dtype, TypeError, ['`keyMask`', 'float32', '`bias`']],
  [{ keyMask: bool }, mismatch, RangeError, ['`keyMask`', '[1, 4]', '[4, 4]']],
  [{ keyMask: bool.select(0, 0) }, mismatch, RangeError, ['`keyMask`', '[1, 4]', '[4]']],
  [{ mask: true }, 'ERR_TILEWISE_INVALID_TENSOR', TypeError, ['`mask`', 'true']],
  [{ cuSeqlensQ: cu(0, 4) }, invalid, TypeError, ['`cuSeqlensQ`', '`cuSeqlensK`']],
  [{ cuSeqlensK: cu(0, 4) }, invalid, TypeError, ['`cuSeqlensQ`', '`cuSeqlensK`']],
  [{ cuSeqlensQ: cu(), cuSeqlensK: cu(0, 4) }, invalid, RangeError, ['`cuSeqlensQ`', 'empty']],
  [{ cuSeqlensQ: cu(1, 4), cuSeqlensK: cu(0, 4) }, invalid, RangeError, ['`cuSeqlensQ[0]`', '1']],
  [{ cuSeqlensQ: cu(0, 3, 2, 4), cuSeqlensK: cu(0, 4, 4, 4) }, invalid, RangeError, ['`cuSeqlensQ[2]`', '2', '3']],
  [{ cuSeqlensQ: cu(0, 4), cuSeqlensK: cu(0, 5) }, invalid, RangeError, ['`cuSeqlensK[1]`', '5', '4', '`k`']],
  [{ cuSeqlensQ: cu(0, 3), cuSeqlensK: cu(0, 4) }, invalid, RangeError, ['`cuSeqlensQ[1]`', '3', '4', '`q`']],
  [{ cuSeqlensQ: cu(0, 2, 4), cuSeqlensK: cu(0, 4) }, mismatch, RangeError, ['3', '2']],
  [{ cuSeqlensQ: cu(0, 4), cuSeqlensK: cu(0, 4), bias: tensor(1) }, invalid, TypeError, ['`bias`', 'packed']],
  [{ cuSeqlensQ: cu(0, 4), cuSeqlensK: cu(0, 4), mask: bool }, invalid, TypeError, ['`mask`', 'packed']],
  [{ cuSeqlensQ: cu(0, 4), cuSeqlensK: cu(0, 4), keyLengths: cu(4) }, invalid, TypeError, ['`keyLengths`', 'packed']],
  [{ cuSeqlensQ: cu(0, 4), cuSeqlensK: cu(0, 4), keyStarts: cu(0) }, invalid, TypeError, ['`keyStarts`', 'packed']],
  [{ cuSeqlensQ: cu(0, 4), cuSeqlensK: cu(0, 4), keyMask: bool }, invalid, TypeError, ['`keyMask`', 'packed']],
  [{ keyStarts: cu(0, 0) }, mismatch, RangeError, ['`keyStarts`', '1', '2']],
  [{ keyStarts: cu(5) }, invalid, RangeError, ['`keyStarts[0]`', '5', '4, the number of keys']],
  [{ keyStarts: cu(-1) }, invalid, RangeError, ['`keyStarts[0]`', '-1']],
  [{ keyStarts: cu(3), keyLengths: cu(2) }, invalid, RangeError, ['`keyStarts[0]`', '3', '2, its length']],
  [{ keyStarts: cu(0), pattern: hierarchical() }, invalid, TypeError, ['`keyStarts`', "'hierarchical'"]],
  [{ keyStarts: [0.5] }, invalid, RangeError, ['`keyStarts[0]`', 'whole']],
  [{ keyLengths: cu(4, 4) }, mismatch, RangeError, ['`keyLengths`', '1', '2']],
  [{ keyLengths: cu(5) }, invalid, RangeError, ['`keyLengths[0]`', '5', '4']],
  [{ keyLengths: cu(-1) }, invalid, RangeError, ['`keyLengths[0]`', '-1']],
  [{ pairing: 'repeat' }, invalid, TypeError, ['`pairing`', "'repeat'", "'tile' or 'interleave'"]],
  [{ pairing: 'tile' }, invalid, TypeError, ['`pairing`', 'more KV heads', '2 and 2']],
  [{ returnLse: 1 }, invalid, TypeError, ['`returnLse`', '1']],
  [{ out: new Float32Array(64) }, 'ERR_TILEWISE_INVALID_TENSOR', TypeError, ['`out`', 'Float32Array(64)']],
  [{ out: tensor(1, 4, 2, 7) }, mismatch, RangeError, ['`out`', '[1, 4, 2, 7]', '[1, 4, 2, 8]']],
  [{ out: tensor(4, 2, 8) }, mismatch, RangeError, ['`out`', '[4, 2, 8]']],
  [{ out: new Tensor('float16', new Uint16Array(64) as never, [1, 4, 2, 8]) }, dtype, TypeError, ['`out`', 'float16']],
  [{ Tensor: {} }, invalid, TypeError, ['`Tensor`', '{}']],
  [{ Tensor: () => 0 }, invalid, TypeError, ['`Tensor`', 'function']],
  [{ signal: {} }, invalid, TypeError, ['`signal`', 'AbortSignal']],
  [{ signal: new AbortController() }, invalid, TypeError, ['`signal`', 'AbortController']],
  [{ device: 'gpu' }, invalid, TypeError, ['`device`', "'gpu'", "'cuda'"]],
  [{ device: 'cuda:x' }, invalid, TypeError, ['`device`', "'cuda:x'", "'cuda:1'"]],
  [{ device: 'cuda:99' }, 'ERR_TILEWISE_NO_DEVICE', Error as never, ['`device`', "'cuda:99'", "'cpu', 'cuda'"]],
  [{ copyInputs: 'deep' }, invalid, TypeError, ['`copyInputs`', "'small', true or false", "'deep'"]],
];

describe('a wrong value', () => {
  it.each(wrong)('%o', (options, code, type, says) => refuse(options, code, type, says));

  it('a signal means nothing to a call that cannot be interrupted', () => {
    const { signal } = new AbortController();
    expectError(
      thrownBy(() => attentionSync(q, k, v, { signal })),
      { code: invalid, type: TypeError, says: ['`signal`'] },
    );
  });
});

describe('shapes that do not fit', () => {
  const shapes: [q: number[], k: number[], v: number[], says: string[]][] = [
    [
      [4, 2, 8],
      [4, 2, 8],
      [4, 2, 8],
      ['[4, 2, 8]', 'batch, tokens, heads, dim'],
    ],
    [
      [1, 4, 2, 8],
      [2, 4, 2, 8],
      [2, 4, 2, 8],
      ['[1, 4, 2, 8]', '[2, 4, 2, 8]'],
    ],
    [[1, 4, 2, 8], [1, 4, 2, 8], [1, 5, 2, 8], ['[1, 5, 2, 8]']],
    [[1, 4, 2, 8], [1, 4, 2, 8], [1, 4, 1, 8], ['[1, 4, 1, 8]']],
    [[1, 4, 2, 8], [1, 4, 2, 7], [1, 4, 2, 8], ['[1, 4, 2, 7]']],
    [[1, 4, 2, 8], [4, 2, 8], [4, 2, 8], ['[4, 2, 8]']],
    [
      [1, 4, 3, 8],
      [1, 4, 2, 8],
      [1, 4, 2, 8],
      ['3 query heads', '2 KV heads'],
    ],
    [
      [1, 4, 2, 8],
      [1, 4, 3, 8],
      [1, 4, 3, 8],
      ['2 query heads', '3 KV heads'],
    ],
    [
      [1, 4, 0, 8],
      [1, 4, 0, 8],
      [1, 4, 0, 8],
      ['heads', '0'],
    ],
    [
      [1, 4, 1, 0],
      [1, 4, 1, 0],
      [1, 4, 1, 8],
      ['dim of `q`', '0'],
    ],
    [
      [1, 4, 1, 4097],
      [1, 4, 1, 4097],
      [1, 4, 1, 8],
      ['dim of `q`', '4097'],
    ],
    [
      [1, 4, 1, 8],
      [1, 4, 1, 8],
      [1, 4, 1, 4097],
      ['dim of `v`', '4097'],
    ],
  ];
  it.each(shapes)('q %o k %o v %o', (a, b, c, says) =>
    expectBoth(
      () => attentionSync(tensor(...a), tensor(...b), tensor(...c)),
      () => attention(tensor(...a), tensor(...b), tensor(...c)),
      { code: mismatch, type: RangeError, says },
    ),
  );

  it('types differ', () => {
    const half: TensorLike = { type: 'bfloat16', data: new Uint16Array(64), dims: [1, 4, 2, 8] };
    const says = ['float32', 'bfloat16'];
    expectError(
      thrownBy(() => attentionSync(q, half, v)),
      { code: dtype, type: TypeError, says },
    );
    expectError(
      thrownBy(() => attentionSync(q, k, half)),
      { code: dtype, type: TypeError, says },
    );
  });

  it('packed rows have one batch entry', () => {
    const two = tensor(2, 4, 2, 8);
    const options = { cuSeqlensQ: cu(0, 4), cuSeqlensK: cu(0, 4) };
    expectError(
      thrownBy(() => attentionSync(two, two, two, options)),
      { code: mismatch, says: ['batch of 1', '[2, 4, 2, 8]'] },
    );
  });
});

describe('patterns', () => {
  it('are plain frozen values', () => {
    expect(full()).toEqual({ kind: 'window', left: Infinity, right: Infinity, sinkTokens: 0, align: 'bottom-right' });
    expect(causal()).toEqual({ ...full(), right: 0 });
    expect(slidingWindow({ left: 3, causal: true, sinkTokens: 2, align: { offset: 1 } })).toEqual({
      kind: 'window',
      left: 3,
      right: 0,
      sinkTokens: 2,
      align: { offset: 1 },
    });
    for (const pattern of [full(), causal(), slidingWindow({})]) expect(Object.isFrozen(pattern)).toBe(true);
  });

  it('say the same as the options that spell them out', () => {
    const same = (pattern: ReturnType<typeof full>, options: AttentionOptions) =>
      expect(attentionSync(q, k, v, { pattern }).out.data).toEqual(attentionSync(q, k, v, options).out.data);
    same(full(), {});
    same(causal({ align: 'top-left' }), { causal: true, align: 'top-left' });
    same(slidingWindow({ left: 1, right: 2 }), { window: [1, 2] });
    same(slidingWindow({ left: 1 }), { window: [1, -1] });
    same(slidingWindow({ left: 1, causal: true, sinkTokens: 1 }), { window: { left: 1 }, causal: true, sinkTokens: 1 });
    same(slidingWindow({ left: 1, right: 3, causal: true }), { window: { left: 1, right: 0 } });
  });

  it('refuse what attention() refuses', () => {
    const code = invalid;
    expectError(
      thrownBy(() => causal({ align: 'middle' as never })),
      { code, says: ['`align`', "'middle'"] },
    );
    expectError(
      thrownBy(() => slidingWindow({ left: -1 })),
      { code, type: RangeError, says: ['`left`', '-1'] },
    );
    expectError(
      thrownBy(() => slidingWindow({ rigth: 1 } as never)),
      { code: 'ERR_TILEWISE_UNKNOWN_OPTION', says: ['`right`'] },
    );
    expectError(
      thrownBy(() => causal(null as never)),
      { code, says: ['null'] },
    );
  });
});
