// A cache whose heads keep different tokens, as an object: what it gives back, refuses and holds.
// Reader: someone who changes lib/caches/kv-parts.ts. That attention over it is right stands in test/families/kv-rings.test.ts.

import { describe, expect, it } from 'vitest';
import { type ErrorCode, KvCache, type KvCacheOptions, Tensor } from '../../dist/index.js';
import { range } from '../references/operand.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectClose } from '../support/golden.js';
import { isSame, tensor } from '../support/tensors.js';

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
