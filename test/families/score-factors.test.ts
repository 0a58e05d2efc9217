// Factors on scores, and the Gaussian mixtures that make some: numbers computed elsewhere (golden/ext-modifiers.json), and what
// follows from the order of factor, softcap and what is added. Reader: someone who asks what `scoreFactor` means.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attentionSync,
  type ErrorCode,
  gaussianMixture,
  KvCache,
  KvPool,
  Tensor,
} from '../../dist/index.js';
import type { Case } from '../conformance/case.js';
import { everyPattern } from '../conformance/every-pattern.js';
import { expectMatrix, onEveryBackend } from '../conformance/suite.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { extModifiers, extOptions, extTensor } from '../support/ext-modifiers.js';
import { type ExtTensor, extNumbers } from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';
import { tensor } from '../support/tensors.js';

const ofFactors = extModifiers.cases.filter(({ scoreFactor }) => scoreFactor !== undefined);
const operandsOf = (batch: number, queries: number, keys: number, [heads, kvHeads]: [number, number], dim: number) =>
  [tensor(batch, queries, heads, dim), tensor(batch, keys, kvHeads, dim), tensor(batch, keys, kvHeads, dim)] as const;
const ones = (...dims: number[]) =>
  new Tensor('float32', new Float32Array(dims.reduce((a, n) => a * n, 1)).fill(1), dims);

onEveryBackend((backend) => {
  const { device } = backend;

  it.each(ofFactors)('$name', (c) => {
    const [q, k, v] = [c.q, c.k, c.v].map((given) => extTensor(given));
    const told = { ...(extOptions(c.options) as AttentionOptions), scoreFactor: extTensor(c.scoreFactor as ExtTensor) };
    if (c.bias) told.bias = extTensor(c.bias as ExtTensor);
    const { out, lse } = attentionSync(q, k, v, { ...told, returnLse: true, device });
    expectClose(out.data, extNumbers(c.out), 5);
    expectClose(lse.data, extNumbers(c.lse as ExtTensor), 5);
  });

  it('goes with every pattern, type, page, mask, activation and with packed sequences', () => {
    const factor = { axes: 'bhqk' } as const;
    const shape: Case = { queries: 70, keys: 150, heads: [4, 2], dims: [32, 24], factor };
    const cases: Case[] = (['float32', 'float16', 'bfloat16'] as const).flatMap((dtype) => [
      { ...shape, dtype, causal: true },
      { ...shape, dtype, factor: { axes: 'k' }, softcap: 4 },
      { ...shape, dtype, queries: 1, keys: 700, factor: { axes: 'hk', dtype } },
      { ...shape, dtype, queries: 3, keys: 90, softcap: 4, alibi: 'h', extra: 5, sinks: true },
      { ...shape, dtype, mask: { axes: 'qk', hidden: 0.5 }, bias: { axes: 'hk', hidden: 0.2 } },
      { ...shape, dtype, bias: { axes: 'bhqk', heads: 'kv' }, scale: -1.5 },
      ...everyPattern({ ...shape, dtype }),
      { ...shape, dtype, activation: 'sigmoid', activationBias: -2 },
      { ...shape, dtype, ranges: { form: 'alike', most: 3, per: 'head' } },
    ]);
    expectMatrix(cases, backend);
  });

  it('of ones changes no bit', () => {
    const [q, k, v] = operandsOf(2, 40, 150, [4, 2], 32);
    const bias = tensor(40, 150);
    for (const told of [{ bias }, { bias, softcap: 5 }, { bias, causal: true }] as const) {
      for (const scoreFactor of [ones(1), ones(150), ones(2, 4, 40, 150)]) {
        const { out } = attentionSync(q, k, v, { ...told, scoreFactor, device });
        expect(out.data).toEqual(attentionSync(q, k, v, { ...told, device }).out.data);
      }
    }
  });

  it('leaves hidden keys hidden, whatever their factor', () => {
    for (const queries of [1, 40]) {
      const [q, k, v] = operandsOf(1, queries, 90, [2, 1], 16);
      const factors = Float32Array.from({ length: 90 }, (_, key) => [2, Number.NaN, Number.POSITIVE_INFINITY][key % 3]);
      const shown = Uint8Array.from({ length: 90 }, (_, key) => Number(key % 3 === 0));
      const mask = { type: 'bool', data: shown, dims: [90] } as const;
      const scoreFactor = new Tensor('float32', factors, [90]);
      const { out } = attentionSync(q, k, v, { mask, scoreFactor, device });
      const twos = new Tensor('float32', new Float32Array(90).fill(2), [90]);
      expect(out.data).toEqual(attentionSync(q, k, v, { mask, scoreFactor: twos, device }).out.data);
    }
  });

  it('is of all tokens of a cache', () => {
    const [q, k, v] = operandsOf(1, 30, 30, [4, 2], 16);
    const scoreFactor = tensor(4, 1, 30);
    const whole = attentionSync(q, k, v, { causal: true, scoreFactor, device });
    const cache = new KvCache({ layers: 1, kvHeads: 2, headDim: 16, maxTokens: 64, device });
    try {
      cache.append(0, k, v);
      const { out } = cache.attentionSync(0, q, { scoreFactor });
      expectClose(out.data, whole.out.data, 6);
    } finally {
      cache.dispose();
    }
  });

  it('is of all queries of a pool, and the keys of the longest sequence', () => {
    const [lengths, queries] = [
      [30, 50],
      [2, 5],
    ];
    const pool = new KvPool({ pages: 8, pageSize: 16, kvHeads: 2, headDim: 16, device });
    const [q, scoreFactor] = [tensor(7, 4, 16), tensor(4, 7, 50)];
    const rows = lengths.map((length) => [tensor(1, length, 2, 16), tensor(1, length, 2, 16)] as const);
    const sequences = rows.map(([k, v]) => {
      const sequence = pool.sequence();
      sequence.append(0, k, v);
      return sequence;
    });
    const { out } = pool.attentionSync(0, q, sequences, { queryLengths: queries, scoreFactor });
    for (const [s, [k, v]] of rows.entries()) {
      const [begin, end] = [s * queries[0], s * queries[0] + queries[s]];
      const own = q.slice(0, begin, end).reshape([1, end - begin, 4, 16]);
      const factors = scoreFactor.slice(1, begin, end).slice(2, 0, lengths[s]);
      const alone = attentionSync(own, k, v, { causal: true, scoreFactor: factors, device }).out;
      expectClose(out.slice(0, begin, end).contiguous().data, alone.data, 6);
    }
  });
});

describe('gaussianMixture()', () => {
  const mixtures = ofFactors.filter(({ gmm }) => gmm !== undefined);
  it.each(mixtures)('$name', ({ gmm, scoreFactor }) => {
    const { dims, data } = gaussianMixture(gmm as Parameters<typeof gaussianMixture>[0]);
    expect(dims).toEqual((scoreFactor as ExtTensor).dims);
    expectClose(data, extNumbers(scoreFactor as ExtTensor), 5);
  });

  it('is the formula between every pair of tokens of one to three axes', () => {
    const [alpha, sigma, eps] = [[[1, -0.5]], [[0.7, 3]], 0.25];
    for (const grid of [[7], [3, 4], [2, 3, 4]]) {
      const { data, dims } = gaussianMixture({ grid, alpha, sigma, eps });
      const tokens = dims[2];
      const placeOf = (token: number) =>
        grid.map((length, axis) => Math.floor(token / grid.slice(axis + 1).reduce((a, n) => a * n, 1)) % length);
      const expected = Array.from({ length: tokens * tokens }, (_, i) => {
        const [a, b] = [placeOf(Math.floor(i / tokens)), placeOf(i % tokens)];
        const squared = a.reduce((sum, x, axis) => sum + (x - b[axis]) ** 2, 0);
        return alpha[0].reduce((sum, w, c) => sum + w * Math.exp(-squared / (2 * (sigma[0][c] ** 2 + eps))), 0);
      });
      expectClose(data, expected, 6);
    }
  });

  it.each<[object, ErrorCode, string[]]>([
    [{ grid: [] }, 'ERR_TILEWISE_INVALID_OPTION', ['`grid`']],
    [{ grid: [2, 0] }, 'ERR_TILEWISE_INVALID_OPTION', ['`grid[1]`', '0']],
    [{ sigma: [[1], [2]] }, 'ERR_TILEWISE_SHAPE_MISMATCH', ['`alpha`', '`sigma`', '[2, 1]']],
    [{ alpha: [[Number.NaN]] }, 'ERR_TILEWISE_INVALID_OPTION', ['`alpha`']],
    [{ eps: -1 }, 'ERR_TILEWISE_INVALID_OPTION', ['`eps`', '-1']],
    [{ eps: 0, sigma: [[0]] }, 'ERR_TILEWISE_INVALID_OPTION', ['`eps`', '`sigma`']],
    [{ width: 1 }, 'ERR_TILEWISE_UNKNOWN_OPTION', ['width']],
  ])('refuses %j', (wrong, code, says) => {
    const call = () => gaussianMixture({ grid: [3, 3], alpha: [[1]], sigma: [[1]], ...wrong });
    expectError(thrownBy(call), { code, says });
  });
});

describe('arguments', () => {
  const refused = extModifiers.invalid.filter(({ name }) => name.startsWith('factor'));
  it.each(refused)('$name', ({ options, names }) => {
    const [q, k, v] = operandsOf(1, 4, 6, [2, 1], 8);
    const error = thrownBy(() => attentionSync(q, k, v, extOptions(options) as AttentionOptions)) as Error;
    expect(error).toMatchObject({
      code: expect.stringMatching(/SHAPE_MISMATCH|DTYPE/),
      message: expect.stringContaining(`\`${names}\``),
    });
  });
});
