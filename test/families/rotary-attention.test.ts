// The option `rotary` of attention(): keys without rotary embedding, against the rule in float64, and against rotate() and
// attention() by hand, which are the same bits. Reader: someone who keeps keys as the projection gives them.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  causal,
  devices,
  type ErrorCode,
  explain,
  hierarchical,
  neighborhood,
  rotate,
  rotateSync,
  type Tensor,
} from '../../dist/index.js';
import type { Case } from '../conformance/case.js';
import { everyPattern } from '../conformance/every-pattern.js';
import { expectMatrix, onEveryBackend } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { expectBoth, thrownBy } from '../support/expect-error.js';
import { tensor } from '../support/tensors.js';

const invalid: ErrorCode = 'ERR_TILEWISE_INVALID_OPTION';
const operandsOf = (queries: number, keys: number, dim = 16) =>
  [tensor(2, queries, 4, dim), tensor(2, keys, 2, dim), tensor(2, keys, 2, dim)] as const;

onEveryBackend((backend) => {
  const { device } = backend;

  it('turns rows to where the rule has them, with every pattern, type and option', () => {
    const rotary = { theta: 500 };
    const shape: Case = { queries: 70, keys: 150, heads: [4, 2], dims: [32, 24], rotary };
    const cases: Case[] = [
      { ...shape, causal: true },
      { ...shape, layout: 'bhnd', storage: 'gaps', causal: true, align: 'top-left' },
      { ...shape, align: 17, causal: true, rotary: { dims: 20, interleaved: true } },
      { ...shape, queries: 1, keys: 700, left: 100, sinkTokens: 4 },
      { ...shape, batch: 2, keyLengths: [60, 150], causal: true, alibi: 'h' },
      { ...shape, batch: 2, keyLengths: [80, 150], keyStarts: [7, 0], causal: true },
      {
        ...shape,
        ...{ queries: 3, keys: 5, causal: true },
        positions: { queries: [[3, 90, 4000]], keys: [[0, 3, 3, 60, 3999]] },
      },
      { ...shape, cosine: true, scale: 4, extra: 9 },
      { ...shape, gate: { run: 16 }, softcap: 6, sinks: true },
      { ...shape, activation: 'sigmoid', mask: { axes: 'qk', hidden: 0.4 }, factor: { axes: 'hk' } },
      { ...shape, heads: [2, 6], pairing: 'interleave' },
      ...everyPattern(shape).filter((c) => !c.neighborhood && !c.pages),
    ];
    expectMatrix(
      cases.map((c, i) => ({ ...c, dtype: dtypes[i % 3] })),
      backend,
    );
  });

  it('gives the bits of rotate() and attention(), selections too, on the device where tensors are', async () => {
    const rotary = { theta: 1000, dims: 8, scaling: { kind: 'yarn', factor: 4, original: 64 } } as const;
    const [q, k, v] = operandsOf(50, 300);
    const at = (count: number) => Array.from({ length: count }, (_, i) => 300 - count + i);
    const patterns: AttentionOptions[] = [
      { causal: true },
      { pattern: hierarchical({ stages: [{ chunk: 16, keep: 64, blockQ: 16, strideQ: 1 }], window: 32, sink: 16 }) },
    ];
    for (const told of patterns) {
      for (const place of ['cpu', device] as const) {
        const here = (await Promise.all([q, k, v].map((one) => one.to(place)))) as Tensor[];
        const [turnedQ, turnedK] = [
          await rotate(here[0], { ...rotary, positions: at(50) }),
          await rotate(here[1], { ...rotary, positions: at(300) }),
        ];
        const options = { ...told, device: place === 'cpu' ? device : undefined, returnLse: true } as const;
        const byHand = await attention(turnedQ, turnedK, here[2], options);
        const before = devices().map((one) => one.bytesInUse);
        for (const given of [
          attentionSync(here[0], here[1], here[2], { ...options, rotary }),
          await attention(here[0], here[1], here[2], { ...options, rotary }),
        ]) {
          for (const name of ['out', 'lse'] as const) {
            const [one, other] = [await given[name].to('cpu'), await byHand[name].to('cpu')];
            expect(one.data, `${place} ${name}`).toEqual(other.data);
            if (place !== 'cpu') given[name].dispose();
          }
        }
        expect(devices().map((one) => one.bytesInUse)).toEqual(before);
      }
    }
  });

  it('leaves q and k as they are, which may change while the call runs when they are copied', async () => {
    const [q, k, v] = operandsOf(9, 12);
    const given = [q, k, v].map(({ data }) => data.slice());
    const expected = attentionSync(q, k, v, { rotary: {}, causal: true, device }).out.data;
    expect([q, k, v].map(({ data }) => data)).toEqual(given);
    const running = attention(q, k, v, { rotary: {}, causal: true, device, copyInputs: true });
    for (const { data } of [q, k, v]) data.fill(7);
    expect((await running).out.data).toEqual(expected);
  });

  it('is cancelled like any call', async () => {
    const [q, k, v] = operandsOf(9, 12);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(attention(q, k, v, { rotary: {}, device, signal })).rejects.toThrow('enough');
  });
});

it('does not depend on where the row of positions begins', () => {
  const [q, k, v] = operandsOf(8, 8).map((one) => one.slice(0, 0, 1));
  const from = (first: number) => Array.from({ length: 8 }, (_, i) => first + i);
  const [near, far] = [0, 100_000].map(
    (first) =>
      attentionSync(q, k, v, {
        ...{ rotary: {}, causal: true, device: 'cpu' },
        positions: { queries: from(first), keys: from(first) },
      }).out.data,
  );
  for (const [i, x] of near.entries()) expect(far[i]).toBeCloseTo(x, 4);
  expect(rotateSync(q, { positions: from(1) }).data).not.toEqual(q.data);
});

describe('explain()', () => {
  const shape = { batch: 2, queryHeads: 4, kvHeads: 2, queries: 10, keys: 100, headDim: 16, dtype: 'float16' } as const;

  it('counts turned queries and keys', () => {
    const bytes = 2 * 16 * (10 * 4 + 100 * 2) * 2;
    expect(explain(causal(), { ...shape, rotary: {} }, { device: 'cpu' }).workspace).toBe(bytes);
    const both = explain(causal(), { ...shape, rotary: {}, similarity: 'cosine' }, { device: 'cpu' });
    expect(both.workspace).toBe(bytes + 2 * 2 * 100 * 4);
  });

  it('refuses what attention() refuses', () => {
    const grid = { ...shape, queries: undefined, keys: undefined, tokens: [4, 4], rotary: {} };
    for (const [pattern, of] of [
      [neighborhood({ kernelSize: 3 }), grid],
      [causal(), { ...shape, rotary: {}, pageSize: 16 }],
      [causal(), { ...shape, rotary: { base: 3 } }],
    ] as const) {
      expect(thrownBy(() => explain(pattern, of as never))).toMatchObject({
        code: expect.stringMatching(/INVALID_OPTION|UNKNOWN_OPTION/),
        message: expect.stringContaining('rotary'),
      });
    }
  });
});

describe('arguments', () => {
  it.each<[AttentionOptions, ErrorCode, string[]]>([
    [{ rotary: { theta: 1 } }, invalid, ['`theta`']],
    [{ rotary: { dims: 3 } }, invalid, ['`dims`', 'even']],
    [{ rotary: { dims: 18 } }, invalid, ['`dims`']],
    [{ rotary: { interleaved: 1 as never } }, invalid, ['`rotary.interleaved`']],
    [{ rotary: { base: 10 } as never }, 'ERR_TILEWISE_UNKNOWN_OPTION', ['`base`', '`rotary`']],
    [{ rotary: {}, keyLengths: [6, 6], pages: { table: [[0], [1]], pageSize: 6 } as never }, invalid, ['`pages`']],
  ])('refuses %j', async (options, code, says) => {
    const [q, k, v] = operandsOf(4, 6);
    await expectBoth(
      () => attentionSync(q, k, v, options),
      () => attention(q, k, v, options),
      { code, says },
    );
  });

  it('refuses an `out` that shares memory with what it reads', () => {
    const [q, k, v] = operandsOf(6, 6);
    for (const out of [q, tensor(2, 6, 4, 16)]) {
      const call = () => attentionSync(q, k, v, { rotary: {}, out });
      if (out === q) expect(thrownBy(call)).toMatchObject({ code: 'ERR_TILEWISE_OVERLAP' });
      else expect(call().out).toBe(out);
    }
  });
});
