// Recipes against numbers computed elsewhere (golden/ext-modifiers.json): Combiner, Titans' branches of attention, mediators, clusters,
// gathered keys, and dims of values that are not those of keys. Reader: someone who asks whether a paper's op is these calls.

import { expect, it } from 'vitest';
import {
  type AttentionOptions,
  attentionSlices,
  attentionSync,
  combinerAttentionSync,
  documents,
  slidingWindow,
  Tensor,
} from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { extModifiers, extTensor, type ModifierCase } from '../support/ext-modifiers.js';
import { type ExtTensor, extNumbers } from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';

const of = (op: string, isOne: (c: ModifierCase) => boolean = () => true) =>
  extModifiers.cases.filter((c) => c.op === op && isOne(c));
const qkv = (c: ModifierCase) => [c.q, c.k, c.v].map((one) => extTensor(one)) as [Tensor, Tensor, Tensor];

/** The tokens of a tensor [1, tokens, heads, dim] that are named, of one head if one is. */
function gathered(x: Tensor, tokens: readonly number[], head?: number): Tensor {
  const one = head === undefined ? x : x.slice(2, head, head + 1);
  const rows = tokens.map((token) => [...one.slice(1, token, token + 1).contiguous().data].map(Number));
  return new Tensor('float32', Float32Array.from(rows.flat()), [1, tokens.length, one.dims[2], one.dims[3]]);
}

function expectCase(c: ModifierCase, result: object): void {
  const { out, lse } = result as { out: Tensor<'float32'>; lse: Tensor<'float32'> };
  expectClose(out.data, extNumbers(c.out), 5);
  expectClose(lse.data, extNumbers(c.lse), 5);
}

interface GoldenPattern {
  kind: string;
  cuSeqlens?: number[];
  slices?: Parameters<typeof attentionSlices>[0];
  window?: number[];
}

/** The pattern of Titans' branches, as the file writes it: a window counts the query's own token. */
function patternOf({ kind, cuSeqlens, slices, window }: GoldenPattern): AttentionOptions['pattern'] {
  if (cuSeqlens) return documents({ lengths: cuSeqlens.slice(1).map((end, i) => end - cuSeqlens[i]), causal: true });
  if (slices) return attentionSlices(slices);
  if (kind === 'windowSink' && window) return slidingWindow({ recentTokens: window[0] });
  throw new Error(`no pattern of kind ${kind}`);
}

interface Cluster {
  queries: number[];
  keys: number[];
}

onEveryBackend(({ device }) => {
  it.each(of('combinerAttention'))('$name', (c) => {
    const [q, k, v] = qkv(c);
    const { segment, pool } = c.options as { segment: number; pool: string };
    const [keys, values] = [c.summaryKeys, c.summaryValues].map((one) => extTensor(one as ExtTensor));
    // The file lists a summary of the last segment, too, which nobody sees.
    const summaries = { summaryKeys: keys.slice(1, 0, -1), summaryValues: values.slice(1, 0, -1) };
    expectCase(c, combinerAttentionSync(q, k, v, { segment, ...summaries, device }));
    if (pool === 'mean') expectCase(c, combinerAttentionSync(q, k, v, { segment, device }));
  });

  it.each(of('attention', ({ name }) => name.startsWith('Titans')))('$name', (c) => {
    const [q, k, v] = qkv(c);
    const [extraKeys, extraValues] = [c.extraKeys, c.extraValues].map((one) => extTensor(one as ExtTensor));
    const pattern = patternOf(c.options.pattern as unknown as GoldenPattern);
    expectCase(c, attentionSync(q, k, v, { pattern, extraKeys, extraValues, returnLse: true, device }));
  });

  it.each(of('recipe:mediator'))('$name', (c) => {
    const [q, k, v] = qkv(c);
    const mediators = extTensor(c.mediators as ExtTensor);
    const mediated = attentionSync(mediators, k, v, { device }).out;
    expectClose(mediated.data, extNumbers(c.mediated as ExtTensor), 5);
    expectCase(c, attentionSync(q, mediators, mediated, { returnLse: true, device }));
  });

  it.each(of('recipe:routing'))('$name', (c) => {
    const [q, k, v] = qkv(c);
    const { causal, clusters } = c.options as unknown as { causal: boolean; clusters: Cluster[][] };
    const [, tokens, heads, valueDim] = c.out.dims;
    const sums = new Float64Array(tokens * heads * valueDim);
    const counts = clusters.map(() => new Array<number>(tokens).fill(0));
    clusters.forEach((ofHead, head) => {
      for (const cluster of ofHead) {
        // Positions ascend; who is in a cluster is no matter of order.
        const [queries, keys] = [cluster.queries, cluster.keys].map((list) => list.toSorted((a, b) => a - b));
        const { out } = attentionSync(gathered(q, queries, head), gathered(k, keys, head), gathered(v, keys, head), {
          ...(causal && { causal, positions: { queries, keys } }),
          device,
        });
        queries.forEach((token, i) => {
          ++counts[head][token];
          for (let d = 0; d < valueDim; ++d) sums[(token * heads + head) * valueDim + d] += out.data[i * valueDim + d];
        });
      }
    });
    expect(counts).toEqual(c.counts);
    const means = sums.map((sum, i) => {
      const row = Math.floor(i / valueDim);
      return sum / Math.max(1, counts[row % heads][Math.floor(row / heads)]);
    });
    expectClose(Float32Array.from(means), extNumbers(c.out), 5);
  });

  it.each(of('recipe:gather'))('$name', (c) => {
    const [q, k, v] = qkv(c);
    const { keyIndices } = c.options as { keyIndices: number[] };
    expectCase(c, attentionSync(q, gathered(k, keyIndices), gathered(v, keyIndices), { returnLse: true, device }));
  });

  // Head dims above 512 run on the CPU.
  const ofDims = of('attention', ({ name }) => /^(value dim|head dim)/.test(name));
  it.each(ofDims)('$name', (c) => {
    const { causal } = c.options as { causal?: boolean };
    const on = c.dims.headDim > 512 ? 'cpu' : device;
    expectCase(c, attentionSync(...qkv(c), { causal, returnLse: true, device: on }));
  });

  it.each(of('attention', ({ name }) => name.startsWith('memory bank')))('$name', (c) => {
    const [q, bank] = [extTensor(c.q), extTensor(c.k)];
    // One bank for all batch entries: a view of which each is the same.
    const dims = [c.dims.batch, ...bank.dims.slice(1)];
    const all = new Tensor('float32', bank.data, dims, { strides: [0, ...bank.strides.slice(1)] });
    expectCase(c, attentionSync(q, all, all, { scale: 1, returnLse: true, device }));
  });
});
