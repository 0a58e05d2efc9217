// KvCache: attention over a cache is attention over what was appended, however it came and whoever shares it.
// Reader: someone who generates text, or changes lib/caches.

import { describe, expect, it } from 'vitest';
import { attentionSync, KvCache, type KvCacheOptions, type Tensor } from '../../dist/index.js';
import { build, type Case } from '../conformance/case.js';
import { expectedOf } from '../conformance/judge.js';
import {
  bitsOf,
  fromOutput,
  fromTensor,
  type Layout,
  type Storage,
  storages,
  toTensor,
} from '../conformance/memory.js';
import { expectRight, onEveryBackend } from '../conformance/suite.js';
import { dtypes, type FloatType, round, toBits } from '../references/half.js';
import { forEachIndex, type Operand, range } from '../references/operand.js';
import type { Problem } from '../references/problem.js';
import { thrownBy } from '../support/expect-error.js';
import { gather, part } from '../support/views.js';

const heads: Case['heads'] = [4, 2];
const dims: Case['dims'] = [24, 20];

const shape = { kvHeads: 2, headDim: 24, valueDim: 20 };

/** Rows of tokens as the public API takes them. */
const rowsOf = (operand: Operand, [begin, end]: readonly [number, number], layout: Layout, storage: Storage = 'gaps') =>
  toTensor(gather(operand, 2, range(begin, end)), layout, storage);

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

const outputOf = ({ out, lse }: { readonly out: unknown; readonly lse: unknown }, layout: Layout) => ({
  out: fromOutput(out as Tensor, layout),
  lse: fromTensor(lse as Tensor),
});

/** The operand's numbers as another type. */
function roundedTo(operand: Operand, type: FloatType): Operand {
  const numbers: number[] = [];
  forEachIndex(operand, (index) => {
    const bits = operand.data[index];
    numbers.push(operand.type === 'float32' ? bits : Number.NaN);
  });
  const data =
    type === 'float32' ? Float32Array.from(numbers) : Uint16Array.from(numbers, (x) => toBits(type, round(type, x)));
  const strides = operand.dims.map((_, axis) => operand.dims.slice(axis + 1).reduce((a, n) => a * n, 1));
  return { type, data, dims: operand.dims, strides, offset: 0 };
}

onEveryBackend((backend) => {
  const cacheOf = (options: Partial<KvCacheOptions> = {}) =>
    new KvCache({ ...shape, device: backend.device, ...options });

  it.each(dtypes)('appended in pieces, of any layout and strides: as if at once (%s)', (dtype) => {
    const tokens = 530; // three pages, the last one begun
    for (const [n, layout] of (['bnhd', 'bhnd'] as const).entries()) {
      const { problem } = build({
        batch: 2,
        heads,
        queries: tokens,
        keys: tokens,
        dims,
        dtype,
        causal: true,
        seed: 5 + n,
      });
      const cache = cacheOf({ layout });
      for (const [i, cut] of pieces(tokens, [100, 1, 1, 160, 5, 255, 3]).entries()) {
        // Batch entries differ, so 'repeated' does not apply to parts of them.
        const storage = storages.filter((name) => name !== 'repeated')[i % (storages.length - 1)];
        const given = (operand: Operand) =>
          toTensor(stored(gather(operand, 2, range(...cut)), layout, storage), layout, storage);
        cache.append(0, given(problem.key), given(problem.value));
        if (cut[1] - cut[0] > 5 && i !== 0) continue;
        const result = cache.attentionSync(0, rowsOf(problem.query, cut, layout), { returnLse: true });
        const whole = part(problem, range(...cut), range(0, cut[1]));
        expectRight(outputOf(result, layout), expectedOf(whole), `${layout} ${cut}`);
      }
      expect(cache.length).toBe(tokens);
      const { keys, values } = { keys: cache.keys(0).toSync('cpu'), values: cache.values(0).toSync('cpu') };
      expect(bitsOf(fromOutput(keys, layout))).toEqual(bitsOf(problem.key));
      expect(bitsOf(fromOutput(values, layout))).toEqual(bitsOf(problem.value));
      cache.dispose();
    }
  });

  it('sequences of a batch may differ in length, and layers too', () => {
    const { problem } = build({ batch: 2, heads, queries: 300, keys: 300, dims, causal: true, seed: 9 });
    const cache = cacheOf({ layers: 2, batch: 2, layout: 'bhnd' });
    const append = (layer: number, cut: [number, number], lengths?: number[]) =>
      cache.append(layer, rowsOf(problem.key, cut, 'bhnd'), rowsOf(problem.value, cut, 'bhnd'), lengths && { lengths });
    append(0, [0, 270], [270, 3]);
    append(0, [270, 280], [4, 10]);
    append(1, [0, 2]);
    expect([0, 1].map((entry) => cache.lengthOf(0, entry))).toEqual([274, 13]);
    expect(cache.length).toBe(2);
    const got = outputOf(cache.attentionSync(0, rowsOf(problem.query, [0, 2], 'bhnd'), { returnLse: true }), 'bhnd');
    const kept = [range(0, 274), [0, 1, 2, ...range(270, 280)]];
    for (const [entry, keys] of kept.entries()) {
      const own = (operand: Operand) => gather(operand, 0, [entry]);
      const alone: Problem = { ...part(problem, [0, 1], keys) };
      for (const name of ['query', 'key', 'value'] as const) alone[name] = own(alone[name]);
      expectRight({ out: own(got.out), lse: own(got.lse) }, expectedOf(alone), `entry ${entry}`);
    }
  });

  it('other types are rounded to the nearest, and queries keep theirs', () => {
    const { problem } = build({ heads, queries: 40, keys: 40, dims, causal: true, seed: 3 });
    for (const type of ['float16', 'bfloat16'] as const) {
      const cache = cacheOf({ type });
      cache.append(0, toTensor(problem.key, 'bnhd'), toTensor(problem.value, 'bnhd'));
      const key = roundedTo(problem.key, type);
      expect(bitsOf(fromOutput(cache.keys(0).toSync('cpu'), 'bnhd'))).toEqual(bitsOf(key));
      const result = cache.attentionSync(0, toTensor(problem.query, 'bnhd'), { returnLse: true });
      expect(result.out.type).toBe('float32');
      const rounded = { ...problem, key, value: roundedTo(problem.value, type) };
      expectRight(outputOf(result, 'bnhd'), expectedOf(rounded), type);
    }
  });

  it('a window with sinks gives what the same mask gives, and lets go of the rest', () => {
    const tokens = 1300;
    const horizon = { recentTokens: 100, sinkTokens: 5 };
    const window = { left: horizon.recentTokens - 1, sinkTokens: horizon.sinkTokens, causal: true as const };
    const { problem } = build({ heads, queries: tokens, keys: tokens, dims, ...window, seed: 21 });
    const cache = cacheOf(horizon);
    let bytes = 0;
    for (const cut of pieces(tokens, [300, 1, 1, 130, 40])) {
      cache.append(0, rowsOf(problem.key, cut, 'bnhd'), rowsOf(problem.value, cut, 'bnhd'));
      const result = cache.attentionSync(0, rowsOf(problem.query, cut, 'bnhd'), { returnLse: true });
      const whole = part(problem, range(...cut), range(0, cut[1]));
      expectRight(outputOf(result, 'bnhd'), expectedOf(whole), `${cut}`);
      bytes = Math.max(bytes, cache.bytes);
    }
    expect(cache.length).toBe(tokens);
    expect(cache.bytes).toBeLessThan(bytes);
    expect(() => cache.keys(0)).toThrow(/let go of/);
    expect(() => cache.truncate(300)).toThrow(/`length` must be \d+ at least/);
    const least = Number(/be (\d+) at least/.exec(String(thrownBy(() => cache.truncate(300))))?.[1]);
    cache.truncate(least);
    cache.append(0, rowsOf(problem.key, [least, tokens], 'bnhd'), rowsOf(problem.value, [least, tokens], 'bnhd'));
    const last = [least, tokens] as const;
    const result = cache.attentionSync(0, rowsOf(problem.query, last, 'bnhd'), { returnLse: true });
    expectRight(
      outputOf(result, 'bnhd'),
      expectedOf(part(problem, range(...last), range(0, tokens))),
      'after truncate()',
    );
  });

  it('a fork goes its own way, and neither disturbs the other', () => {
    const { problem } = build({ heads, queries: 320, keys: 320, dims, causal: true, seed: 31 });
    const first = cacheOf();
    const append = (cache: KvCache, keys: [number, number]) =>
      cache.append(0, rowsOf(problem.key, keys, 'bnhd'), rowsOf(problem.value, keys, 'bnhd'));
    append(first, [0, 300]);
    const second = first.fork();
    expect(second.bytes).toBe(first.bytes);
    append(first, [300, 305]);
    append(second, [310, 318]);
    const third = second.fork();
    second.truncate(10);
    append(second, [0, 1]);
    const held: [KvCache, number[]][] = [
      [first, range(0, 305)],
      [second, [...range(0, 10), 0]],
      [third, [...range(0, 300), ...range(310, 318)]],
    ];
    for (const [cache, keys] of held) {
      const query = [7];
      const result = cache.attentionSync(0, toTensor(gather(problem.query, 2, query), 'bnhd'), { returnLse: true });
      expectRight(outputOf(result, 'bnhd'), expectedOf(part(problem, query, keys)), `${keys.length} keys`);
      expect(bitsOf(fromOutput(cache.keys(0).toSync('cpu'), 'bnhd'))).toEqual(bitsOf(gather(problem.key, 2, keys)));
    }
    first.dispose();
    second.dispose();
    expect(third.length).toBe(308);
  });
});

/** The same numbers, lying in memory as `storage` says. */
function stored(operand: Operand, layout: Layout, storage: Storage): Operand {
  const numbers: number[] = [];
  forEachIndex(operand, (index) => numbers.push(operand.data[index]));
  const { problem } = build({
    heads: [operand.dims[1], operand.dims[1]],
    batch: operand.dims[0],
    queries: 1,
    keys: operand.dims[2],
    dims: [operand.dims[3], operand.dims[3]],
    dtype: operand.type as FloatType,
    layout,
    storage,
  });
  let next = 0;
  forEachIndex(problem.key, (index) => {
    problem.key.data[index] = numbers[next++];
  });
  return problem.key;
}

describe('on the CPU', () => {
  it('gives the bits of attention over the same tokens in one piece', () => {
    const { problem } = build({ batch: 2, heads, queries: 40, keys: 700, dims, causal: true, dtype: 'float16' });
    const cache = new KvCache(shape);
    for (const cut of pieces(700, [260, 1, 90])) {
      cache.append(0, rowsOf(problem.key, cut, 'bnhd'), rowsOf(problem.value, cut, 'bnhd'));
    }
    const q = toTensor(problem.query, 'bnhd');
    const [k, v] = [problem.key, problem.value].map((operand) => toTensor(operand, 'bnhd'));
    const whole = attentionSync(q, k, v, { causal: true, device: 'cpu' });
    expect(cache.attentionSync(0, q).out.data).toEqual(whole.out.data);
  });
});
