// Extra keys and values: keys without a position, seen by every query in the same softmax, whatever the pattern.
// Reader: someone with registers, text tokens beside an image, or a prefix that several images share.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  type ErrorCode,
  mergeAttentionSync,
} from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf, run } from '../conformance/judge.js';
import { fromOutput, fromTensor, operandOf, storages } from '../conformance/memory.js';
import {
  expectCases,
  expectMatrix,
  expectRight,
  expectSameBits,
  onEveryBackend,
  runCase,
} from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { range, toNumbers } from '../references/operand.js';
import { expectBoth } from '../support/expect-error.js';
import { operands, tensor } from '../support/tensors.js';
import { gather, view } from '../support/views.js';

onEveryBackend((backend) => {
  it('every query sees them: with windows, masks, biases, sinks, packed sequences, and few or many of them', () => {
    const prefill: Case = { batch: 2, heads: [4, 2], queries: 70, keys: 90, dims: [24, 20], extra: 5 };
    expectMatrix(
      dtypes.flatMap((dtype): Case[] => [
        { ...prefill, dtype },
        { ...prefill, dtype, causal: true, left: 11, sinkTokens: 3 },
        { ...prefill, dtype, mask: { axes: 'qk', hidden: 0.9 }, extra: 1 },
        { ...prefill, dtype, bias: { axes: 'hqk', hidden: 0.3 }, sinks: true, extra: 64 },
        { ...prefill, dtype, softcap: 3, alibi: 'bh', extra: 200 },
        { ...prefill, dtype, keyLengths: [0, 33], causal: true },
        { ...prefill, dtype, batch: 1, cuSeqlensQ: [0, 20, 20, 70], cuSeqlensK: [0, 0, 50, 90], causal: true },
        { ...prefill, dtype, heads: [2, 4], pairing: 'interleave' },
        { ...prefill, dtype, layout: 'bhnd', storage: 'reversed', extra: 33 },
      ]),
      backend,
    );
  });

  it('decode steps see them', () => {
    expectCases(
      [1, 7, 300].flatMap((extra): Case[] => [
        { heads: [8, 1], queries: 1, keys: 500, dims: [64, 64], extra },
        { heads: [8, 2], queries: 3, keys: 700, dims: [40, 32], causal: true, dtype: 'float16', extra },
        { batch: 3, heads: [4, 4], queries: 1, keys: 40, dims: [16, 16], keyLengths: [0, 40, 7], extra },
      ]),
      backend,
    );
  });

  it('with every pattern', () => {
    const square: Case = { heads: [4, 2], queries: 60, keys: 60, dims: [16, 16], extra: 9 };
    expectCases(
      [
        { ...square, grid: [6, 10], neighborhood: { kernelSize: [3, 4], dilation: [2, 1] } },
        { ...square, shards: { blockSize: 4, localBlocks: 2, vertStride: 3 } },
        { ...square, blocks: { blockQ: 16, blockK: 8, density: 0.4 }, causal: true },
        { ...square, blocks: { blockQ: 16, blockK: 8, density: 0 } },
        {
          ...square,
          hip: {
            method: 'staged',
            blockQ: 4,
            sink: 2,
            window: 8,
            scope: 'kv',
            stages: [{ blockQ: 4, strideQ: 1, chunk: 4, keep: 8 }],
          },
        },
      ],
      backend,
    );
  });

  it('a row that sees no other key sees them', () => {
    const { out, lse } = runCase({ queries: 5, keys: 6, mask: { axes: '', hidden: 1 }, extra: 1 }, backend);
    const { problem } = build({ queries: 5, keys: 6, mask: { axes: '', hidden: 1 }, extra: 1 });
    const value = toNumbers(problem.extraValue!);
    expect([...toNumbers(out)]).toEqual(range(0, 5).flatMap(() => [...value]));
    expect(toNumbers(lse).every(Number.isFinite)).toBe(true);
  });

  it('none of them is the same as an option left out, bit for bit', () => {
    const { problem } = build({ heads: [2, 1], queries: 40, keys: 50, extra: 3 });
    const { extraKey, extraValue, ...without } = problem;
    const none = { ...problem, extraKey: gather(extraKey!, 2, []), extraValue: gather(extraValue!, 2, []) };
    expectSameBits(run(view(none), backend), run(view(without), backend));
  });

  it('are further keys of a full attention', () => {
    const { problem } = build({ heads: [4, 2], queries: 40, keys: 75, dims: [16, 16] });
    const rows = (begin: number, end: number) => ({
      key: gather(problem.key, 2, range(begin, end)),
      value: gather(problem.value, 2, range(begin, end)),
    });
    const extra = rows(60, 75);
    const split = { ...problem, ...rows(0, 60), extraKey: extra.key, extraValue: extra.value };
    expectRight(run(view(split), backend), expectedOf(problem));
  });

  it('[LSE base / sign] = mergeAttention of the pattern alone and a full attention to them', () => {
    const { problem } = build({
      heads: [4, 2],
      queries: 60,
      keys: 60,
      dims: [16, 16],
      causal: true,
      left: 7,
      extra: 12,
    });
    const { extraKey, extraValue, ...alone } = problem;
    const { left, causal, ...open } = alone;
    const parts = [alone, { ...open, key: extraKey!, value: extraValue! }].map((part) => {
      const { query, key, value, options } = callOf(view(part));
      const { out, lse } = attentionSync(query, key, value, { ...options, device: backend.device });
      return { out, lse: lse! };
    });
    const { out, lse } = mergeAttentionSync(parts, { layout: 'bhnd' });
    expectRight({ out: fromOutput(out, 'bhnd'), lse: fromTensor(lse!) }, expectedOf(problem));
  });

  it('lie in memory as they like', () => {
    const c: Case = { batch: 2, heads: [4, 2], queries: 30, keys: 40, dims: [20, 12], extra: 7 };
    const dense = runCase(c, backend);
    for (const layout of ['bnhd', 'bhnd'] as const) {
      for (const storage of storages) {
        if (storage === 'repeated') continue; // holds other numbers
        expectSameBits(runCase({ ...c, layout, storage }, backend), dense, `${layout} ${storage}`);
      }
    }
  });
});

describe('arguments', () => {
  const { q, k, v } = operands(4, 2, 8);
  const extra = tensor(1, 3, 2, 8);
  const refuse = (options: unknown, code: ErrorCode, says: string[], type: typeof TypeError | typeof RangeError) =>
    expectBoth(
      () => attentionSync(q, k, v, options as AttentionOptions),
      () => attention(q, k, v, options as AttentionOptions),
      { code, type, says },
    );

  it.each([
    [{ extraKeys: extra }, 'ERR_TILEWISE_INVALID_OPTION', ['`extraKeys`', '`extraValues`'], TypeError],
    [{ extraValues: extra }, 'ERR_TILEWISE_INVALID_OPTION', ['`extraKeys`', '`extraValues`'], TypeError],
    [{ extraKeys: 1, extraValues: extra }, 'ERR_TILEWISE_INVALID_TENSOR', ['`extraKeys`'], TypeError],
    [
      { extraKeys: tensor(1, 3, 1, 8), extraValues: extra },
      'ERR_TILEWISE_SHAPE_MISMATCH',
      ['[1, 3, 1, 8]'],
      RangeError,
    ],
    [
      { extraKeys: tensor(1, 2, 2, 8), extraValues: extra },
      'ERR_TILEWISE_SHAPE_MISMATCH',
      ['[1, 3, 2, 8]'],
      RangeError,
    ],
    [
      { extraKeys: tensor(1, 3, 2, 7), extraValues: extra },
      'ERR_TILEWISE_SHAPE_MISMATCH',
      ['[1, 3, 2, 7]'],
      RangeError,
    ],
    [
      { extraKeys: extra, extraValues: tensor(1, 3, 2, 7) },
      'ERR_TILEWISE_SHAPE_MISMATCH',
      ['[1, 3, 2, 7]'],
      RangeError,
    ],
    [
      { extraKeys: tensor(2, 3, 2, 8), extraValues: extra },
      'ERR_TILEWISE_SHAPE_MISMATCH',
      ['[2, 3, 2, 8]'],
      RangeError,
    ],
    [{ extraKeys: tensor(3, 2, 8), extraValues: extra }, 'ERR_TILEWISE_SHAPE_MISMATCH', ['[3, 2, 8]'], RangeError],
  ] as const)('%o is refused', (options, code, says, type) => refuse(options, code, [...says], type));

  it('another type than that of q is refused', () => {
    const half = operandOf('float16', [1, 3, 2, 8], new Array(48).fill(0));
    const tensors = { type: half.type, data: half.data, dims: half.dims };
    return refuse(
      { extraKeys: tensors, extraValues: tensors },
      'ERR_TILEWISE_DTYPE',
      ['float16', 'float32'],
      TypeError,
    );
  });
});
