// What lies in memory around an operand is no part of a result: between NaN an operand gives the bits that it gives between
// zeros. Reader: someone who changed how rows are read. Dims of 8 are a whole vector of some processors and half a
// vector of others; a loop that takes one for the other reads behind the last row.

import { expect, it } from 'vitest';
import {
  attentionStatsSync,
  attentionSync,
  blockMeanTopKSync,
  cumulativeAttentionSync,
  gatedDeltaSync,
  linearAttentionSync,
  localLinearAttentionSync,
  parallaxAttentionSync,
  questPageScoresSync,
  rotateSync,
  snapKVSync,
  Tensor,
} from '../../dist/index.js';
import { selected } from '../conformance/backends.js';
import { Random } from '../conformance/random.js';
import { onEveryBackend } from '../conformance/suite.js';

const around = 512; // elements on each side

/** Operands amid `value`, the same numbers for the same seed. */
type Make = (seed: number, ...dims: number[]) => Tensor<'float32'>;

const amid =
  (value: number): Make =>
  (seed, ...dims) => {
    const size = dims.reduce((product, length) => product * length, 1);
    const data = new Float32Array(size + 2 * around).fill(value);
    const random = new Random(seed);
    for (let i = 0; i < size; i++) data[around + i] = random.normal() / 4;
    return new Tensor('float32', data.subarray(around, around + size), dims);
  };

const heads = 2;
const keys = 70;

/** Operands [1, tokens, heads, dim]; 1, 3 and 40 queries take different loops. */
function resultsOf(make: Make, queries: number, dim: number): Record<string, unknown> {
  const device = selected()?.device;
  const q = make(1, 1, queries, heads, dim);
  const [k, v, r] = [2, 3, 4].map((seed) => make(seed, 1, keys, heads, dim));
  const [qs, ks, vs] = [5, 6, 7].map((seed) => make(seed, 1, queries, heads, dim));
  const want = ['keySum', 'keySumOverQueries', 'keyMaxOverHeads', 'blockSum', 'diagSum', 'probs', 'rowTopK'] as const;
  return {
    attention: attentionSync(q, k, v, { device, returnLse: true }),
    cosine: attentionSync(q, k, v, { device, similarity: 'cosine' }),
    stats: attentionStatsSync(q, k, { device, want, rowTopK: 3, blockSum: [4, 16], causal: true }),
    linear: linearAttentionSync(qs, ks, vs, { device, featureMap: 'elu1', decay: [-0.1, -0.2], returnState: true }),
    taylor2: dim <= 24 && linearAttentionSync(qs, ks, vs, { device, featureMap: 'taylor2' }),
    gatedDelta: gatedDeltaSync(qs, ks, vs, { device, beta: make(8, 1, queries, heads), returnState: true }),
    localLinear: localLinearAttentionSync(qs, ks, vs, { device, lambda: 1 }),
    parallax: parallaxAttentionSync(qs, make(9, 1, queries, heads, dim), ks, vs, { device }),
    cumulative: cumulativeAttentionSync(make(10, 1, queries, heads), vs, { device }),
    rotary: rotateSync(k, { device }),
    quest: questPageScoresSync(make(12, 1, 1, heads, dim), k, { device, pageSize: 16, pages: 3 }),
    snapKv: snapKVSync(k, r, { device, window: 8, capacity: 24 }),
    blockMeans: blockMeanTopKSync(k, r, { device, blockSize: 16, topK: 3 }),
  };
}

onEveryBackend(() => {
  it.each([1, 3, 40].flatMap((queries) => [8, 20, 24, 40, 64].map((dim) => [queries, dim])))(
    '%i queries of %i dims are alone in the world',
    (queries, dim) => {
      expect(resultsOf(amid(Number.NaN), queries, dim)).toEqual(resultsOf(amid(0), queries, dim));
    },
  );
});
