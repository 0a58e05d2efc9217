// Laws of linear attention on every backend: random calls against float64, recurrent and quadratic; neither
// chunks, threads, strides nor the way in which a sequence is split change what comes out. Reader: someone who changes the loop.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type LinearAttentionOptions,
  LinearState,
  linearAttention,
  linearAttentionStepSync,
  linearAttentionSync,
  numThreads,
  setNumThreads,
  Tensor,
} from '../../dist/index.js';
import { selected } from '../conformance/backends.js';
import { onEveryBackend } from '../conformance/suite.js';
import { dtypes, ulp } from '../references/half.js';
import { type LinearInput, linearQuadratic, linearRecurrent } from '../references/linear.js';
import { onEveryCpu } from '../support/ext-linear.js';
import { expectForAll } from '../support/property.js';
import { isSame } from '../support/tensors.js';
import { uniformNumbers } from '../support/uniform.mjs';

const threads = numThreads();
const device = () => selected()?.device;
afterAll(() => setNumThreads(threads));

/** Numbers from -1 to 1 by seed. */
const random = (seed: number, ...dims: number[]) => {
  const next = uniformNumbers(seed);
  const size = dims.reduce((a, b) => a * b, 1);
  return new Tensor(
    'float32',
    Float32Array.from({ length: size }, () => 2 * next() - 1),
    dims,
  );
};

interface Drawn {
  batch: number;
  tokens: number;
  keys: number;
  kvHeads: number;
  group: number;
  headDim: number;
  valueDim: number;
  featureMap: 'identity' | 'elu1' | 'relu' | 'taylor2';
  normalize: boolean;
  causal: boolean;
  decay: 'none' | 'head' | 'token';
  seed: number;
  chunk: number;
}

const drawn: fc.Arbitrary<Drawn> = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  tokens: fc.integer({ min: 1, max: 150 }),
  keys: fc.integer({ min: 1, max: 80 }),
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 3 }),
  headDim: fc.integer({ min: 1, max: 20 }),
  valueDim: fc.integer({ min: 1, max: 70 }),
  featureMap: fc.constantFrom('identity' as const, 'elu1' as const, 'relu' as const, 'taylor2' as const),
  normalize: fc.boolean(),
  causal: fc.boolean(),
  decay: fc.constantFrom('none' as const, 'head' as const, 'token' as const),
  seed: fc.integer({ min: 1, max: 1e6 }),
  chunk: fc.integer({ min: 1, max: 100 }),
});

/** Tensors and options of a drawn call, and the same for the references. */
function callOf(d: Drawn) {
  // Sums of weights that cancel have no bound: they are normalised only where all weights are above 0.
  const normalize = d.normalize && (d.featureMap === 'elu1' || d.featureMap === 'taylor2');
  const keys = d.causal ? d.tokens : d.keys;
  const queryHeads = d.kvHeads * d.group;
  const q = random(d.seed, d.batch, d.tokens, queryHeads, d.headDim);
  const k = random(d.seed + 1, d.batch, keys, d.kvHeads, d.headDim);
  const v = random(d.seed + 2, d.batch, keys, d.kvHeads, d.valueDim);
  const kind = d.causal ? d.decay : 'none';
  const decays = random(d.seed + 3, d.batch, keys, d.kvHeads).data.map((x) => Math.min(0, x));
  const decay =
    kind === 'none'
      ? undefined
      : kind === 'head'
        ? new Tensor('float32', decays.slice(0, d.kvHeads), [d.kvHeads])
        : new Tensor('float32', decays, [d.batch, keys, d.kvHeads]);
  const options: LinearAttentionOptions = {
    featureMap: d.featureMap,
    normalize: normalize ? 'sum' : 'none',
    causal: d.causal,
    device: device(),
    ...(decay && { decay }),
  };
  const input: LinearInput = {
    batch: d.batch,
    queries: d.tokens,
    keys,
    queryHeads,
    kvHeads: d.kvHeads,
    headDim: d.headDim,
    valueDim: d.valueDim,
    q: q.data,
    k: k.data,
    v: v.data,
    featureMap: d.featureMap,
    normalize,
    eps: normalize ? 1e-6 : 0,
    causal: d.causal,
    ...(decay && {
      decay: (b: number, t: number, h: number) =>
        kind === 'head' ? decays[h] : decays[(b * keys + t) * d.kvHeads + h],
    }),
  };
  return { q, k, v, options, input };
}

function expectNumbers(got: ArrayLike<number>, want: ArrayLike<number>, bound: number): void {
  let largest = 1;
  for (let i = 0; i < want.length; i++) largest = Math.max(largest, Math.abs(want[i]));
  expect(got.length).toBe(want.length);
  for (let i = 0; i < want.length; i++) {
    if (!(Math.abs(got[i] - want[i]) <= bound * largest)) expect.fail(`element ${i}: ${got[i]}, not ${want[i]}`);
  }
}

onEveryBackend(() => {
  it('is what all pairs of a query and a key sum to, whatever the chunk', () => {
    expectForAll(drawn, 16, (d) => {
      const { q, k, v, options, input } = callOf(d);
      const want = linearQuadratic(input);
      expectNumbers(linearAttentionSync(q, k, v, options).out.data, want, 4e-6);
      expectNumbers(linearAttentionSync(q, k, v, { ...options, chunk: d.chunk }).out.data, want, 4e-6);
    });
  });

  it('is the recurrence', () => {
    expectForAll(drawn, 8, (d) => {
      const { q, k, v, options, input } = callOf({ ...d, causal: true, tokens: Math.min(d.tokens, 70) });
      expectNumbers(linearAttentionSync(q, k, v, options).out.data, linearRecurrent(input), 4e-6);
    });
  });

  it('of packed sequences is that of each, with a state for each', () => {
    const ends = [0, 1, 1, 64, 70, 200];
    const [q, k, v] = [random(7, 200, 4, 8), random(8, 200, 2, 8), random(9, 200, 2, 5)];
    const state = random(10, 5, 2, 8, 5);
    const decay = random(11, 200, 2);
    decay.data.forEach((x, i) => {
      decay.data[i] = -Math.abs(x);
    });
    const got = linearAttentionSync(q, k, v, { decay, state, cuSeqlens: ends, returnState: true, device: device() });
    for (let s = 0; s + 1 < ends.length; s++) {
      const part = (x: Tensor<'float32'>, row: number) => x.data.slice(ends[s] * row, ends[s + 1] * row);
      const tensor = (x: Tensor<'float32'>) => {
        const rest = x.dims.slice(1);
        return new Tensor(
          'float32',
          part(
            x,
            rest.reduce((a, b) => a * b, 1),
          ),
          [ends[s + 1] - ends[s], ...rest],
        );
      };
      const one = linearAttentionSync(tensor(q), tensor(k), tensor(v), {
        decay: tensor(decay),
        state: new Tensor('float32', state.data.slice(s * 80, s * 80 + 80), [1, 2, 8, 5]),
        returnState: true,
        device: device(),
      });
      expectNumbers(part(got.out, 20), one.out.data, 1e-6);
      expectNumbers((got.state as Tensor<'float32'>).data.slice(s * 80, s * 80 + 80), one.state?.data as never, 1e-6);
    }
  });

  it('steps to where a prefill arrives', () => {
    for (const featureMap of ['identity', 'taylor2'] as const) {
      const [q, k, v] = [random(12, 2, 70, 2, 9), random(13, 2, 70, 1, 9), random(14, 2, 70, 1, 33)];
      const options = { featureMap, normalize: featureMap === 'taylor2' ? 'sum' : 'none' } as const;
      const whole = linearAttentionSync(q, k, v, { ...options, decay: [-0.2], returnState: true, device: device() });
      const state = new LinearState({ ...options, sequences: 2, kvHeads: 1, headDim: 9, valueDim: 33 });
      for (let t = 0; t < 70; t++) {
        const at = (x: Tensor<'float32'>) => x.slice(1, t, t + 1);
        linearAttentionStepSync(at(q), at(k), at(v), state, { decay: [-0.2], device: device() });
      }
      expectNumbers(state.state.data, whole.state?.data as never, 4e-6);
    }
  });

  it('lets no later token reach an earlier row', () => {
    const [q, k, v] = [random(22, 1, 130, 1, 8), random(23, 1, 130, 1, 8), random(24, 1, 130, 1, 8)];
    const options = { decay: [-0.1], device: device() };
    const want = linearAttentionSync(q, k, v, options).out.data.slice(0, 100 * 8);
    for (const x of [q, k, v]) x.data.fill(Number.NaN, 100 * 8);
    expectNumbers(linearAttentionSync(q, k, v, options).out.data.slice(0, 100 * 8), want, 1e-6);
  });

  it('divides a long sequence into groups', () => {
    const keys = 4200;
    for (const causal of [true, false]) {
      const queries = causal ? keys : 90;
      const [q, k, v] = [random(28, 1, queries, 1, 8), random(29, 1, keys, 1, 8), random(30, 1, keys, 1, 8)];
      const featureMap = 'elu1';
      const sizes = { batch: 1, queries, keys, queryHeads: 1, kvHeads: 1, headDim: 8, valueDim: 8 };
      const input = {
        ...sizes,
        q: q.data,
        k: k.data,
        v: v.data,
        featureMap,
        causal,
        eps: 1e-6,
        normalize: true,
      } as const;
      const got = linearAttentionSync(q, k, v, { causal, featureMap, normalize: 'sum', device: device() });
      expectNumbers(got.out.data, causal ? linearRecurrent(input) : linearQuadratic(input), 4e-6);
    }
  });
});

onEveryCpu(() => {
  describe.each(dtypes)('%s', (type) => {
    it('rounds inputs and outputs, and nothing between', () => {
      const [q, k, v] = [random(1, 1, 70, 4, 24), random(2, 1, 70, 2, 24), random(3, 1, 70, 2, 40)].map((x) =>
        x.astype(type),
      );
      const options = { decay: [-0.1, -1], device: 'cpu' as const, returnState: true };
      const got = linearAttentionSync(q, k, v, options);
      const [fq, fk, fv] = [q, k, v].map((x) => x.astype('float32'));
      const want = linearAttentionSync(fq, fk, fv, options);
      expect(got.out.type).toBe(type);
      expect(got.state?.data).toEqual(want.state?.data);
      const numbers = got.out.astype('float32').data;
      const wrong = want.out.data.findIndex((x, i) => Math.abs(numbers[i] - x) > ulp(type, x) / 2);
      expect(wrong, 'the first element that differs').toBe(-1);
    });
  });

  it('has the same bits for any number of threads, whatever else is in the batch', () => {
    // Long enough for groups of chunks: one pass over them with one thread, two with several.
    const [q, k, v] = [random(4, 1, 5000, 2, 16), random(5, 1, 5000, 1, 16), random(6, 1, 5000, 1, 24)];
    for (const causal of [true, false]) {
      const options: LinearAttentionOptions = {
        device: 'cpu',
        causal,
        returnState: true,
        featureMap: 'elu1',
        normalize: 'sum',
        ...(causal && { decay: [-0.01] }),
      };
      const results = [1, 2, 5].map((count) => {
        setNumThreads(count);
        return linearAttentionSync(q, k, v, options);
      });
      setNumThreads(threads);
      for (const { out, state, normalizer } of results.slice(1)) {
        expect(isSame(out.data, results[0].out.data), 'out').toBe(true);
        expect(isSame(state!.data, results[0].state!.data), 'state').toBe(true);
        expect(isSame(normalizer!.data, results[0].normalizer!.data), 'normalizer').toBe(true);
      }
    }
  });
});

onEveryCpu(() => {
  // Heads beside each other take turns chunk by chunk, up to eight of them; rows of whole vectors are read where they are.
  describe.each(['identity', 'elu1', 'taylor2'] as const)('%s', (featureMap) => {
    const [tokens, kvHeads, dim, valueDim] = featureMap === 'taylor2' ? [200, 10, 16, 32] : [1100, 10, 32, 64];
    const [q, k, v] = [dim, dim, valueDim].map((size, i) =>
      random(40 + i, 1, tokens, i === 0 ? 2 * kvHeads : kvHeads, size),
    );
    const decay = Array.from({ length: kvHeads }, (_, h) => -h / 50);
    const options = { device: 'cpu', featureMap, normalize: 'sum', returnState: true } as const;
    /** The same numbers with elements of a row apart in memory. */
    const turned = (x: Tensor<'float32'>) => {
      const [, n, heads, size] = x.dims;
      const data = new Float32Array(x.size);
      for (let i = 0; i < x.size; i++) {
        const [d, h, token] = [i % size, Math.floor(i / size) % heads, Math.floor(i / size / heads)];
        data[(d * heads + h) * n + token] = x.data[i];
      }
      return new Tensor('float32', data, [1, size, heads, n]).transpose([0, 3, 2, 1]);
    };
    const headsOf = (x: Tensor<'float32'>, first: number, count: number) => {
      const [, n, heads, size] = x.dims;
      const at = (i: number) => (Math.floor(i / count / size) * heads + first) * size + (i % (count * size));
      const data = Float32Array.from({ length: n * count * size }, (_, i) => x.data[at(i)]);
      return new Tensor('float32', data, [1, n, count, size]);
    };

    it('computes a head beside others as it does alone', () => {
      const cuSeqlens = [0, 63, 64, tokens];
      const all = [1, 2, 3].map((count) => {
        setNumThreads(count);
        return linearAttentionSync(q, k, v, { ...options, decay, cuSeqlens });
      });
      setNumThreads(threads);
      for (const h of [0, 4, 9]) {
        const parts = [headsOf(q, 2 * h, 2), headsOf(k, h, 1), headsOf(v, h, 1)] as const;
        const alone = linearAttentionSync(...parts, { ...options, decay: [decay[h]], cuSeqlens });
        for (const { out, state } of all) {
          expect(isSame(headsOf(out, 2 * h, 2).data, alone.out.data), `out of ${h}`).toBe(true);
          const size = alone.state!.size / 3;
          for (let s = 0; s < 3; s++) {
            const got = state!.data.subarray((s * kvHeads + h) * size, (s * kvHeads + h + 1) * size);
            expect(isSame(got, alone.state!.data.subarray(s * size, (s + 1) * size)), `state of ${h}`).toBe(true);
          }
        }
      }
    });

    it('computes the same of rows in place and of those that are gathered', () => {
      const want = linearAttentionSync(q, k, v, { ...options, decay });
      const got = linearAttentionSync(turned(q), turned(k), turned(v), { ...options, decay });
      expect(isSame(got.out.data, want.out.data), 'out').toBe(true);
      expect(isSame(got.state!.data, want.state!.data), 'state').toBe(true);
      expect(isSame(got.normalizer!.data, want.normalizer!.data), 'normalizer').toBe(true);
    });
  });
});

it('is a running sum of values where all products are 1 and nothing decays', () => {
  const ones = (...dims: number[]) =>
    new Tensor('float32', new Float32Array(dims.reduce((a, b) => a * b)).fill(1), dims);
  const v = random(15, 1, 300, 1, 3);
  const { out } = linearAttentionSync(ones(1, 300, 1, 1), ones(1, 300, 1, 1), v, { device: 'cpu' });
  const sums = [0, 0, 0];
  const want = Array.from(v.data, (x, i) => (sums[i % 3] += x));
  expectNumbers(out.data, want, 2e-6);
});

it('gives permuted heads the same bits, permuted', () => {
  const [q, k, v] = [random(16, 1, 130, 3, 8), random(17, 1, 130, 3, 8), random(18, 1, 130, 3, 8)];
  const order = [2, 0, 1];
  const permuted = (x: Tensor<'float32'>) =>
    new Tensor(
      'float32',
      x.data.map((_, i) => x.data[Math.floor(i / 24) * 24 + order[Math.floor(i / 8) % 3] * 8 + (i % 8)]),
      [...x.dims],
    );
  const decay = [-0.5, 0, -0.01];
  const { out } = linearAttentionSync(q, k, v, { decay, device: 'cpu' });
  const got = linearAttentionSync(permuted(q), permuted(k), permuted(v), {
    decay: order.map((h) => decay[h]),
    device: 'cpu',
  });
  expect(got.out.data).toEqual(permuted(out).data);
});

it('takes any strides and both layouts', async () => {
  const [q, k, v] = [random(19, 2, 40, 4, 6), random(20, 2, 40, 2, 6), random(21, 2, 40, 2, 7)];
  const want = linearAttentionSync(q, k, v, { device: 'cpu' }).out;
  const [tq, tk, tv] = [q, k, v].map((x) => x.transpose([0, 2, 1, 3]));
  const got = await linearAttention(tq, tk, tv, { layout: 'bhnd', device: 'cpu' });
  expect(got.out.dims).toEqual([2, 4, 40, 7]);
  expect(got.out.transpose([0, 2, 1, 3]).contiguous().data).toEqual(want.data);
});

it('takes memory for states, not for pairs of tokens', () => {
  const [q, k, v] = [random(25, 1, 65536, 1, 32), random(26, 1, 65536, 1, 32), random(27, 1, 65536, 1, 32)];
  const out = Tensor.zeros('float32', [1, 65536, 1, 32]);
  const before = process.memoryUsage.rss();
  linearAttentionSync(q, k, v, { out, device: 'cpu' });
  // 64 groups of 4 KB and the threads' chunks; the pairs would take 16 GB.
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20);
});
