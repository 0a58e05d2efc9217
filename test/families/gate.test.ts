// Gates: numbers computed elsewhere (golden/ext-modifiers.json), and what follows from a factor per row of the output.
// Reader: someone who asks what `gate` means.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  explain,
  full,
  KvCache,
  slidingWindow,
  Tensor,
  type TensorLike,
} from '../../dist/index.js';
import type { Case } from '../conformance/case.js';
import { expectMatrix, onEveryBackend } from '../conformance/suite.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { extModifiers, extOptions, extTensor, type ModifierCase } from '../support/ext-modifiers.js';
import { type ExtTensor, extNumbers } from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';
import { tensor } from '../support/tensors.js';

const gated = extModifiers.cases.filter(({ gate }) => gate !== undefined);

function optionsOf(c: ModifierCase): AttentionOptions {
  const { pattern, ...rest } = extOptions(c.options) as AttentionOptions & {
    pattern?: { window: number[]; sinkTokens: number[] };
  };
  const told: AttentionOptions = { ...(rest as AttentionOptions), gate: extTensor(c.gate as ExtTensor) };
  if (!pattern) return told;
  // The file counts a window's tokens with the query's own, and each head's.
  return { ...told, pattern: slidingWindow({ recentTokens: pattern.window, sinkTokens: pattern.sinkTokens }) };
}

/** [1, queries, heads], 0 in every other run of so many queries. */
const inRuns = (queries: number, heads: number, run: number) =>
  new Tensor(
    'float32',
    Float32Array.from({ length: queries * heads }, (_, i) => Math.floor(i / heads / run) % 2),
    [1, queries, heads],
  );

onEveryBackend((backend) => {
  const { device } = backend;

  it.each(gated)('$name', (c) => {
    const [q, k, v] = [c.q, c.k, c.v].map((tensor) => extTensor(tensor));
    const { out } = attentionSync(q, k, v, { ...optionsOf(c), device });
    expectClose(out.data, extNumbers(c.out), 5);
    if (!c.lse) return;
    const ofUngated = attentionSync(q, k, v, { ...optionsOf(c), returnLse: true, device });
    expectClose(ofUngated.out.data, extNumbers(c.out), 5);
    expectClose(ofUngated.lse.data, extNumbers(c.lse), 5);
  });

  it('every pattern, every type, every way to split the work', () => {
    const shape = { queries: 70, keys: 150, heads: [4, 2] as [number, number], dims: [32, 24] as [number, number] };
    const gates: Case['gate'][] = [{ run: 20 }, { run: 64, dtype: 'bfloat16', withoutLse: true }];
    const cases = (['float32', 'float16', 'bfloat16'] as const).flatMap((dtype) =>
      gates.flatMap((gate): Case[] => [
        { ...shape, dtype, gate, causal: true },
        { ...shape, dtype, gate, queries: 1, keys: 5000, heads: [4, 1] },
        { ...shape, dtype, gate, queries: 300, layout: 'bhnd', storage: 'gaps' },
        { ...shape, dtype, gate, queries: 3, keys: 90, softcap: 4, alibi: 'h', extra: 5 },
        { ...shape, dtype, gate, mask: { axes: 'qk', hidden: 0.5 }, bias: { axes: 'hk', hidden: 0.2 }, sinks: true },
        { ...shape, dtype, gate, batch: 2, keyLengths: [150, 40], keyStarts: [10, 3], extra: 70 },
        { ...shape, dtype, gate, cuSeqlensQ: [0, 30, 30, 70], cuSeqlensK: [0, 50, 60, 150], is3d: true },
        { ...shape, dtype, gate, heads: [2, 4], pairing: 'interleave' },
        { ...shape, dtype, gate, shards: { blockSize: 16, localBlocks: 2, vertStride: 3 } },
        { ...shape, dtype, gate, blocks: { blockQ: 16, blockK: 32, density: 0.4, form: 'csr' } },
        { ...shape, dtype, gate, activation: 'sigmoid', activationBias: -2 },
        {
          ...shape,
          dtype,
          gate,
          grid: [9, 8],
          queries: 72,
          keys: 72,
          neighborhood: { kernelSize: [5, 3], stride: [1, 1], dilation: [1, 1], causal: [false, false] },
          relativeBias: true,
        },
        { ...shape, dtype, gate, batch: 2, keyLengths: [150, 100], pages: { size: 16 } },
      ]),
    );
    expectMatrix(cases, backend);
  });

  it('a gate of ones changes no bit; rows with 0 are 0, whatever their keys say', () => {
    const [q, k, v] = [tensor(1, 300, 4, 16), tensor(1, 300, 2, 16), tensor(1, 300, 2, 16)];
    const plain = attentionSync(q, k, v, { causal: true, device: 'cpu' }).out.data;
    const ones = new Tensor('float16', new Uint16Array(1200).fill(0x3c00), [1, 300, 4]);
    expect(attentionSync(q, k, v, { causal: true, gate: ones, device: 'cpu' }).out.data).toEqual(plain);
    v.data.fill(Number.NaN);
    for (const returnLse of [false, true]) {
      const { out } = attentionSync(q, k, v, { gate: inRuns(300, 4, 100), returnLse, device });
      const isZero = Array.from(out.data, (x) => Object.is(x, 0));
      expect(isZero.slice(0, 6400).every(Boolean)).toBe(true);
      expect(isZero.slice(6400, 12800).some(Boolean)).toBe(false);
      expect(isZero.slice(12800).every(Boolean)).toBe(true);
    }
  });

  it('a cache takes it', () => {
    const cache = new KvCache({ kvHeads: 2, headDim: 8, device });
    const [k, v] = [tensor(1, 40, 2, 8), tensor(1, 40, 2, 8)];
    cache.append(0, k, v);
    const q = tensor(1, 1, 4, 8);
    const gate = { type: 'float32', data: Float32Array.of(0.5, 0, 1, -2), dims: [1, 1, 4] } as const;
    for (let again = 0; again < 3; ++again) {
      gate.data[3] = again; // read anew by each call
      const cached = cache.attentionSync(0, q, { gate });
      const direct = attentionSync(q, k, v, { causal: true, gate, device });
      expectClose(cached.out.data, direct.out.data, 6);
    }
  });
});

describe('what is counted', () => {
  const shape = { batch: 1, queries: 1024, keys: 1024, queryHeads: 2, kvHeads: 2, headDim: 64 };
  const countsOf = (gate?: TensorLike) => explain(full(), { ...shape, ...(gate && { gate }) }, { device: 'cpu' });

  it('tiles of closed rows are not visited, and rows that are closed see nothing', () => {
    const whole = countsOf();
    const half = countsOf(inRuns(1024, 2, 256));
    expect(half.pairs.useful * 2).toBe(whole.pairs.useful);
    expect(half.pairs.computed / whole.pairs.computed).toBeLessThan(0.55);
    expect(countsOf(inRuns(1024, 2, 1024)).pairs.computed).toBe(0);
    const oneHead = new Tensor(
      'float32',
      Float32Array.from({ length: 2048 }, (_, i) => i % 2),
      [1, 1024, 2],
    );
    expect(countsOf(oneHead).pairs.computed * 2).toBe(whole.pairs.computed);
  });

  it('of ragged calls each sequence has its rows', () => {
    const lengths = { queryLengths: [100, 300], keyLengths: [200, 300], queryHeads: 2, kvHeads: 2, headDim: 8 };
    const rows = (from: number, to: number) =>
      new Tensor(
        'float32',
        Float32Array.from({ length: 800 }, (_, i) => Number(i >= from * 2 && i < to * 2)),
        [400, 2],
      );
    const usefulOf = (gate: TensorLike) => explain(full(), { ...lengths, gate }, { device: 'cpu' }).pairs.useful;
    expect(usefulOf(rows(0, 100))).toBe(100 * 200);
    expect(usefulOf(rows(150, 400))).toBe(250 * 300);
    const wrong = new Tensor('float32', new Float32Array(200), [100, 2]);
    expectError(
      thrownBy(() => usefulOf(wrong)),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['`gate`', '[400, heads]'] },
    );
  });
});

describe('arguments', () => {
  it.each(extModifiers.invalid.filter(({ names }) => names === 'gate'))('$name', ({ dims: d, options }) => {
    const [q, k, v] = [
      tensor(d.batch, d.queries, d.queryHeads, d.headDim),
      tensor(d.batch, d.keys, d.kvHeads, d.headDim),
      tensor(d.batch, d.keys, d.kvHeads, d.valueDim),
    ];
    const error = thrownBy(() => attentionSync(q, k, v, extOptions(options) as AttentionOptions));
    expect(error).toMatchObject({
      code: expect.stringMatching(/^ERR_TILEWISE_(SHAPE_MISMATCH|DTYPE)$/),
      message: expect.stringContaining('`gate`'),
    });
  });

  it('has the axes of q without its dims, in every layout', async () => {
    const [q, k] = [tensor(1, 2, 5, 8), tensor(1, 2, 5, 8)];
    const wrong = { layout: 'bhnd', gate: tensor(1, 2, 5) } as const;
    await expectBoth(
      () => attentionSync(q, k, k, wrong),
      () => attention(q, k, k, wrong),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', type: RangeError, says: ['`gate`', '[1, 5, 2]'] },
    );
  });
});
