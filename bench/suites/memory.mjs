// Peak memory of one call beyond its inputs and outputs, in a fresh process: `node bench/suites/memory.mjs <tokens> [pattern]`
// prints JSON.
// Reader: someone who doubts "O(threads x tile)". Linux only: it needs a resettable high-water mark.
import { writeFileSync } from 'node:fs';
import {
  attentionSlices,
  attentionSync,
  documents,
  dynamicMaskAttentionSync,
  haloAttentionSync,
  landmarkAttentionSync,
  power,
  sampledBlocks,
  Tensor,
} from 'tilewise';
import { dimsOf, randomTensor } from '../timing/inputs.mjs';
import { statusBytes } from '../timing/process-memory.mjs';

const tokens = Number(process.argv[2]);
const pattern = process.argv[3] ?? 'causal';
const heads = 2;
const headDim = 64;
const dims = dimsOf('bnhd', tokens, heads, headDim);
const [q, k, v, out] = [1, 2, 3, 4].map((seed) => randomTensor('float32', dims, seed));

const attend = (options) => attentionSync(q, k, v, { ...options, out });
/** The tokens as a map of 256 columns. */
const asMap = ({ type, data }) => new Tensor(type, data, [1, tokens / 256, 256, heads, headDim]);
const numbers = (...shape) => randomTensor('float32', shape, 5);
const window = { causal: true, window: { left: 1023 } };

/** A call of each pattern: nothing of tokens x tokens is made but for the scores, which are never stored. */
const row = Int32Array.from({ length: tokens }, (_, i) => i);
const lengths = new Array(16).fill(tokens / 16);
const sliceOf = (_, i) => {
  const side = [i, i + 1].map((edge) => (edge * tokens) / 16);
  return { q: side, k: side, kind: 'causal' };
};
const calls = {
  causal: () => attend({ causal: true }),
  documents: () => attend({ pattern: documents({ lengths, causal: true }) }),
  slices: () => attend({ pattern: attentionSlices(lengths.map(sliceOf)) }),
  'head-windows': () => attend({ recentTokens: [8192, 256], sinkTokens: [0, 64] }),
  power: () => attend({ pattern: power() }),
  'sampled-blocks': () => attend({ pattern: sampledBlocks({ block: 64, geometric: { rho: 0.98, floor: 0.02 } }) }),
  positions: () => attend({ ...window, positions: { queries: row, keys: row } }),
  sigmoid: () => attend({ ...window, activation: 'sigmoid' }),
  cosine: () => attend({ ...window, similarity: 'cosine' }),
  'key-factor': () => attend({ ...window, scoreFactor: numbers(heads, 1, tokens) }),
  gate: () => attend({ ...window, gate: numbers(1, tokens, heads) }),
  halo: () => haloAttentionSync(...[q, k, v].map(asMap), { block: 8, halo: 3, out: asMap(out) }),
  landmarks: () => landmarkAttentionSync(q, k, v, { blockSize: tokens / 64, blocks: [[0, 9, 50], [60]], out }),
  'dynamic-mask': () =>
    dynamicMaskAttentionSync(q, k, v, { keyBias: numbers(1, heads, 1, tokens), topKeys: 1024, causal: true, out }),
};

writeFileSync('/proc/self/clear_refs', '5'); // sets VmHWM back to VmRSS
const before = statusBytes('VmRSS');
calls[pattern]();
const beyond = Math.max(0, statusBytes('VmHWM') - before);
console.log(JSON.stringify({ tokens, pattern, heads, headDim, operands: 4 * q.data.byteLength, beyond }));
