// Cosines in place of products: numbers computed elsewhere (golden/ext-modifiers.json), and what follows from vectors that are
// divided by their lengths. Reader: someone who asks what `similarity` and `temperature` mean.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  causal,
  explain,
  hierarchical,
  KvCache,
  Tensor,
} from '../../dist/index.js';
import type { Case } from '../conformance/case.js';
import { everyPattern } from '../conformance/every-pattern.js';
import { expectMatrix, onEveryBackend } from '../conformance/suite.js';
import { expectBoth, thrownBy } from '../support/expect-error.js';
import { extModifiers, extOptions, extTensor } from '../support/ext-modifiers.js';
import { type ExtTensor, extNumbers } from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';
import { tensor } from '../support/tensors.js';

const ofCosines = extModifiers.cases.filter(({ options }) => options.similarity !== undefined);
const operandsOf = (batch: number, queries: number, keys: number, [heads, kvHeads]: [number, number], dim: number) =>
  [tensor(batch, queries, heads, dim), tensor(batch, keys, kvHeads, dim), tensor(batch, keys, kvHeads, dim)] as const;

onEveryBackend((backend) => {
  const { device } = backend;

  it.each(ofCosines)('$name', (c) => {
    const [q, k, v] = [c.q, c.k, c.v].map((given) => extTensor(given));
    const told = { ...(extOptions(c.options) as AttentionOptions), returnLse: true as const, device };
    const { out, lse } = attentionSync(q, k, v, told);
    expectClose(out.data, extNumbers(c.out), 5);
    expectClose(lse.data, extNumbers(c.lse as ExtTensor), 4); // up to 57, of which float32 has five digits behind the point
  });

  it('goes with every pattern, type, page, mask, factor, extra key and with packed sequences', () => {
    const cosine = { cosine: true, scale: 4 } as const;
    const shape: Case = { queries: 70, keys: 150, heads: [4, 2], dims: [32, 24], ...cosine };
    const cases: Case[] = (['float32', 'float16', 'bfloat16'] as const).flatMap((dtype) => [
      { ...shape, dtype, causal: true },
      { ...shape, dtype, dims: [33, 24], storage: 'dense', scale: 0.5 },
      { ...shape, dtype, queries: 1, keys: 2500 },
      { ...shape, dtype, queries: 3, keys: 90, softcap: 4, alibi: 'h', sinks: true, heads: [8, 1] },
      { ...shape, dtype, factor: { axes: 'hqk' }, softcap: 8 },
      { ...shape, dtype, mask: { axes: 'qk', hidden: 0.5 }, bias: { axes: 'hk', hidden: 0.2 } },
      ...everyPattern({ ...shape, dtype }),
      { ...shape, dtype, activation: 'sigmoid', activationBias: -2 },
      { ...shape, dtype, heads: [2, 6], pairing: 'tile' },
      { ...shape, dtype, layout: 'bhnd', extra: 90 },
      { ...shape, dtype, dims: [200, 256], causal: true, softcap: 2 },
      { ...shape, dtype, queries: 3, keys: 60, dims: [300, 40], extra: 7, factor: { axes: 'qk' } },
    ]);
    expectMatrix(cases, backend);
  });

  // On GPUs products of q and k are made first.
  const lengths = [
    [2 ** -30, 2 ** 40],
    [2 ** 100, 2 ** -30],
    ...(device === 'cpu' ? [[2 ** 120, 2 ** 120]] : []),
    [3, 0.7],
  ];
  it('does not depend on the lengths of queries and keys, however large and small', () => {
    for (const queries of [1, 40]) {
      const [q, k, v] = operandsOf(1, queries, 90, [4, 2], 24);
      const told = { similarity: 'cosine', temperature: 0.05, causal: true, device } as const;
      const plain = attentionSync(q, k, v, told).out.data;
      for (const [ofQueries, ofKeys] of lengths) {
        const scaled = ([by, rows]: [number, typeof q]) =>
          new Tensor(
            'float32',
            rows.data.map((x) => x * by),
            rows.dims,
          );
        const { out } = attentionSync(scaled([ofQueries, q]), scaled([ofKeys, k]), v, told);
        expectClose(out.data, plain, 4);
      }
    }
  });

  it('leaves hidden keys out, whose lengths may be NaN', () => {
    const [q, k, v] = operandsOf(1, 40, 90, [2, 1], 16);
    const told = { similarity: 'cosine', causal: true, align: 'top-left', device } as const;
    const before = attentionSync(q, k, v, told).out.data;
    k.data.fill(Number.NaN, 45 * 16);
    expect(attentionSync(q, k, v, told).out.data).toEqual(before);
  });

  it('gives the same bits on any number of calls, and of a cache what whole tensors give', () => {
    const [q, k, v] = operandsOf(1, 30, 30, [4, 2], 16);
    const told = { similarity: 'cosine', temperature: 0.1 } as const;
    const whole = attentionSync(q, k, v, { ...told, causal: true, device }).out.data;
    expect(attentionSync(q, k, v, { ...told, causal: true, device }).out.data).toEqual(whole);
    const cache = new KvCache({ layers: 1, kvHeads: 2, headDim: 16, maxTokens: 64, device });
    try {
      cache.append(0, k, v);
      expectClose(cache.attentionSync(0, q, told).out.data, whole, 6);
    } finally {
      cache.dispose();
    }
  });
});

describe('explain()', () => {
  const shape = { batch: 2, queryHeads: 4, kvHeads: 2, tokens: 100, headDim: 16, similarity: 'cosine' } as const;

  it('says what lengths take', () => {
    const explained = explain(causal(), shape, { device: 'cpu' });
    expect(explained.workspace).toBe(2 * 2 * 100 * 4);
    expect(String(explained)).toContain('MB of workspace');
    expect(explain(causal(), { ...shape, similarity: 'dot' }).workspace).toBeUndefined();
  });

  it('refuses what attention() refuses', () => {
    expect(thrownBy(() => explain(hierarchical({}), shape))).toMatchObject({
      code: 'ERR_TILEWISE_INVALID_OPTION',
      message: expect.stringContaining("'cosine'"),
    });
  });
});

describe('arguments', () => {
  const invalid = 'ERR_TILEWISE_INVALID_OPTION';
  const refused = extModifiers.invalid.filter(({ name }) => /^(temperature|similarity)/.test(name));
  it.each(refused)('$name', ({ options, names }) => {
    const [q, k, v] = operandsOf(1, 4, 6, [2, 1], 8);
    const error = thrownBy(() => attentionSync(q, k, v, extOptions(options) as AttentionOptions));
    expect(error).toMatchObject({ code: invalid, message: expect.stringContaining(`\`${names}\``) });
  });

  it.each<[AttentionOptions, string[]]>([
    [{ pattern: hierarchical({}) }, ['hierarchical()', "'cosine'"]],
    [{ scale: 2 }, ['`scale`', '`temperature`']],
    [{ temperature: 1e-300 }, ['`temperature`', 'above 0']],
  ])('cosine refuses %j', async (more, says) => {
    const [q, k, v] = operandsOf(1, 4, 6, [2, 1], 8);
    const options: AttentionOptions = { similarity: 'cosine', ...more };
    await expectBoth(
      () => attentionSync(q, k, v, options),
      () => attention(q, k, v, options),
      { code: invalid, says },
    );
  });
});
