// Cumulative attention against numbers computed elsewhere (golden/ext-linear.json), on every backend, and its arguments.
// Reader: someone who runs Aaren.

import { afterAll, describe, expect, it } from 'vitest';
import {
  type CumulativeState,
  cumulativeAttention,
  cumulativeAttentionSync,
  numThreads,
  setNumThreads,
  Tensor,
} from '../../dist/index.js';
import { selected } from '../conformance/backends.js';
import { onEveryBackend } from '../conformance/suite.js';
import { dtypes, ulp } from '../references/half.js';
import { expectBoth } from '../support/expect-error.js';
import { casesOf, expectNear, extLinear, tokensOf } from '../support/ext-linear.js';
import { extOptions, extTensor } from '../support/ext-modifiers.js';
import { type ExtTensor, extNumbers } from '../support/ext-patterns.js';
import { isSame, tensor } from '../support/tensors.js';

interface CumulativeCase {
  name: string;
  dims: { tokens: number };
  scores: ExtTensor;
  v: ExtTensor;
  out: ExtTensor;
  lse: ExtTensor;
  state: Record<'max' | 'sum' | 'weighted', ExtTensor>;
  after?: { tokens: number; state: CumulativeCase['state'] }[];
}
const cases = casesOf('cumulativeAttention') as unknown as CumulativeCase[];

/** States are equal when their lse and their mean are. */
function expectState(got: CumulativeState<Tensor<'float32'>> | undefined, want: CumulativeCase['state']): void {
  const [max, sum, weighted] = [want.max, want.sum, want.weighted].map(extNumbers);
  const state = got as CumulativeState<Tensor<'float32'>>;
  const dim = weighted.length / max.length;
  max.forEach((m, i) => {
    const lse = state.max.data[i] + Math.log(state.sum.data[i]);
    expect(Math.abs(lse - m - Math.log(sum[i]))).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(m)));
    for (let d = i * dim; d < (i + 1) * dim; d++) {
      expect(Math.abs(state.weighted.data[d] / state.sum.data[i] - weighted[d] / sum[i])).toBeLessThanOrEqual(2e-6);
    }
  });
}

function expectLse(got: { readonly data: ArrayLike<number> } | undefined, want: ExtTensor): void {
  extNumbers(want).forEach((x, i) => {
    const lse = got?.data[i] as number;
    if (Number.isFinite(x)) expect(Math.abs(lse - x)).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(x)));
    else expect(lse).toBe(x);
  });
}

const device = () => selected()?.device;
const threads = numThreads();
afterAll(() => setNumThreads(threads));

/** The rule in float64, for scores [1, tokens, heads] and values [1, tokens, heads, dim]. */
function softmaxSoFar(scores: Tensor<'float32'>, v: Tensor<'float32'>): number[] {
  const [, tokens, heads, dim] = v.dims;
  return Array.from({ length: tokens * heads * dim }, (_, i) => {
    const [t, h, e] = [Math.floor(i / (heads * dim)), Math.floor(i / dim) % heads, i % dim];
    let [sum, weighted] = [0, 0];
    for (let j = 0; j <= t; j++) {
      const weight = Math.exp(scores.data[j * heads + h]);
      sum += weight;
      weighted += weight * v.data[(j * heads + h) * dim + e];
    }
    return weighted / sum;
  });
}

/** The same of one head, in time that grows with the tokens. */
function softmaxSoFarOfOne(scores: Tensor<'float32'>, v: Tensor<'float32'>): number[] {
  const dim = v.dims[3];
  const weighted = new Array(dim).fill(0);
  let sum = 0;
  return Array.from(scores.data).flatMap((score, t) => {
    const weight = Math.exp(score);
    sum += weight;
    return weighted.map((_, e) => {
      weighted[e] += weight * v.data[t * dim + e];
      return weighted[e] / sum;
    });
  });
}

onEveryBackend(() => {
  it.each(cases)('$name', ({ scores, v, out, lse, state }) => {
    const options = { returnState: true, returnLse: true, device: device() } as const;
    const got = cumulativeAttentionSync(extTensor(scores), extTensor(v), options);
    expectNear(got.out, out);
    expectLse(got.lse, lse);
    expectState(got.state, state);
  });

  it.each(cases.filter(({ after }) => after))('$name, from the state', ({ dims, scores, v, out, after = [] }) => {
    const split = after[0].tokens;
    const options = { returnState: true, device: device() } as const;
    let got = cumulativeAttentionSync(tokensOf(scores, 0, split), tokensOf(v, 0, split), options);
    expectState(got.state, after[0].state);
    const rows = [...got.out.data];
    for (let t = split; t < dims.tokens; t++) {
      const { state } = got;
      got = cumulativeAttentionSync(tokensOf(scores, t, t + 1), tokensOf(v, t, t + 1), { ...options, state });
      rows.push(...got.out.data);
    }
    expectNear({ data: rows }, out);
  });

  it.each(dtypes)('%s rounds inputs and outputs, and nothing between', (type) => {
    const [scores, v] = [tensor(1, 100, 2), tensor(1, 100, 2, 5).astype(type)];
    const got = cumulativeAttentionSync(scores, v, { device: device() }).out;
    const want = cumulativeAttentionSync(scores, v.astype('float32'), { device: device() }).out.data;
    const numbers = got.astype('float32').data;
    want.forEach((x, i) => {
      expect(Math.abs(numbers[i] - x)).toBeLessThanOrEqual(ulp(type, x) / 2);
    });
  });

  it('is the softmax of the scores so far over their values', () => {
    const [scores, v] = [tensor(1, 200, 3), tensor(1, 200, 3, 7)];
    const { out } = cumulativeAttentionSync(scores, v, { device: device() });
    softmaxSoFar(scores, v).forEach((x, i) => {
      expect(Math.abs(out.data[i] - x)).toBeLessThan(2e-6);
    });
  });

  it('gives the running mean for scores of 0, a mean of a thousand tokens too', () => {
    const v = tensor(1, 1000, 1, 3);
    const { out } = cumulativeAttentionSync(Tensor.zeros('float32', [1, 1000, 1]), v, { device: device() });
    const sums = [0, 0, 0];
    v.data.forEach((x, i) => {
      sums[i % 3] += x;
      expect(Math.abs(out.data[i] - sums[i % 3] / (Math.floor(i / 3) + 1))).toBeLessThan(1e-6);
    });
  });
});

it('never reads values whose score is -Infinity, nor those of later tokens', () => {
  const [scores, v] = [tensor(1, 90, 2), tensor(1, 90, 2, 4)];
  for (let i = 0; i < 180; i += 3) scores.data[i] = -Infinity;
  const want = cumulativeAttentionSync(scores, v, { device: 'cpu' }).out.data;
  for (let i = 0; i < 180; i += 3) v.data.fill(Number.NaN, i * 4, i * 4 + 4);
  expect(cumulativeAttentionSync(scores, v, { device: 'cpu' }).out.data).toEqual(want);
  v.data.fill(Number.NaN, 70 * 8);
  const early = cumulativeAttentionSync(scores, v, { device: 'cpu' }).out.data.slice(0, 70 * 8);
  expect(early).toEqual(want.slice(0, 70 * 8));
});

it('has the same bits for any number of threads, and leaves the state it is given as it is', () => {
  const [scores, v] = [tensor(2, 3000, 4), tensor(2, 3000, 4, 32)];
  const state = cumulativeAttentionSync(scores, v, { returnState: true, device: 'cpu' }).state;
  const before = state?.weighted.data.slice();
  const runs = [1, 2, 5].map((count) => {
    setNumThreads(count);
    return cumulativeAttentionSync(scores, v, { state, returnState: true, device: 'cpu' });
  });
  for (const { out, state: end } of runs.slice(1)) {
    expect(isSame(out.data, runs[0].out.data)).toBe(true);
    expect(end?.weighted.data).toEqual(runs[0].state?.weighted.data);
  }
  expect(state?.weighted.data).toEqual(before);
});

it('one head has the same bits where threads divide its tokens into groups, hidden ones and a state among them', () => {
  const [scores, v] = [tensor(1, 20_001, 1), tensor(1, 20_001, 1, 5)];
  scores.data.fill(-Infinity, 900, 3200);
  const state = cumulativeAttentionSync(tensor(1, 10, 1), tensor(1, 10, 1, 5), {
    returnState: true,
    device: 'cpu',
  }).state;
  const runs = [1, 2, 7].map((count) => {
    setNumThreads(count);
    const told = { state, returnState: true, returnLse: true, device: 'cpu' } as const;
    return [cumulativeAttentionSync(scores, v, told), cumulativeAttentionSync(scores, v, { device: 'cpu' })];
  });
  const [[whole, fresh]] = runs;
  for (const [got, without] of runs.slice(1)) {
    expect(isSame(got.out.data, whole.out.data)).toBe(true);
    expect(got.lse?.data).toEqual(whole.lse?.data);
    expect(got.state).toEqual(whole.state);
    expect(isSame(without.out.data, fresh.out.data)).toBe(true);
  }
  const errors = softmaxSoFarOfOne(scores, v).map((x, i) => Math.abs(fresh.out.data[i] - x));
  expect(errors.reduce((most, error) => Math.max(most, error), 0)).toBeLessThan(2e-6);
});

it('goes on from the state of no token, of which the maximum is -Infinity', () => {
  const [scores, v] = [tensor(1, 10, 2), tensor(1, 10, 2, 4)];
  const none = cumulativeAttentionSync(scores.slice(1, 0, 0), v.slice(1, 0, 0), { returnState: true, device: 'cpu' });
  expect([...(none.state?.max.data ?? [])]).toEqual([-Infinity, -Infinity]);
  const want = cumulativeAttentionSync(scores, v, { device: 'cpu' }).out.data;
  expect(cumulativeAttentionSync(scores, v, { state: none.state, device: 'cpu' }).out.data).toEqual(want);
});

it.each<[string, object, string, string]>([
  ['a state that is no object', { state: 3 }, 'ERR_TILEWISE_INVALID_OPTION', 'state'],
  ['a state without its sum', { state: { max: tensor(1, 2) } }, 'ERR_TILEWISE_INVALID_TENSOR', 'state.sum'],
  ['an unknown option', { causal: true }, 'ERR_TILEWISE_UNKNOWN_OPTION', 'causal'],
  ['an out of another shape', { out: tensor(1, 6, 2, 4) }, 'ERR_TILEWISE_SHAPE_MISMATCH', 'out'],
])('%s is refused', async (_, options, code, says) => {
  const [scores, v] = [tensor(1, 6, 2), tensor(1, 6, 2, 3)];
  await expectBoth(
    () => cumulativeAttentionSync(scores, v, options as never),
    () => cumulativeAttention(scores, v, options as never),
    { code: code as never, says: [says] },
  );
});

it('takes both layouts and tensors without a batch', async () => {
  const [scores, v] = [tensor(1, 70, 3), tensor(1, 70, 3, 4)];
  const want = cumulativeAttentionSync(scores, v, { device: 'cpu' }).out;
  const turned = v.transpose([0, 2, 1, 3]);
  const got = await cumulativeAttention(scores, turned, { layout: 'bhnd', device: 'cpu' });
  expect(got.out.transpose([0, 2, 1, 3]).contiguous().data).toEqual(want.data);
  const packed = cumulativeAttentionSync(scores.reshape([70, 3]), v.reshape([70, 3, 4]), {
    device: 'cpu',
    returnLse: true,
  });
  expect(packed.out.data).toEqual(want.data);
  expect(packed.lse?.dims).toEqual([3, 70]);
});

describe('what the golden file refuses', () => {
  const calls = extLinear.invalid.filter(({ op }) => op === 'cumulativeAttention');
  it.each(calls)('$name', async ({ options, names }) => {
    const { scores = tensor(1, 6, 2), state } = extOptions(options as Record<string, unknown>) as Record<string, never>;
    const parts = state as CumulativeCase['state'] | undefined;
    const given = parts && {
      state: { max: extTensor(parts.max), sum: extTensor(parts.sum), weighted: extTensor(parts.weighted) },
    };
    await expectBoth(
      () => cumulativeAttentionSync(scores, tensor(1, 6, 2, 3), given),
      () => cumulativeAttention(scores, tensor(1, 6, 2, 3), given),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: [names] },
    );
  });
});
