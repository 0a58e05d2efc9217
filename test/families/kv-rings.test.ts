// Caches whose heads keep some of the newest tokens and the first ones, each head its own numbers: attention under the mask of
// the same rule, in bounded memory. Reader: someone who changes lib/ops/attention/parts.ts. test/api/kv-parts.test.ts has the cache as an object.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { attentionSync, type CacheAttentionOptions, KvCache, Tensor } from '../../dist/index.js';
import { build, type Case } from '../conformance/case.js';
import { expectedOf, type Output } from '../conformance/judge.js';
import { fromOutput, fromTensor, toPlainTensor, toTensor } from '../conformance/memory.js';
import { expectRight, onEveryBackend } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { type Operand, range } from '../references/operand.js';
import type { Problem } from '../references/problem.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectClose, readGolden } from '../support/golden.js';
import { expectForAll } from '../support/property.js';
import { sampleSize } from '../support/sample.js';
import { isSame, tensor } from '../support/tensors.js';
import { gather, headsOf, part } from '../support/views.js';

interface Ring {
  readonly options: { readonly sink: number; readonly window: number };
  readonly capacity: number;
  /** What the query of the last token sees: ranges, begin after end. */
  readonly after: readonly { readonly tokens: number; readonly visible: readonly number[] }[];
}

const { rings } = readGolden<{ rings: Ring[] }>('kv-cache');

/** Numbers of a token's value. */
const numbersOf = (token: number) => [1, token, (token * 7919) % 101];

/** Rows of tokens, each head the same. Keys of 0 weigh all values alike: a query gets the mean of those it sees. */
function rowsOf(tokens: readonly number[], heads: number): [k: Tensor, v: Tensor] {
  const values = tokens.flatMap((token) => Array.from({ length: heads }, () => numbersOf(token)).flat());
  const k = Tensor.zeros('float32', [1, tokens.length, heads, 4]);
  return [k, new Tensor('float32', Float32Array.from(values), [1, tokens.length, heads, 3])];
}

function meanOf(visible: readonly number[]): number[] {
  const tokens: number[] = [];
  for (let i = 0; i < visible.length; i += 2) tokens.push(...range(visible[i], visible[i + 1]));
  return [0, 1, 2].map((d) => tokens.reduce((sum, token) => sum + numbersOf(token)[d], 0) / tokens.length);
}

/** Relative to the largest value, of which a mean is off by some float32 roundings. */
const expectMean = (got: ArrayLike<number>, want: readonly number[], tokens: number) =>
  expectClose(
    Array.from(got, (x) => x / tokens),
    want.map((x) => x / tokens),
    5,
  );

/** Bytes of a token of one head with float32 keys of 4 and values of 3. */
const tokenBytes = 4 * (4 + 3);

/** What the cache of heads that keep so many tokens may take: pages that are partly seen are a part of it. */
const mostBytes = (capacity: number) => (1.75 * capacity + 48) * tokenBytes;

onEveryBackend(({ device }) => {
  it.each(rings)('rings computed elsewhere: $options', ({ options: { sink, window }, capacity, after }) => {
    const shape = { kvHeads: 1, headDim: 4, valueDim: 3, recentTokens: window, sinkTokens: sink };
    const cache = new KvCache({ ...shape, device });
    const q = Tensor.zeros('float32', [1, 1, 1, 4]);
    const visibleAfter = new Map(after.map(({ tokens, visible }) => [tokens, visible]));
    for (let t = 0; t < after.at(-1)!.tokens; t++) {
      cache.append(0, ...rowsOf([t], 1));
      const visible = visibleAfter.get(t + 1);
      if (visible) expectMean(cache.attentionSync(0, q).out.data as Float32Array, meanOf(visible), t + 1);
      expect(cache.bytes).toBeLessThanOrEqual(mostBytes(capacity));
    }
  });

  it('all of them as the heads of one cache, beside one that keeps everything', () => {
    const few = rings.filter(({ after }) => after[0].tokens === 1);
    const kvHeads = few.length + 1;
    const cache = new KvCache({
      kvHeads,
      headDim: 4,
      valueDim: 3,
      recentTokens: [...few.map(({ options }) => options.window), Number.POSITIVE_INFINITY],
      sinkTokens: [...few.map(({ options }) => options.sink), 0],
      device,
    });
    const q = Tensor.zeros('float32', [1, 1, 2 * kvHeads, 4]);
    for (let t = 0; t < 30; t++) {
      cache.append(0, ...rowsOf([t], kvHeads));
      const out = cache.attentionSync(0, q).out.data as Float32Array;
      for (const [head, { after }] of [
        ...few,
        { after: range(0, 30).map((n) => ({ visible: [0, n + 1] })) },
      ].entries()) {
        if (!after[t]) continue;
        for (const own of [2 * head, 2 * head + 1]) {
          expectMean(out.subarray(3 * own, 3 * own + 3), meanOf(after[t].visible), t + 1);
        }
      }
    }
  });

  it.each(dtypes)('heads of different windows: the mask of the same rule, in pieces (%s)', (dtype) => {
    const tokens = 230;
    const recentTokens = [40, 40, Number.POSITIVE_INFINITY, 1, 100, 0];
    const sinkTokens = [3, 3, 9, 20, 0, 90];
    for (const layout of ['bnhd', 'bhnd'] as const) {
      const { problem } = build({ batch: 2, heads: [12, 6], queries: tokens, keys: tokens, dims: [24, 20], dtype });
      const rows = (operand: Operand, own: number[]) => toTensor(gather(operand, 2, own), layout);
      const cache = new KvCache({ kvHeads: 6, headDim: 24, valueDim: 20, recentTokens, sinkTokens, layout, device });
      for (const own of [range(0, 100), [100], [101], range(102, 170), range(170, tokens)]) {
        cache.append(0, rows(problem.key, own), rows(problem.value, own));
        const { out, lse } = cache.attentionSync(0, rows(problem.query, own), { returnLse: true });
        const got: Output = { out: fromOutput(out as Tensor, layout), lse: fromTensor(lse as Tensor) };
        for (const head of range(0, 6)) {
          const queries = [2 * head, 2 * head + 1];
          const alone: Problem = {
            ...part(problem, own, range(0, own.at(-1)! + 1)),
            causal: true,
            ...(Number.isFinite(recentTokens[head]) && { left: recentTokens[head] - 1, sinkTokens: sinkTokens[head] }),
          };
          alone.query = gather(alone.query, 1, queries);
          alone.key = gather(alone.key, 1, [head]);
          alone.value = gather(alone.value, 1, [head]);
          expectRight(headsOf(got, queries), expectedOf(alone), `${layout}, head ${head}, token ${own[0]}`);
        }
      }
    }
  });

  const ofTokens: [string, Partial<Case>][] = [
    ['a bias', { bias: { axes: 'hk' } }],
    ['a mask', { mask: { axes: 'k', hidden: 0.3 } }],
    ['ALiBi', { alibi: 'h' }],
    ['nothing', {}],
  ];
  it.each(ofTokens)('tokens that are gone keep their places for %s', (_, rule) => {
    for (const sinkTokens of [0, 20]) {
      const ring = { left: 29, causal: true as const, sinkTokens };
      const { problem } = build({ heads: [4, 2], queries: 1, keys: 500, ...ring, ...rule });
      const cache = new KvCache({ kvHeads: 2, headDim: 16, recentTokens: 30, sinkTokens, device });
      for (const token of range(0, 500)) {
        cache.append(
          0,
          toTensor(gather(problem.key, 2, [token]), 'bnhd'),
          toTensor(gather(problem.value, 2, [token]), 'bnhd'),
        );
      }
      const { bias, mask, alibiSlopes } = problem;
      alibiSlopes?.data.fill(0.003); // so small that sinks count, as far as they are
      const { out, lse } = cache.attentionSync(0, toTensor(problem.query, 'bnhd'), {
        ...(bias && { bias: toPlainTensor(bias) }),
        ...(mask && { mask: toPlainTensor(mask) }),
        ...(alibiSlopes && { alibiSlopes: toPlainTensor(alibiSlopes) as Tensor<'float32'> }),
        returnLse: true,
      });
      const got: Output = { out: fromOutput(out as Tensor, 'bnhd'), lse: fromTensor(lse as Tensor) };
      expectRight(got, expectedOf(problem), `${sinkTokens} sinks`);
    }
  });

  it('every option concerns the heads that it names', async () => {
    const [q, k, v] = [tensor(2, 3, 6, 8), tensor(2, 20, 3, 8), tensor(2, 20, 3, 5)];
    // Windows that hide nothing of 20 tokens, and yet differ.
    const shape = { kvHeads: 3, headDim: 8, valueDim: 5, recentTokens: [50, 60, Number.POSITIVE_INFINITY] };
    const cache = new KvCache({ ...shape, device });
    cache.append(0, k, v);
    const bits = new Tensor(
      'bool',
      Uint8Array.from({ length: 6 * 20 }, (_, i) => Number(i % 7 > 0)),
      [6, 1, 20],
    );
    const options: [string, CacheAttentionOptions][] = [
      ['scale and softcap', { scale: 0.3, softcap: 2 }],
      ['ALiBi', { alibiSlopes: Float32Array.of(0.5, 0.25, 0.125, 0.1, 0.2, 0.3) }],
      ['ALiBi per batch entry', { alibiSlopes: tensor(2, 6) }],
      ['sink logits', { sinks: [1, 2, 3, -1, -2, -3] }],
      ['a bias', { bias: tensor(2, 6, 3, 20) }],
      ['a bias of all heads', { bias: tensor(2, 1, 3, 20) }],
      ['a bias without heads', { bias: tensor(3, 20) }],
      ['a mask', { mask: bits }],
      ['extra keys', { extraKeys: tensor(2, 2, 3, 8), extraValues: tensor(2, 2, 3, 5) }],
    ];
    for (const [name, option] of options) {
      const whole = attentionSync(q, k, v, { ...option, causal: true, returnLse: true, device });
      const inParts = cache.attentionSync(0, q, { ...option, returnLse: true });
      const flight = await cache.attention(0, q, { ...option, returnLse: true });
      for (const got of [inParts, flight]) {
        expect(got.out.dims, name).toEqual(whole.out.dims);
        expect(got.lse.dims, name).toEqual(whole.lse.dims);
        expectClose(got.out.data as Float32Array, whole.out.data as Float32Array, 5);
        expectClose(got.lse.data, whole.lse.data, 5);
      }
      expect(isSame(inParts.out.data, flight.out.data), name).toBe(true);
    }
    // Results where the caller wants them, with heads and dim as one axis or as another library's tensors.
    const { out: expected } = cache.attentionSync(0, q);
    const wide = Tensor.zeros('float32', [2, 6, 3, 10]);
    const out = wide.transpose([0, 2, 1, 3]).slice(3, 2, 7);
    expect(cache.attentionSync(0, q, { out }).out).toBe(out);
    expect(isSame(out.contiguous().data, expected.data)).toBe(true);
    expect(wide.data.filter((x) => x !== 0).length).toBe(expected.data.filter((x) => x !== 0).length);
    const merged = cache.attentionSync(0, q.reshape([2, 3, 48]), { queryHeads: 6 });
    expect(merged.out.dims).toEqual([2, 3, 30]);
    expect(isSame(merged.out.data, expected.data)).toBe(true);
    class Other {
      constructor(
        readonly type: string,
        readonly data: Float32Array,
        readonly dims: readonly number[],
      ) {}
    }
    const other = cache.attentionSync(0, q, { Tensor: Other, returnLse: true });
    expect(other.out).toBeInstanceOf(Other);
    expect(other.lse).toMatchObject({ type: 'float32', dims: [2, 6, 3] });
  });
});

interface Step {
  readonly what: 'append' | 'one' | 'truncate' | 'fork' | 'dispose' | 'reset';
  /** Which cache, and how much, as shares of what there is. */
  readonly at: number;
  readonly share: number;
}

const share = fc.nat(1000).map((n) => n / 1000);
const random = fc
  .record({
    recent: fc.tuple(...[0, 1, 2].map(() => fc.constantFrom(0, 1, 2, 7, 30, 150, Number.POSITIVE_INFINITY))),
    sinks: fc.tuple(...[0, 1, 2].map(() => fc.constantFrom(0, 1, 5, 20))),
    steps: fc.array(
      fc.record<Step>({
        what: fc.oneof(
          { arbitrary: fc.constant('append' as const), weight: 6 },
          { arbitrary: fc.constant('one' as const), weight: 6 },
          { arbitrary: fc.constant('truncate' as const), weight: 3 },
          { arbitrary: fc.constant('fork' as const), weight: 2 },
          { arbitrary: fc.constantFrom('dispose' as const, 'reset' as const), weight: 1 },
        ),
        at: share,
        share,
      }),
      { maxLength: 40 },
    ),
  })
  .filter(({ recent, sinks }) => recent.every((tokens, head) => tokens + sinks[head] > 0));

it('random appends, cuts and forks: the last query sees what is its own in every head', () => {
  const q = Tensor.zeros('float32', [1, 1, 3, 4]);
  expectForAll(random, sampleSize(200), ({ recent, sinks, steps }) => {
    let next = 0;
    const empty = () => {
      const shape = { kvHeads: 3, headDim: 4, valueDim: 3, batch: 1, type: 'float32' as const };
      return { cache: new KvCache({ ...shape, recentTokens: recent, sinkTokens: sinks }), tokens: [] as number[] };
    };
    let pairs = [empty()];
    for (const { what, at, share } of steps) {
      const pair = pairs[Math.min(pairs.length - 1, Math.floor(at * pairs.length))];
      const { cache, tokens } = pair;
      if (what === 'append' || what === 'one') {
        const rows = Array.from({ length: what === 'one' ? 1 : Math.floor(400 * share ** 3) }, () => next++ % 1000);
        cache.append(0, ...rowsOf(rows, 3));
        tokens.push(...rows);
      } else if (what === 'truncate') {
        const length = Math.floor((1 - share ** 2) * tokens.length);
        const error = thrownBy(() => cache.truncate(length));
        if (error) {
          expectError(error, { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['at least'] });
          const least = Number(/be (\d+) at least/.exec(String(error))?.[1]);
          expect(least).toBeGreaterThan(length);
          cache.truncate(least);
          tokens.splice(least);
        } else {
          tokens.splice(length);
        }
      } else if (what === 'fork') {
        pairs.push({ cache: cache.fork(), tokens: [...tokens] });
      } else {
        cache[what]();
        tokens.splice(0);
        if (what === 'dispose') pairs = pairs.length > 1 ? pairs.filter((other) => other !== pair) : [empty()];
        continue;
      }
      expect(cache.length).toBe(tokens.length);
      if (tokens.length === 0) continue;
      const out = cache.attentionSync(0, q).out.data as Float32Array;
      for (const head of [0, 1, 2]) {
        const own = tokens.filter((_, t) => t < sinks[head] || t >= tokens.length - recent[head]);
        const mean = [0, 1, 2].map((d) => own.reduce((sum, token) => sum + numbersOf(token)[d], 0) / own.length);
        expectMean(out.subarray(3 * head, 3 * head + 3), mean, 1000);
      }
    }
    for (const { cache } of pairs) cache.dispose();
  });
});
