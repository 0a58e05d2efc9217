// Caches whose heads keep some of the newest tokens and the first ones, each head its own numbers: attention under the mask of
// the same rule, in bounded memory. Reader: someone who changes lib/caches/kv-parts.ts or lib/ops/attention/parts.ts.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  type CacheAttentionOptions,
  type ErrorCode,
  KvCache,
  type KvCacheOptions,
  Tensor,
} from '../../dist/index.js';
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

describe('parts of heads', () => {
  const shape = { kvHeads: 2, headDim: 8 };
  const ring = { ...shape, recentTokens: [3, 5], sinkTokens: [2, 0] };
  const filled = (tokens: number, options: Partial<KvCacheOptions> = {}) => {
    const cache = new KvCache({ ...ring, ...options });
    cache.append(0, tensor(1, tokens, 2, 8), tensor(1, tokens, 2, 8));
    return cache;
  };
  const q = tensor(1, 1, 4, 8);

  it('let go of their tokens apart', () => {
    const all = Number.POSITIVE_INFINITY;
    const cache = new KvCache({ ...shape, recentTokens: [64, all], sinkTokens: 4 });
    const dense = new KvCache(shape);
    const [k, v] = [tensor(1, 500, 2, 8), tensor(1, 500, 2, 8)];
    for (const one of [cache, dense])
      for (let i = 0; i < 20; i++) one.append(0, k.slice(1, 0, 500), v.slice(1, 0, 500));
    for (let i = 0; i < 20; i++) cache.append(0, k.slice(1, i, i + 1), v.slice(1, i, i + 1));
    expect(cache.length).toBe(10_020);
    expect(cache.bytes - dense.bytes / 2).toBeLessThan((1.75 * 68 + 48) * 64);
  });

  it('give the same bits however tokens came', () => {
    const [k, v] = [tensor(1, 230, 2, 8), tensor(1, 230, 2, 8)];
    const [whole, pieces] = [0, 1].map(() => new KvCache({ ...shape, recentTokens: [150, 160], sinkTokens: 4 }));
    whole.append(0, k, v);
    for (const [begin, end] of [
      [0, 97],
      [97, 98],
      [98, 200],
      [200, 230],
    ]) {
      pieces.append(0, k.slice(1, begin, end), v.slice(1, begin, end));
    }
    const last = tensor(1, 30, 4, 8);
    expect(isSame(pieces.attentionSync(0, last).out.data, whole.attentionSync(0, last).out.data)).toBe(true);
  });

  it('go back, fork and are read as one', () => {
    const cache = filled(40);
    const row = (t: number): [Tensor, Tensor] => [
      tensor(1, 50, 2, 8).slice(1, t, t + 1),
      tensor(1, 50, 2, 8).slice(1, t, t + 1),
    ];
    const wanted: Float32Array[] = [];
    for (let t = 40; t < 48; t++) {
      cache.append(0, ...row(t));
      wanted.push(cache.attentionSync(0, q).out.data as Float32Array);
    }
    const fork = cache.fork();
    cache.truncate(44);
    for (let t = 44; t < 48; t++) {
      cache.append(0, ...row(t));
      expect(isSame(cache.attentionSync(0, q).out.data, wanted[t - 40])).toBe(true);
    }
    expect(isSame(fork.attentionSync(0, q).out.data, wanted[7])).toBe(true);
    expect([cache.length, fork.length, fork.lengthOf(0)]).toEqual([48, 48, 48]);
    const short = filled(10);
    const [k, v] = [short.keys(0), short.values(0)];
    expect(isSame(k.data, tensor(1, 10, 2, 8).data)).toBe(true);
    expect(isSame(v.data, tensor(1, 10, 2, 8).data)).toBe(true);
  });

  it('a call in flight holds all of them', async () => {
    const cache = filled(12);
    const flight = cache.attention(0, q);
    for (const change of [() => cache.append(0, tensor(1, 1, 2, 8), tensor(1, 1, 2, 8)), () => cache.truncate(12)]) {
      expectError(thrownBy(change), { code: 'ERR_TILEWISE_OVERLAP', says: ['wait'] });
    }
    await flight;
    cache.truncate(12);
    await expect(cache.attention(0, q, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
    cache.append(0, tensor(1, 1, 2, 8), tensor(1, 1, 2, 8));
  });

  const out = tensor(1, 1, 4, 8);
  const refused: [string, () => unknown, ErrorCode, string][] = [
    [
      'numbers of other heads',
      () => new KvCache({ ...shape, recentTokens: [1, 2, 3] }),
      'ERR_TILEWISE_INVALID_OPTION',
      'recentTokens',
    ],
    [
      'a head that sees nothing',
      () => new KvCache({ ...shape, recentTokens: [2, 0], sinkTokens: [3, 0] }),
      'ERR_TILEWISE_INVALID_OPTION',
      'KV head 1',
    ],
    [
      'fewer recent tokens than none',
      () => new KvCache({ ...shape, recentTokens: [2, -1], sinkTokens: 3 }),
      'ERR_TILEWISE_INVALID_OPTION',
      'recentTokens[1]',
    ],
    [
      'endless sinks',
      () => new KvCache({ ...shape, recentTokens: 3, sinkTokens: [1, Number.POSITIVE_INFINITY] }),
      'ERR_TILEWISE_INVALID_OPTION',
      'sinkTokens[1]',
    ],
    [
      'heads that do not divide',
      () => filled(9).attentionSync(0, tensor(1, 1, 3, 8)),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      '2',
    ],
    [
      'a bias of other heads',
      () => filled(9).attentionSync(0, q, { bias: tensor(3, 1, 9) }),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'bias',
    ],
    [
      'extra keys of other heads',
      () => filled(9).attentionSync(0, q, { extraKeys: tensor(1, 1, 4, 8), extraValues: tensor(1, 1, 4, 8) }),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'extraKeys',
    ],
    [
      'an `out` that other heads read',
      () => filled(9).attentionSync(0, out.slice(2, 0, 4), { out }),
      'ERR_TILEWISE_OVERLAP',
      'q',
    ],
    [
      'a window of the call',
      () => filled(9).attentionSync(0, q, { window: 2 } as never),
      'ERR_TILEWISE_INVALID_OPTION',
      'window',
    ],
  ];
  it.each(refused)('refuse %s', (_, run, code, named) => expectError(thrownBy(run), { code, says: [named] }));

  it('refuse queries that should see what is gone, and no others', () => {
    const [k, v, q] = [tensor(1, 100, 2, 8), tensor(1, 100, 2, 8), tensor(1, 100, 4, 8)];
    const whole = new KvCache({ ...ring });
    whole.append(0, k, v);
    const { out } = whole.attentionSync(0, q);
    const cache = new KvCache({ ...ring });
    for (let t = 0; t < 100; t++) cache.append(0, k.slice(1, t, t + 1), v.slice(1, t, t + 1));
    let most = 0;
    for (const queries of range(1, 101)) {
      const last = q.slice(1, 100 - queries);
      const attend = () => cache.attentionSync(0, last).out;
      if (most > 0) {
        expectError(thrownBy(attend), { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: [`at most ${most} queries`] });
        continue;
      }
      const error = thrownBy(attend);
      if (error) most = queries - 1;
      else expectClose(attend().data as Float32Array, out.slice(1, 100 - queries).data as Float32Array, 5);
    }
    expect(most).toBeGreaterThan(0);
  });

  it('sequences of a batch go on at different speeds', () => {
    const [k, v, q] = [tensor(2, 90, 2, 8), tensor(2, 90, 2, 8), tensor(2, 10, 4, 8)];
    const cache = new KvCache({ ...ring });
    cache.append(0, k.slice(1, 0, 80), v.slice(1, 0, 80), { lengths: [80, 3] });
    cache.append(0, k.slice(1, 80, 81), v.slice(1, 80, 81));
    cache.append(0, k.slice(1, 80, 90), v.slice(1, 80, 90), { lengths: [1, 10] });
    const rows = cache.attentionSync(0, q).out;
    const one = new KvCache({ ...ring });
    for (const [begin, end] of [
      [0, 3],
      [80, 81],
      [80, 90],
    ]) {
      one.append(0, k.slice(0, 1).slice(1, begin, end), v.slice(0, 1).slice(1, begin, end));
    }
    const alone = one.attentionSync(0, q.slice(0, 1)).out;
    expectClose(rows.slice(0, 1).contiguous().data as Float32Array, alone.data as Float32Array, 5);
  });

  it('take as much memory for a call however long the text', async () => {
    const cache = new KvCache({ ...ring });
    const [k, v] = [tensor(1, 5000, 2, 8), tensor(1, 5000, 2, 8)];
    const takes: number[] = [];
    for (let i = 0; i < 100; i++) {
      cache.append(0, k, v);
      cache.append(0, k.slice(1, 0, 1), v.slice(1, 0, 1));
      const before = process.memoryUsage().arrayBuffers;
      const flight = cache.attention(0, q);
      takes.push(process.memoryUsage().arrayBuffers - before);
      await flight;
    }
    // The engine takes and collects memory of its own in some of them.
    const usual = (some: number[]) => some.sort((a, b) => a - b)[some.length >> 1];
    expect(usual(takes.slice(80))).toBeLessThan(usual(takes.slice(0, 20)) + 200);
  });

  it('judge the queries of each sequence by what it has left', () => {
    const cache = new KvCache({ kvHeads: 1, headDim: 4, recentTokens: 2 });
    /** Keys of 0, and values that count the tokens of their sequence. */
    const append = (tokens: number, lengths: readonly number[]) => {
      const k = Tensor.zeros('float32', [2, tokens, 1, 4]);
      const first = [0, 1].map((entry) => (cache.length > 0 ? cache.lengthOf(0, entry) : 0));
      const places = first.flatMap((begin) => range(begin, begin + tokens).flatMap((t) => Array<number>(4).fill(t)));
      cache.append(0, k, new Tensor('float32', Float32Array.from(places), [2, tokens, 1, 4]), { lengths });
    };
    /** Each query is in the middle between its own token and the one before; the last ones of both sequences are looked at. */
    const expectMiddles = (queries: number, looked: readonly number[]) => {
      const { data } = cache.attentionSync(0, Tensor.zeros('float32', [2, queries, 1, 4])).out;
      for (const [entry, count] of looked.entries()) {
        const got = range(queries - count, queries).map((i) => (data as Float32Array)[(entry * queries + i) * 4]);
        const tokens = cache.lengthOf(0, entry);
        expectClose(
          got,
          range(tokens - count, tokens).map((t) => Math.max(0, t - 0.5)),
          5,
        );
      }
    };
    const expectAtMost = (most: number) => {
      expectMiddles(most, [most, most]);
      const error = thrownBy(() => cache.attentionSync(0, tensor(2, most + 1, 1, 4)));
      expectError(error, { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: [`at most ${most} queries`] });
    };
    append(20, [20, 20]);
    for (let i = 0; i < 60; i++) append(1, [0, 1]);
    // Pages have 16 tokens. The last query of the second sequence sees tokens 78 and 79, so 64 are gone: that of 65 is the first.
    expectAtMost(15);
    append(20, [20, 1]);
    // Rows in front of the one that is the second sequence's own are none of its tokens.
    expectMiddles(20, [20, 1]);
    append(1, [0, 1]);
    // It has 82 now, and the last of them sees 80 and 81: 80 are gone.
    expectAtMost(1);
  });

  it('say how far truncate() goes back, and what keys() cannot give', () => {
    const cache = filled(900);
    cache.append(0, tensor(1, 1, 2, 8), tensor(1, 1, 2, 8));
    const error = thrownBy(() => cache.truncate(10));
    expectError(error, { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['at least'] });
    const least = Number(/be (\d+) at least/.exec(String(error))?.[1]);
    expectError(
      thrownBy(() => cache.truncate(least - 1)),
      { code: 'ERR_TILEWISE_INVALID_OPTION', says: [`${least}`] },
    );
    expectError(
      thrownBy(() => cache.keys(0)),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['let go of'] },
    );
    cache.truncate(least);
    expect(cache.length).toBe(least);
  });
});
