// The gated delta rule against numbers computed elsewhere (golden/ext-linear.json) and a recurrence in float64, on every
// backend; its laws and its arguments. Reader: someone who ports Qwen3-Next or another delta layer.

import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import {
  type GatedDeltaOptions,
  gatedDelta,
  gatedDeltaSync,
  numThreads,
  setNumThreads,
  Tensor,
} from '../../dist/index.js';
import { selected } from '../conformance/backends.js';
import { onEveryBackend } from '../conformance/suite.js';
import { gatedDeltaRecurrent } from '../references/delta.js';
import { dtypes, ulp } from '../references/half.js';
import { expectBoth } from '../support/expect-error.js';
import { casesOf, expectNear, type LinearCase, onEveryCpu, tokensOf } from '../support/ext-linear.js';
import { extTensor } from '../support/ext-modifiers.js';
import type { ExtTensor } from '../support/ext-patterns.js';
import { expectForAll } from '../support/property.js';
import { isSame, tensor } from '../support/tensors.js';
import { uniformNumbers } from '../support/uniform.mjs';

type DeltaCase = LinearCase & { readonly beta: ExtTensor };
const cases = casesOf('gatedDelta') as DeltaCase[];
const device = () => selected()?.device;
const threads = numThreads();
afterAll(() => setNumThreads(threads));

/** Numbers from `low` to `high` by seed. */
function random(seed: number, dims: number[], low = -1, high = 1): Tensor<'float32'> {
  const next = uniformNumbers(seed);
  const size = dims.reduce((a, b) => a * b, 1);
  return new Tensor(
    'float32',
    Float32Array.from({ length: size }, () => low + (high - low) * next()),
    dims,
  );
}

interface Sizes {
  batch: number;
  tokens: number;
  queryHeads: number;
  keyHeads: number;
  valueHeads: number;
  headDim: number;
  valueDim: number;
}

/** A call as a layer makes it: keys of length 1, beta from 0 to 1. */
function callOf(sizes: Sizes, seed: number, hasDecay = true) {
  const { batch, tokens, queryHeads, keyHeads, valueHeads, headDim, valueDim } = sizes;
  const options: GatedDeltaOptions = {
    beta: random(seed + 3, [batch, tokens, valueHeads], 0, 1),
    ...(hasDecay && { decay: random(seed + 4, [batch, tokens, valueHeads], -1, 0) }),
    qkL2norm: true,
    device: device(),
  };
  const q = random(seed, [batch, tokens, queryHeads, headDim]);
  const k = random(seed + 1, [batch, tokens, keyHeads, headDim]);
  const v = random(seed + 2, [batch, tokens, valueHeads, valueDim]);
  return { q, k, v, options };
}

function expectNumbers(got: ArrayLike<number>, want: ArrayLike<number>, bound: number): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < want.length; i++) {
    if (!(Math.abs(got[i] - want[i]) <= bound)) expect.fail(`element ${i}: ${got[i]}, not ${want[i]}`);
  }
}

/** Of queries, keys and values. */
const heads: [number, number, number][] = [
  [1, 1, 1],
  [2, 2, 2],
  [2, 2, 4],
  [1, 2, 4],
  [4, 1, 2],
  [6, 3, 3],
];

const drawn = fc.record({
  sizes: fc.record({
    batch: fc.integer({ min: 1, max: 2 }),
    tokens: fc.integer({ min: 1, max: 140 }),
    heads: fc.constantFrom(...heads),
    headDim: fc.integer({ min: 1, max: 20 }),
    valueDim: fc.integer({ min: 1, max: 70 }),
  }),
  hasDecay: fc.boolean(),
  chunk: fc.integer({ min: 1, max: 100 }),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

onEveryBackend(() => {
  it.each(cases)('$name', (given) => {
    const options = {
      ...(given.options as { scale: number }),
      beta: extTensor(given.beta),
      ...(given.decay && { decay: extTensor(given.decay) }),
      ...(given.stateIn && { state: extTensor(given.stateIn) }),
      returnState: true,
      device: device(),
    } as const;
    const { out, state } = gatedDeltaSync(extTensor(given.q), extTensor(given.k), extTensor(given.v), options);
    expect(out.dims).toEqual(given.out.dims);
    expectNear(out, given.out);
    expectNear(state as Tensor<'float32'>, given.state as ExtTensor);
  });

  it.each(cases)('$name, token by token', (given) => {
    const { batch, queries, kvHeads, headDim, valueDim } = given.dims;
    const state = given.stateIn
      ? extTensor(given.stateIn)
      : Tensor.zeros('float32', [batch, kvHeads, headDim, valueDim]);
    const rows: number[] = [];
    for (let t = 0; t < queries; t++) {
      const at = (x: ExtTensor) => tokensOf(x, t, t + 1);
      const step = { beta: at(given.beta), decay: given.decay && at(given.decay), state, updateState: true } as const;
      const { scale } = given.options as { scale: number };
      const { out } = gatedDeltaSync(at(given.q), at(given.k), at(given.v), { ...step, scale, device: device() });
      const row = out.size / batch;
      out.data.forEach((x, i) => {
        rows[(Math.floor(i / row) * queries + t) * row + (i % row)] = x;
      });
    }
    expectNear({ data: rows }, given.out);
    expectNear(state, given.state as ExtTensor);
  });

  it('is the recurrence, whatever the chunk', () => {
    expectForAll(drawn, 16, ({ sizes: { heads: counts, ...rest }, hasDecay, chunk, seed }) => {
      const [queryHeads, keyHeads, valueHeads] = counts;
      const sizes = { ...rest, queryHeads, keyHeads, valueHeads };
      const { q, k, v, options } = callOf(sizes, seed, hasDecay);
      const numbers = { q: q.data, k: k.data, v: v.data, beta: (options.beta as Tensor<'float32'>).data };
      const decay = (options.decay as Tensor<'float32'> | undefined)?.data;
      const scale = sizes.headDim ** -0.5;
      const want = gatedDeltaRecurrent({ ...sizes, ...numbers, decay, scale, hasUnitRows: true });
      for (const given of [options, { ...options, chunk }]) {
        const { out, state } = gatedDeltaSync(q, k, v, { ...given, returnState: true });
        expectNumbers(out.data, want.out, 1e-5);
        expectNumbers((state as Tensor<'float32'>).data, want.state, 1e-5);
      }
    });
  });

  it('of packed sequences is that of each, with a state for each', () => {
    const ends = [0, 1, 1, 64, 70, 200];
    const sizes = { batch: 1, tokens: 200, queryHeads: 2, keyHeads: 1, valueHeads: 2, headDim: 8, valueDim: 5 };
    const { q, k, v, options } = callOf(sizes, 7);
    const state = random(8, [5, 2, 8, 5]);
    const got = gatedDeltaSync(q, k, v, { ...options, state, cuSeqlens: ends, returnState: true });
    for (let s = 0; s + 1 < ends.length; s++) {
      const part = (x: unknown) => (x as Tensor<'float32'>).slice(1, ends[s], ends[s + 1]);
      const one = gatedDeltaSync(part(q), part(k), part(v), {
        ...options,
        beta: part(options.beta),
        decay: part(options.decay),
        state: state.slice(0, s, s + 1),
        returnState: true,
      });
      expect(got.out.slice(1, ends[s], ends[s + 1]).contiguous().data).toEqual(one.out.data);
      expect(got.state?.slice(0, s, s + 1).contiguous().data).toEqual(one.state?.data);
    }
  });
});

onEveryCpu(() => {
  it.each(dtypes)('%s rounds inputs and outputs, and nothing between', (type) => {
    const sizes = { batch: 1, tokens: 70, queryHeads: 2, keyHeads: 2, valueHeads: 4, headDim: 24, valueDim: 40 };
    const { q, k, v, options } = callOf(sizes, 5);
    const [hq, hk, hv] = [q, k, v].map((x) => x.astype(type));
    const got = gatedDeltaSync(hq, hk, hv, { ...options, returnState: true });
    const [fq, fk, fv] = [hq, hk, hv].map((x) => x.astype('float32'));
    const want = gatedDeltaSync(fq, fk, fv, { ...options, returnState: true });
    expect(got.out.type).toBe(type);
    expect(got.state?.data).toEqual(want.state?.data);
    const numbers = got.out.astype('float32').data;
    expect(want.out.data.findIndex((x, i) => Math.abs(numbers[i] - x) > ulp(type, x) / 2)).toBe(-1);
  });

  it('has the same bits for any number of threads', () => {
    const sizes = { batch: 1, tokens: 300, queryHeads: 1, keyHeads: 1, valueHeads: 2, headDim: 32, valueDim: 200 };
    const { q, k, v, options } = callOf(sizes, 6);
    const runs = [1, 2, 5, 16].map((count) => {
      setNumThreads(count);
      return gatedDeltaSync(q, k, v, { ...options, returnState: true });
    });
    setNumThreads(threads);
    for (const { out, state } of runs.slice(1)) {
      expect(isSame(out.data, runs[0].out.data), 'out').toBe(true);
      expect(isSame(state!.data, runs[0].state!.data), 'state').toBe(true);
    }
  });
});

const small = { batch: 1, tokens: 6, queryHeads: 2, keyHeads: 2, valueHeads: 2, headDim: 4, valueDim: 3 };

it('recalls the values of orthogonal keys exactly, and replaces what a key led to', () => {
  const keys = new Tensor('float32', Float32Array.of(1, 0, 0, 1, 1, 0, 1, 0, 0, 1), [5, 1, 2]);
  const v = new Tensor('float32', Float32Array.of(3, 5, 7, 0, 0), [5, 1, 1]);
  const beta = new Tensor('float32', Float32Array.of(1, 1, 1, 0, 0), [5, 1]);
  const { out } = gatedDeltaSync(keys, keys, v, { beta, scale: 1, device: 'cpu' });
  expect([...out.data]).toEqual([3, 5, 7, 7, 5]);
});

it('lets no later token reach an earlier row', () => {
  const { q, k, v, options: given } = callOf({ ...small, tokens: 130 }, 9);
  const options = { ...given, device: 'cpu' as const };
  const want = gatedDeltaSync(q, k, v, options).out.data.slice(0, 100 * 6);
  for (const x of [q, k, v]) x.data.fill(Number.NaN, 100 * (x.size / 130));
  expect(gatedDeltaSync(q, k, v, options).out.data.slice(0, 100 * 6)).toEqual(want);
});

it('takes any strides and both layouts', async () => {
  const { q, k, v, options } = callOf({ ...small, batch: 2, tokens: 40 }, 10);
  const want = gatedDeltaSync(q, k, v, options).out;
  const [tq, tk, tv] = [q, k, v].map((x) => x.transpose([0, 2, 1, 3]));
  const got = await gatedDelta(tq, tk, tv, { ...options, layout: 'bhnd' });
  expect(got.out.dims).toEqual([2, 2, 40, 3]);
  expect(got.out.transpose([0, 2, 1, 3]).contiguous().data).toEqual(want.data);
});

it('overwrites the state it is told to, and leases it while it runs', async () => {
  const { q, k, v, options } = callOf(small, 11);
  const state = random(12, [1, 2, 4, 3]);
  const before = state.data.slice();
  const want = gatedDeltaSync(q, k, v, { ...options, state, returnState: true });
  expect(state.data).toEqual(before);
  const call = gatedDelta(q, k, v, { ...options, state, updateState: true });
  expect(() => gatedDeltaSync(q, k, v, { ...options, state })).toThrow('still running');
  const { out } = await call;
  expect(out.data).toEqual(want.out.data);
  expect(state.data).toEqual(want.state?.data);
});

const option = 'ERR_TILEWISE_INVALID_OPTION';
const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH';
it.each<[string, object, string, string]>([
  ['no beta', { beta: undefined }, option, 'beta'],
  ['a beta of other heads', { beta: tensor(1, 6, 3) }, mismatch, 'beta'],
  ['a beta per head', { beta: tensor(2) }, mismatch, 'beta'],
  ['a decay above 0', { decay: [0.5, 0] }, option, 'decay'],
  ['a decay of other tokens', { decay: tensor(1, 5, 2) }, mismatch, 'decay'],
  ['a state of other dims', { state: tensor(1, 2, 3, 4) }, mismatch, 'state'],
  ['an update without a state', { updateState: true }, option, 'state'],
  ['an update with a new state', { state: tensor(1, 2, 4, 3), updateState: true, returnState: true }, option, 'return'],
  ['a chunk of 0', { chunk: 0 }, option, 'chunk'],
  ['a scale that is no number', { scale: Number.NaN }, option, 'scale'],
  ['an unknown option', { causal: true }, 'ERR_TILEWISE_UNKNOWN_OPTION', 'causal'],
  ['totals that end early', { cuSeqlens: [0, 5] }, option, 'cuSeqlens'],
])('%s is refused', async (_, given, code, says) => {
  const { q, k, v, options } = callOf(small, 13);
  await expectBoth(
    () => gatedDeltaSync(q, k, v, { ...options, ...given }),
    () => gatedDelta(q, k, v, { ...options, ...given }),
    { code: code as never, says: [says] },
  );
});

it('refuses heads that do not divide, and tokens that differ', () => {
  const call = (queryHeads: number, keyHeads: number, tokens = 6) => {
    const { q, v, options } = callOf({ ...small, queryHeads, valueHeads: 4 }, 14);
    return () => gatedDeltaSync(q, random(15, [1, tokens, keyHeads, 4]), v, options);
  };
  for (const wrong of [call(3, 2), call(2, 3), call(2, 2, 5)]) {
    expect(wrong).toThrow(expect.objectContaining({ code: mismatch }));
  }
});
