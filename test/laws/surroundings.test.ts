// What lies in memory around an operand is no part of a result: between NaN an operand gives the bits that it gives between
// zeros, and at the end of memory it does not end the process. Reader: someone who changed how rows are read. Dims of 8 are a
// whole vector of some processors and half a vector of others; a loop that takes one for the other reads behind the last row.

import { expect, it } from 'vitest';
import {
  attentionStatsSync,
  attentionSync,
  blockMeanTopKSync,
  cumulativeAttentionSync,
  type FloatType,
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
import { sample } from '../support/sample.js';

const around = 512; // elements on each side

/** Operands of a type, the same numbers for the same seed. */
type Make = (type: FloatType, seed: number, ...dims: number[]) => Tensor;

/** The numbers of an operand as its type has them, with `around` elements of another value on each side. */
function numbersAmid(
  value: number,
  type: FloatType,
  seed: number,
  dims: readonly number[],
): Float32Array | Uint16Array {
  const size = dims.reduce((product, length) => product * length, 1);
  const data = new Float32Array(size + 2 * around).fill(value);
  const random = new Random(seed);
  for (let i = 0; i < size; i++) data[around + i] = random.normal() / 4;
  return new Tensor('float32', data, [data.length]).astype(type).data as Float32Array | Uint16Array;
}

const amid =
  (value: number): Make =>
  (type, seed, ...dims) =>
    new Tensor(type, numbersAmid(value, type, seed, dims).subarray(around, -around) as never, dims);

/** Behind the last byte of a WebAssembly.Memory come pages that nobody may read. One memory per seed. */
const memories = new Map<number, ArrayBuffer>();
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: { Memory: new (o: object) => { buffer: ArrayBuffer } };
};
const atTheEnd: Make = (type, seed, ...dims) => {
  const numbers = numbersAmid(0, type, seed, dims).subarray(around, -around);
  const buffer = memories.get(seed) ?? new WebAssembly.Memory({ initial: 1 }).buffer;
  memories.set(seed, buffer);
  const Data = numbers.constructor as Float32ArrayConstructor;
  const data = new Data(buffer, buffer.byteLength - numbers.byteLength, numbers.length);
  data.set(numbers);
  return new Tensor(type, data as never, dims);
};

const heads = 2;
const keys = 70;

/** Operands [1, tokens, heads, dim]; 1, 3 and 40 queries take different loops. */
function resultsOf(make: Make, type: FloatType, queries: number, dim: number): Record<string, unknown> {
  const device = selected()?.device;
  const rows = (seed: number, tokens: number) => make(type, seed, 1, tokens, heads, dim);
  const numbers = (seed: number, ...dims: number[]) => make('float32', seed, ...dims) as Tensor<'float32'>;
  const q = rows(1, queries);
  const [k, v, r] = [2, 3, 4].map((seed) => rows(seed, keys));
  const [qs, ks, vs] = [5, 6, 7].map((seed) => rows(seed, queries));
  const want = ['keySum', 'keySumOverQueries', 'keyMaxOverHeads', 'blockSum', 'diagSum', 'probs', 'rowTopK'] as const;
  return {
    attention: attentionSync(q, k, v, { device, returnLse: true }),
    cosine: attentionSync(q, k, v, { device, similarity: 'cosine' }),
    stats: attentionStatsSync(q, k, { device, want, rowTopK: 3, blockSum: [4, 16], causal: true }),
    linear: linearAttentionSync(qs, ks, vs, { device, featureMap: 'elu1', decay: [-0.1, -0.2], returnState: true }),
    taylor2: dim <= 24 && linearAttentionSync(qs, ks, vs, { device, featureMap: 'taylor2' }),
    gatedDelta: gatedDeltaSync(qs, ks, vs, { device, beta: numbers(8, 1, queries, heads), returnState: true }),
    localLinear: localLinearAttentionSync(qs, ks, vs, { device, lambda: 1, iterations: 3 }),
    parallax: parallaxAttentionSync(qs, rows(9, queries), ks, vs, { device }),
    cumulative: cumulativeAttentionSync(numbers(10, 1, queries, heads), vs, { device }),
    rotary: rotateSync(k, { device }),
    quest: questPageScoresSync(rows(12, 1), k, { device, pageSize: 16, pages: 3 }),
    snapKv: snapKVSync(k, r, { device, window: 8, capacity: 24 }),
    blockMeans: blockMeanTopKSync(k, r, { device, blockSize: 16, topK: 3 }),
  };
}

/** 16-bit rows are converted by the same loops, whatever the op: fewer dims will do. */
const shapes = [1, 3, 40].flatMap((queries) =>
  [8, 20, 24, 40, 64].flatMap((dim) =>
    (dim === 8 || dim === 40 ? (['float32', 'float16'] as const) : (['float32'] as const)).map(
      (type) => [queries, dim, type] as const,
    ),
  ),
);

onEveryBackend(({ device }) => {
  it.each(sample(shapes))('%i queries of %i dims, %s, are alone in the world', (queries, dim, type) => {
    const alone = resultsOf(amid(0), type, queries, dim);
    expect(resultsOf(amid(Number.NaN), type, queries, dim)).toEqual(alone);
    if (device === 'cpu' && dim < 64) expect(resultsOf(atTheEnd, type, queries, dim)).toEqual(alone);
  });
});
