// S2Cache: what it forgets, that nobody misses it, and when it may be appended to. Reader: someone who decodes with
// s2Attention() and a cache.

import { describe, expect, it } from 'vitest';
import { S2Cache, type S2LayoutOptions, s2Layout } from '../../dist/index.js';
import { build, callOf } from '../conformance/case.js';
import { expectedOf } from '../conformance/judge.js';
import { bitsOf, fromOutput, fromTensor, toTensor } from '../conformance/memory.js';
import { expectRight, onEveryBackend } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import type { Operand } from '../references/operand.js';
import { range } from '../references/operand.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { gather, part } from '../support/views.js';

onEveryBackend((backend) => {
  it('[P11] a cache that evicts what no later query needs gives what the full cache gives', () => {
    const tokens = 100;
    for (const options of [
      { blockSize: 4, localBlocks: 2, vertStride: 3 },
      { blockSize: 8, localBlocks: 1, vertStride: 5, layoutPer: 'q' as const, headOffset: 1 },
      { blockSize: 3, localBlocks: 3, vertStride: 1 },
    ]) {
      for (const dtype of dtypes) {
        const { problem } = build({
          heads: [4, 2],
          queries: tokens,
          keys: tokens,
          dims: [24, 20],
          shards: options,
          dtype,
        });
        const layout = s2Layout({ ...options, numHeads: 4, numKvHeads: 2, requireFullCoverage: false });
        const cache = new S2Cache(layout, 0, { maxQueries: 16, layout: 'bhnd' });
        for (const [begin, end] of pieces(tokens, [16, 1, 1, 5, 3, 16, 1, 7])) {
          const rows = (operand: Operand) => toTensor(gather(operand, 2, range(begin, end)), 'bhnd', 'dense');
          cache.append(rows(problem.key), rows(problem.value));
          const { out, lse } = cache.attentionSync(rows(problem.query), { returnLse: true, device: backend.device });
          const whole = part(problem, range(begin, end), range(0, end));
          expectRight({ out: fromOutput(out, 'bhnd'), lse: fromTensor(lse!) }, expectedOf(whole), `${begin} to ${end}`);
          expect(cache.length).toBe(end);
        }
        const blocks = 2 * Math.ceil(tokens / options.blockSize);
        if (options.vertStride > 1) expect(cache.blocksHeld).toBeLessThan(blocks);
        else expect(cache.blocksHeld).toBe(blocks);
        cache.reset();
        expect(cache.length).toBe(0);
      }
    }
  });
});

/** Consecutive ranges of these lengths, again and again up to a total. */
function pieces(total: number, lengths: readonly number[]): [number, number][] {
  const cuts: [number, number][] = [];
  for (let begin = 0, n = 0; begin < total; n++) {
    const end = Math.min(total, begin + lengths[n % lengths.length]);
    cuts.push([begin, end]);
    begin = end;
  }
  return cuts;
}

/** What `run` returns while the `failing`-th Float32Array that is made finds no memory. */
function withoutMemory<T>(failing: number, run: () => T): T {
  const whole = globalThis.Float32Array;
  let made = 0;
  globalThis.Float32Array = new Proxy(whole, {
    construct(target, given, newTarget) {
      if (++made === failing) throw new RangeError('Array buffer allocation failed');
      return Reflect.construct(target, given, newTarget);
    },
  });
  try {
    return run();
  } finally {
    globalThis.Float32Array = whole;
  }
}

describe('the cache', () => {
  const options: S2LayoutOptions = { blockSize: 4, localBlocks: 2, vertStride: 4, numHeads: 4, numKvHeads: 4 };
  const make = (tokens: number) => {
    const { problem } = build({ heads: [4, 4], queries: tokens, keys: tokens, dims: [8, 8] });
    const { query, key, value } = callOf({ problem, layout: 'bnhd', storage: 'dense', is3d: false });
    return { q: query, k: key, v: value };
  };

  it('keeps about one block in vertStride', () => {
    const cache = new S2Cache(s2Layout(options));
    const { k, v } = make(4);
    for (let n = 0; n < 100; n++) cache.append(k, v);
    expect(cache.length).toBe(400);
    expect(cache.blocksHeld).toBeLessThanOrEqual(4 * (100 / 4 + 4));
    expect(cache.bytes).toBeGreaterThan(0);
  });

  it('of a part of the heads gives what the whole gives them', () => {
    const layout = s2Layout({ ...options, vertStride: 3 });
    const { problem } = build({ heads: [4, 4], queries: 50, keys: 50, dims: [8, 8] });
    const own = (operand: Operand) => toTensor(gather(operand, 1, [2, 3]), 'bhnd', 'gaps');
    const last = (operand: Operand) => gather(operand, 2, range(46, 50));
    const whole = new S2Cache(layout, 0, { layout: 'bhnd' });
    whole.append(toTensor(problem.key, 'bhnd'), toTensor(problem.value, 'bhnd'));
    const half = new S2Cache(layout, 2, { layout: 'bhnd' });
    half.append(own(problem.key), own(problem.value));
    const all = fromOutput(whole.attentionSync(toTensor(last(problem.query), 'bhnd')).out, 'bhnd');
    const part = fromOutput(half.attentionSync(own(last(problem.query))).out, 'bhnd');
    expect(bitsOf(part)).toEqual(bitsOf(gather(all, 1, [2, 3])));
  });

  it('its promise gives the bits of its synchronous form', async () => {
    const cache = new S2Cache(s2Layout(options));
    const { q, k, v } = make(4);
    for (let n = 0; n < 9; n++) cache.append(k, v);
    const { out } = await cache.attention(q);
    expect(out.data).toEqual(cache.attentionSync(q).out.data);
  });

  it('append() has to wait for a call that still reads the cache', async () => {
    const cache = new S2Cache(s2Layout(options));
    const { q, k, v } = make(4);
    for (let n = 0; n < 9; n++) cache.append(k, v);
    const running = cache.attention(q);
    expectError(
      thrownBy(() => cache.append(k, v)),
      { code: 'ERR_TILEWISE_OVERLAP', type: RangeError },
    );
    await running;
    cache.append(k, v);
    expect(cache.length).toBe(40);
  });

  it('an append() without memory for it changes nothing', () => {
    for (const failing of [1, 2]) {
      const cache = new S2Cache(s2Layout(options));
      const other = new S2Cache(s2Layout(options));
      const { q, k, v } = make(4);
      const many = make(40);
      for (let n = 0; n < 9; n++) {
        cache.append(k, v);
        other.append(k, v);
      }
      const before = [cache.length, cache.blocksHeld, cache.bytes];
      const error = withoutMemory(failing, () => thrownBy(() => cache.append(many.k, many.v)));
      expect(error, `allocation ${failing} fails`).toMatchObject({ code: 'ERR_TILEWISE_OUT_OF_MEMORY' });
      expect([cache.length, cache.blocksHeld, cache.bytes]).toEqual(before);
      expect(cache.attentionSync(q).out.data).toEqual(other.attentionSync(q).out.data);
      for (const each of [cache, other]) each.append(many.k, many.v);
      expect(cache.attentionSync(q).out.data).toEqual(other.attentionSync(q).out.data);
    }
  });

  it('can be appended to after a call that was aborted or refused', async () => {
    const cache = new S2Cache(s2Layout(options));
    const { q, k, v } = make(4);
    cache.append(k, v);
    const controller = new AbortController();
    const late = cache.attention(q, { signal: controller.signal });
    controller.abort();
    await late.catch(() => undefined);
    await expect(cache.attention(q, { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no');
    await expect(cache.attention(q, { scale: 'x' } as never)).rejects.toThrow(TypeError);
    cache.append(k, v);
    expect(cache.length).toBe(8);
    expect((await cache.attention(q)).out.data).toEqual(cache.attentionSync(q).out.data);
    cache.reset();
  });

  it('refuses more queries than tokens', () => {
    const cache = new S2Cache(s2Layout({ ...options, blockSize: 8 }));
    const { q } = make(4);
    const three = make(3);
    cache.append(three.k, three.v);
    expectError(
      thrownBy(() => cache.attentionSync(q)),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', type: RangeError, says: ['at most 3 queries', '4'] },
    );
  });

  it('refuses more queries than it was made for, and tensors that do not fit', () => {
    const cache = new S2Cache(s2Layout(options), 0, { maxQueries: 2 });
    const { q, k, v } = make(4);
    expect(thrownBy(() => cache.append(k, { ...v, dims: [1, 2, 8, 8] }))).toBeInstanceOf(Error);
    cache.append(k, v);
    expectError(
      thrownBy(() => cache.attentionSync(q)),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', type: RangeError, says: ['4', '2'] },
    );
  });
});
