// Local linear attention and Parallax against numbers computed elsewhere (golden/ext-lla.json) and a direct solution in float64, on
// every backend; their laws and arguments. Reader: someone who changes the passes or the solver.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  attentionSync,
  localLinearAttention,
  localLinearAttentionSync,
  numThreads,
  parallaxAttention,
  parallaxAttentionSync,
  setNumThreads,
  Tensor,
} from '../../dist/index.js';
import { selected } from '../conformance/backends.js';
import { onEveryBackend } from '../conformance/suite.js';
import { dtypes, ulp } from '../references/half.js';
import { type LocalLinearInput, localLinear } from '../references/local-linear.js';
import { expectBoth } from '../support/expect-error.js';
import { extOptions, extTensor } from '../support/ext-modifiers.js';
import { type ExtInvalid, type ExtTensor, extNumbers } from '../support/ext-patterns.js';
import { readGolden } from '../support/golden.js';
import { expectForAll } from '../support/property.js';
import { isSame, tensor } from '../support/tensors.js';
import { uniformNumbers } from '../support/uniform.mjs';

interface LlaCase {
  name: string;
  op: string;
  options: { lambda: number; causal?: boolean; scale?: number };
  q: ExtTensor;
  k: ExtTensor;
  v: ExtTensor;
  r?: ExtTensor;
  out: ExtTensor;
  /** By the number of iterations. */
  cgErrors?: Record<string, number>;
  cgOut?: Record<string, ExtTensor>;
  float32Error?: number;
}

const golden = readGolden<{ cases: LlaCase[]; invalid: ExtInvalid[] }>('ext-lla');
const casesOf = (op: string) => golden.cases.filter((one) => one.op === op);
const threads = numThreads();
afterAll(() => setNumThreads(threads));

const worst = (got: ArrayLike<number>, want: ArrayLike<number>): number => {
  expect(got.length).toBe(want.length);
  let most = 0;
  for (let i = 0; i < want.length; i++) {
    const off = Math.abs(got[i] - want[i]);
    if (!(off <= most)) most = off; // NaN stays
  }
  return most;
};

/** Numbers from -1 to 1 by seed. */
function random(seed: number, ...dims: number[]): Tensor<'float32'> {
  const next = uniformNumbers(seed);
  const size = dims.reduce((a, b) => a * b, 1);
  return new Tensor(
    'float32',
    Float32Array.from({ length: size }, () => 2 * next() - 1),
    dims,
  );
}

const drawn = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  queries: fc.integer({ min: 1, max: 70 }),
  keys: fc.integer({ min: 1, max: 150 }),
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 3 }),
  headDim: fc.integer({ min: 1, max: 20 }),
  valueDim: fc.integer({ min: 1, max: 40 }),
  causal: fc.boolean(),
  isSolved: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

const device = () => selected()?.device;

onEveryBackend(() => {
  describe.each(casesOf('localLinearAttention'))('$name', (given) => {
    const tensors = [given.q, given.k, given.v].map(extTensor) as [Tensor, Tensor, Tensor];
    const want = extNumbers(given.out);
    const options = () => ({ ...given.options, device: device() });
    // As the file's notes have it.
    const bound = 4 * (given.float32Error ?? 0) + 2e-5;

    it('converges to the direct solution', () => {
      const { out } = localLinearAttentionSync(...tensors, options());
      expect(out.dims).toEqual(given.out.dims);
      expect(worst(out.data, want)).toBeLessThanOrEqual(bound);
    });

    it.each(Object.entries(given.cgErrors ?? {}))('stops after %s iterations', (count, error) => {
      const told = { ...options(), iterations: Number(count), tolerance: 0 };
      const { out } = localLinearAttentionSync(...tensors, told);
      expect(worst(out.data, want)).toBeLessThanOrEqual(1.05 * error + bound);
      const exact = given.cgOut?.[count];
      if (exact) expect(worst(out.data, extNumbers(exact))).toBeLessThanOrEqual(bound);
    });
  });

  it.each(casesOf('parallaxAttention'))('$name', (given) => {
    const [q, r, k, v] = [given.q, given.r as ExtTensor, given.k, given.v].map(extTensor);
    const { out } = parallaxAttentionSync(q, r, k, v, { ...given.options, device: device() });
    expect(out.dims).toEqual(given.out.dims);
    expect(worst(out.data, extNumbers(given.out))).toBeLessThanOrEqual(2e-5);
  });

  it('is the direct solution, or the correction that is given', () => {
    expectForAll(drawn, 24, ({ group, isSolved, seed, ...sizes }) => {
      const { batch, queries, keys, kvHeads, headDim, valueDim, causal } = sizes;
      const queryHeads = kvHeads * group;
      const q = random(seed, batch, queries, queryHeads, headDim);
      const r = random(seed + 1, batch, queries, queryHeads, headDim);
      const k = random(seed + 2, batch, keys, kvHeads, headDim);
      const v = random(seed + 3, batch, keys, kvHeads, valueDim);
      const common = { ...sizes, queryHeads, q: q.data, k: k.data, v: v.data, scale: 0.7 };
      const input: LocalLinearInput = isSolved ? { ...common, lambda: 0.3 } : { ...common, r: r.data };
      const options = { causal, scale: 0.7, device: device() };
      const { out } = isSolved
        ? localLinearAttentionSync(q, k, v, { ...options, lambda: 0.3 })
        : parallaxAttentionSync(q, r, k, v, options);
      expect(worst(out.data, localLinear(input))).toBeLessThanOrEqual(2e-5);
    });
  });

  it.each(dtypes)('%s rounds inputs and outputs, and nothing between', (type) => {
    const [q, k, v] = [random(1, 1, 70, 4, 24), random(2, 1, 70, 2, 24), random(3, 1, 70, 2, 40)].map((x) =>
      x.astype(type),
    );
    const options = { lambda: 1, device: device() };
    const got = localLinearAttentionSync(q, k, v, options).out;
    const [fq, fk, fv] = [q, k, v].map((x) => x.astype('float32'));
    const want = localLinearAttentionSync(fq, fk, fv, options).out.data;
    expect(got.type).toBe(type);
    const numbers = got.astype('float32').data;
    // GPUs multiply numbers in two parts then, which have 16 bits.
    const most = device() === 'cuda' ? 3e-5 : 0;
    expect(want.findIndex((x, i) => Math.abs(numbers[i] - x) > most + ulp(type, x) / 2)).toBe(-1);
  });

  it('lets no hidden key or value reach a row, NaN included', () => {
    const [q, r] = [random(4, 1, 90, 2, 8), random(5, 1, 90, 2, 8)];
    const [k, v] = [random(6, 1, 90, 1, 8), random(7, 1, 90, 1, 5)];
    const calls = () => [
      localLinearAttentionSync(q, k, v, { lambda: 0.5, device: device() }).out.data.slice(0, 50 * 10),
      parallaxAttentionSync(q, r, k, v, { device: device() }).out.data.slice(0, 50 * 10),
    ];
    const want = calls();
    k.data.fill(Number.NaN, 50 * 8);
    v.data.fill(Number.POSITIVE_INFINITY, 50 * 5);
    // GPUs add up other keys one by one beside them.
    const most = device() === 'cuda' ? 2e-6 : 0;
    for (const [i, got] of calls().entries()) expect(worst(got, want[i])).toBeLessThanOrEqual(most);
  });

  it('is softmax attention for a large lambda, and for a correction of 0', () => {
    const [q, k, v] = [random(8, 1, 80, 4, 16), random(9, 1, 80, 2, 16), random(10, 1, 80, 2, 16)];
    const want = attentionSync(q, k, v, { causal: true, device: device() }).out.data;
    const { out } = localLinearAttentionSync(q, k, v, { lambda: 1e9, device: device() });
    expect(worst(out.data, want)).toBeLessThan(2e-6);
    const zeros = Tensor.zeros('float32', [...q.dims]);
    expect(worst(parallaxAttentionSync(q, zeros, k, v, { device: device() }).out.data, want)).toBeLessThan(2e-6);
  });

  it('gives 0 where a query sees no key', () => {
    const [q, k, v] = [random(13, 1, 9, 1, 4), random(14, 1, 3, 1, 4), random(15, 1, 3, 1, 4)];
    const { out } = localLinearAttentionSync(q, k, v, { lambda: 1, device: device() });
    expect([...out.data.slice(0, 24)]).toEqual(new Array(24).fill(0));
    expect(out.data.slice(24, 28)).toEqual(v.data.slice(0, 4));
  });
});

it('is exact for values that are a line of the keys, where softmax is not', () => {
  const [q, k] = [random(11, 1, 60, 1, 4), random(12, 1, 60, 1, 4)];
  const line = [0.5, -1, 2, 0.25];
  const values = Array.from({ length: 60 }, (_, t) => 3 + line.reduce((sum, a, d) => sum + a * k.data[t * 4 + d], 0));
  const v = new Tensor('float32', Float32Array.from(values), [1, 60, 1, 1]);
  const { out } = localLinearAttentionSync(q, k, v, { lambda: 1e-4, causal: false, device: 'cpu' });
  const softmax = attentionSync(q, k, v, { device: 'cpu' }).out.data;
  const wanted = Array.from({ length: 60 }, (_, t) => 3 + line.reduce((sum, a, d) => sum + a * q.data[t * 4 + d], 0));
  expect(worst(out.data, wanted)).toBeLessThan(0.01);
  expect(worst(softmax, wanted)).toBeGreaterThan(1);
});

it('has the same bits for any number of threads, whatever other rows are in the call', () => {
  const [q, k, v] = [random(16, 1, 300, 3, 16), random(17, 1, 300, 3, 16), random(18, 1, 300, 3, 24)];
  const runs = [1, 2, 5].map((count) => {
    setNumThreads(count);
    return localLinearAttentionSync(q, k, v, { lambda: 0.2, device: 'cpu' }).out;
  });
  setNumThreads(threads);
  for (const out of runs.slice(1)) expect(isSame(out.data, runs[0].data)).toBe(true);
});

it('takes any strides and both layouts', async () => {
  const [q, k, v] = [random(19, 2, 40, 4, 6), random(20, 2, 40, 2, 6), random(21, 2, 40, 2, 7)];
  const want = localLinearAttentionSync(q, k, v, { lambda: 1, device: 'cpu' }).out;
  const [tq, tk, tv] = [q, k, v].map((x) => x.transpose([0, 2, 1, 3]));
  const got = await localLinearAttention(tq, tk, tv, { lambda: 1, layout: 'bhnd', device: 'cpu' });
  expect(got.out.dims).toEqual([2, 4, 40, 7]);
  expect(got.out.transpose([0, 2, 1, 3]).contiguous().data).toEqual(want.data);
});

it('computes weights anew where there is no room for them', () => {
  // 8 MB are the weights of 65536 keys for 32 rows.
  const [q, k, v] = [random(22, 1, 40, 1, 2), random(23, 1, 70_000, 1, 2), random(24, 1, 70_000, 1, 1)];
  const { out } = localLinearAttentionSync(q, k, v, { lambda: 0.1, device: 'cpu' });
  const sizes = { batch: 1, queries: 1, keys: 70_000, queryHeads: 1, kvHeads: 1, headDim: 2, valueDim: 1 };
  const last = { q: q.data.slice(78), k: k.data, v: v.data };
  const want = localLinear({ ...sizes, ...last, scale: 2 ** -0.5, causal: true, lambda: 0.1 });
  expect(Math.abs(out.data[39] - want[0])).toBeLessThan(1e-5);
});

describe('what the golden file refuses', () => {
  it.each(golden.invalid)('$name', async ({ op, options, dims, names }) => {
    const { queries, keys, queryHeads, kvHeads, headDim, valueDim } = dims;
    const [q, k] = [tensor(1, queries, queryHeads, headDim), tensor(1, keys, kvHeads, headDim)];
    const v = tensor(1, keys, kvHeads, valueDim);
    const { r = q, ...given } = extOptions(options) as Record<string, never>;
    const [sync, promised] =
      op === 'parallaxAttention'
        ? [() => parallaxAttentionSync(q, r, k, v, given), () => parallaxAttention(q, r, k, v, given)]
        : [
            () => localLinearAttentionSync(q, k, v, given as never),
            () => localLinearAttention(q, k, v, given as never),
          ];
    expect(sync).toThrow(expect.objectContaining({ code: expect.stringMatching(/^ERR_TILEWISE_/) }));
    expect(sync).toThrow(`\`${names}`);
    await expect(promised()).rejects.toThrow(`\`${names}`);
  });
});

const [q, k, v] = [tensor(1, 6, 4, 4), tensor(1, 6, 2, 4), tensor(1, 6, 2, 3)];
it.each<[string, unknown[], object, string, string]>([
  ['no lambda', [q, k, v], { lambda: undefined }, 'ERR_TILEWISE_INVALID_OPTION', 'lambda'],
  ['heads that do not divide', [q, tensor(1, 6, 3, 4), tensor(1, 6, 3, 3)], {}, 'ERR_TILEWISE_SHAPE_MISMATCH', 'heads'],
  ['another head dim', [q, tensor(1, 6, 2, 5), v], {}, 'ERR_TILEWISE_SHAPE_MISMATCH', 'dim'],
  ['keys of another type', [q, k.astype('float16'), v.astype('float16')], {}, 'ERR_TILEWISE_DTYPE', '`k`'],
  ['an out of another shape', [q, k, v], { out: tensor(1, 6, 4, 4) }, 'ERR_TILEWISE_SHAPE_MISMATCH', 'out'],
  ['a scale that is no number', [q, k, v], { scale: Number.NaN }, 'ERR_TILEWISE_INVALID_OPTION', 'scale'],
])('%s is refused', async (_, [a, b, c], given, code, says) => {
  const options = { lambda: 1, ...given };
  await expectBoth(
    () => localLinearAttentionSync(a as never, b as never, c as never, options),
    () => localLinearAttention(a as never, b as never, c as never, options),
    { code: code as never, says: [says] },
  );
});

it('a call that is cancelled before it runs rejects with the reason', async () => {
  const signal = AbortSignal.abort('enough');
  await expect(localLinearAttention(q, k, v, { lambda: 1, signal })).rejects.toBe('enough');
});
