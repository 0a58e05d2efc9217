// Hierarchical selection in the benchmarks: keys that neighbours resemble, prefill, decoding with kept lists, and recall.
// Reader: someone who asks what the data were. Keys are an AR(1) process and scores have a standard deviation of 4, as in
// the study whose recall is the target: without locality no selection of this kind finds anything.

import { attentionSync, causal, HipState, hierarchical, hipAttentionSync, hipSelectSync, Tensor } from 'tilewise';
import { uniformNumbers } from '../../test/support/uniform.mjs';
import { asType, bytesPer, normalNumbers, randomData, randomTensor } from '../timing/inputs.mjs';
import { arenaBytes } from '../timing/machine.mjs';
import { attentionFlops } from './cases.mjs';

const RHO = 0.9;
const SCORE_DEVIATION = 4;
const REFRESH = [16, 8]; // steps between selections by stage
const PERIOD = REFRESH[0]; // after so many steps all stages have run again: an average over it is one over any time

/** [tokens, headDim]: every key is 0.9 of the one before and new noise, with variance 1. */
function correlatedKeys(tokens, headDim, seed) {
  const keys = normalNumbers(tokens * headDim, seed);
  const share = Math.sqrt(1 - RHO * RHO);
  for (let i = headDim; i < keys.length; i++) keys[i] = RHO * keys[i - headDim] + share * keys[i];
  return keys;
}

/** A query of length 1 that points in part at a random one of the keys. */
function queryTowards(keys, headDim, noise, uniform) {
  const token = Math.floor(uniform() * (keys.length / headDim));
  const key = keys.subarray(token * headDim, (token + 1) * headDim);
  const query = noise.map((x) => x / Math.hypot(...noise));
  query.forEach((x, d) => {
    query[d] = x + (0.6 * key[d]) / Math.sqrt(headDim);
  });
  const length = Math.hypot(...query);
  return query.map((x) => x / length);
}

/** [rows, headDim] queries whose scores, scaled by 1/sqrt(headDim), deviate by 4. */
function queriesFor(keys, headDim, rows, seed) {
  const noise = normalNumbers(rows * headDim, seed);
  const uniform = uniformNumbers(seed + 1);
  const queries = new Float32Array(rows * headDim);
  for (let at = 0; at < queries.length; at += headDim) {
    const query = queryTowards(keys, headDim, noise.subarray(at, at + headDim), uniform);
    queries.set(
      query.map((x) => x * SCORE_DEVIATION * Math.sqrt(headDim)),
      at,
    );
  }
  return queries;
}

/** Two query heads on one KV head: a quarter of a layer would take minutes of dense attention. */
export function hipPrefill({ size, dtype, threads, set, isLong }) {
  const headDim = 64;
  const [heads, kvHeads] = [2, 1];
  const shape = { size, headDim, heads: `${heads}/${kvHeads}`, dtype, threads, set };
  return {
    group: 'hip prefill',
    title: 'HiP prefill',
    shape,
    prepare() {
      const keys = correlatedKeys(size, headDim, 1);
      const tensor = (values, count) => new Tensor(dtype, asType(dtype, values), [1, size, count, headDim]);
      const k = tensor(keys, kvHeads);
      const q = tensor(queriesFor(keys, headDim, size * heads, 2), heads);
      const v = randomTensor(dtype, k.dims, 3);
      const out = randomTensor(dtype, q.dims);
      const pattern = hierarchical('default');
      const flops = attentionFlops({ queries: size, keys: size, headDim, heads, causal: true });
      // Dense takes up to half a minute per call, longer than what a warm-up could be wanted for.
      const once = isLong ? { calls: 1, samples: 1 } : {};
      const thrice = isLong ? { calls: 1, samples: 3 } : {};
      return {
        reference: {
          kind: 'dense',
          name: 'dense causal',
          call: () => attentionSync(q, k, v, { pattern: causal(), out }),
          flops,
          ...once,
        },
        jobs: [
          { kind: 'hip', name: 'HiP', call: () => attentionSync(q, k, v, { pattern, out }), ...thrice },
          { kind: 'selection', name: 'selection alone', call: () => hipSelectSync(q, k), ...once },
        ],
      };
    },
  };
}

/**
 * Layers' caches, [1, tokens, kvHeads, dim] each, together larger than the processor's caches. All hold the same numbers.
 * @returns {{keys: Float32Array, caches: {k: ArrayBufferView, v: ArrayBufferView}[]}}
 */
function layersOf({ dtype, tokens, kvHeads, headDim, coldBytes }) {
  const keys = correlatedKeys(tokens, headDim, 1);
  const values = new Float32Array(tokens * kvHeads * headDim);
  for (let token = 0; token < tokens; token++) {
    const key = keys.subarray(token * headDim, (token + 1) * headDim);
    for (let head = 0; head < kvHeads; head++) values.set(key, (token * kvHeads + head) * headDim);
  }
  const k = asType(dtype, values);
  const v = randomData(dtype, k.length, 3);
  const count = Math.max(2, Math.ceil(coldBytes / (2 * k.length * bytesPer(dtype))));
  return { keys, caches: Array.from({ length: count }, () => ({ k: k.slice(), v: v.slice() })) };
}

/** One token at a time, layer after layer: 8 query heads on 2 KV heads, a state per layer. */
export function hipDecode({ size, dtype, threads, set, coldShare }) {
  const headDim = 128;
  const [heads, kvHeads] = [8, 2];
  const shape = { size, headDim, heads: `${heads}/${kvHeads}`, dtype, threads, set };
  return {
    group: 'hip decode',
    title: 'HiP decode',
    shape,
    prepare() {
      const tokens = size + PERIOD - 1;
      const { keys, caches } = layersOf({ dtype, tokens, kvHeads, headDim, coldBytes: coldShare * arenaBytes });
      const grown = (data, length) =>
        new Tensor(dtype, data.subarray(0, length * kvHeads * headDim), [1, length, kvHeads, headDim]);
      const layers = caches.map(({ k, v }) => ({
        state: new HipState({ refresh: REFRESH }),
        steps: Array.from({ length: PERIOD }, (_, i) => ({ k: grown(k, size + i), v: grown(v, size + i) })),
      }));
      const queries = Array.from({ length: PERIOD }, (_, i) => {
        const data = queriesFor(keys, headDim, heads, 10 + 2 * i);
        return new Tensor(dtype, asType(dtype, data), [1, 1, heads, headDim]);
      });
      const out = randomTensor(dtype, queries[0].dims);
      const period = (attend) => () => {
        queries.forEach((q, i) => {
          for (const layer of layers) attend(q, layer.steps[i], layer.state);
        });
      };
      let turn = 0;
      return {
        reference: {
          kind: 'dense',
          name: 'dense',
          call() {
            const { k, v } = layers[turn++ % layers.length].steps[0];
            attentionSync(queries[0], k, v, { out });
          },
          flops: attentionFlops({ queries: 1, keys: size, headDim, heads, causal: false }),
        },
        jobs: [
          {
            kind: 'hip',
            name: `HiP, refresh ${REFRESH.join(', ')}`,
            call: period((q, { k, v }, state) => hipAttentionSync(q, k, v, { state, out })),
            steps: PERIOD * layers.length,
          },
        ],
      };
    },
  };
}

/** The study's two rows for the default stages: tokens, stages, the mass it found, and its noise. */
const STUDY = [
  { tokens: 16384, stages: [stage(64, 4096), stage(8, 512)], expected: 0.89 },
  { tokens: 131072, stages: [stage(64, 8192), stage(8, 2048)], expected: 0.86 },
];
const NOISE = 0.04;

/** Every query takes part: the study has one per selection. */
function stage(chunk, keep) {
  return { chunk, keep, strideQ: 1 };
}

/**
 * Share of the softmax that is on selected keys, mean over queries that each have a selection of their own.
 * @returns {object[]} rows for the result file
 */
export function measureRecall({ isQuick, dtype }) {
  return STUDY.filter(({ tokens }) => !isQuick || tokens < 32768).map(({ tokens, stages, expected }) => {
    const headDim = 64;
    const trials = isQuick ? 8 : 40;
    // One more key than the study's: the newest is in the window and no candidate.
    const keys = correlatedKeys(tokens + 1, headDim, 5);
    const k = new Tensor(dtype, asType(dtype, keys), [1, tokens + 1, 1, headDim]);
    const queries = queriesFor(keys.subarray(0, tokens * headDim), headDim, trials, 6);
    let mass = 0;
    for (let trial = 0; trial < trials; trial++) {
      const query = queries.subarray(trial * headDim, (trial + 1) * headDim);
      const q = new Tensor(dtype, asType(dtype, query.slice()), [1, 1, 1, headDim]);
      const { blocks } = hipSelectSync(q, k, { stages, blockQ: 1, sink: 0, window: 1 });
      mass += massOf(blocks, softmaxTo(query, keys.subarray(0, tokens * headDim))) / trials;
    }
    const text = stages.map(({ chunk, keep }) => `${chunk}:${keep}`).join(', ');
    return {
      group: 'recall',
      name: `mass recall T=${tokens} ${text} ${dtype}`,
      ...{ tokens, stages: text, dtype, trials, expected, noise: NOISE, recall: mass },
    };
  });
}

/** Softmax of one query's scores, brought to a standard deviation of exactly 4. */
function softmaxTo(query, keys) {
  const scores = new Float64Array(keys.length / query.length);
  for (let token = 0; token < scores.length; token++) {
    let score = 0;
    for (let d = 0; d < query.length; d++) score += query[d] * keys[token * query.length + d];
    scores[token] = score;
  }
  const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
  const deviation = Math.sqrt(scores.reduce((a, b) => a + (b - mean) ** 2, 0) / scores.length);
  const most = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const weights = scores.map((s) => Math.exp(((s - most) * SCORE_DEVIATION) / deviation));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / sum);
}

function massOf({ chunk, indices, counts }, weights) {
  let mass = 0;
  for (let i = 0; i < counts.data[0]; i++) {
    const start = indices.data[i];
    for (const weight of weights.subarray(start, start + chunk)) mass += weight;
  }
  return mass;
}
