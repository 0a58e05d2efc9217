// What `npm run bench:masks` measures: what a mask, a bias or a window per head costs over calls that say it in fewer words,
// other activations over softmax, gates, and factors on scores.
// Reader: someone who adds a case: a reference and the contenders held against it in one run. `most` is the target.
import { attentionSync, ranges, Tensor } from 'tilewise';
import { dimsOf, randomTensor } from '../timing/inputs.mjs';

/**
 * @typedef {object} Contender
 * @property {string} name @property {object | object[]} options of attentionSync(), or of several calls in turn
 * @property {number} [most] of the reference's time
 *
 * @typedef {object} Group
 * @property {string} name @property {Contender[]} contenders the first is the reference @property {number[]} q
 * @property {number[]} kv dims @property {string} dtype
 */

const bytes = (dims, valueAt) => {
  const [rows, columns] = dims.slice(-2);
  return new Tensor(
    'bool',
    Uint8Array.from({ length: rows * columns }, (_, i) => valueAt(i % columns, Math.floor(i / columns))),
    dims,
  );
};
const numbers = (dims, valueAt) => {
  const [rows, columns] = dims.slice(-2);
  return new Tensor(
    'float32',
    Float32Array.from({ length: rows * columns }, (_, i) => valueAt(i % columns, Math.floor(i / columns))),
    dims,
  );
};

/** Causal structure as exporters write it, against `causal: true`. */
function causal(dtype, tokens, headDim) {
  const dims = [1, 1, tokens, tokens];
  return {
    name: `causal, prefill ${dtype} D=${headDim} N=${tokens} H=8`,
    dtype,
    q: dimsOf('bnhd', tokens, 8, headDim),
    kv: dimsOf('bnhd', tokens, 8, headDim),
    contenders: [
      { name: 'causal: true', options: { causal: true } },
      { name: 'a bool mask', options: { mask: bytes(dims, (k, q) => k <= q) }, most: 1.15 },
      {
        name: 'a bias of 0 and -inf',
        options: { bias: numbers(dims, (k, q) => (k <= q ? 0 : -Infinity)) },
        most: 1.15,
      },
    ],
  };
}

/** Four sequences of different lengths, the rest padding, against `keyLengths`. */
function padding(dtype, tokens, headDim) {
  const lengths = [1, 1 / 2, 1 / 4, 1 / 8].map((share) => tokens * share);
  const mask = bytes([4, tokens], (k, b) => k < lengths[b]);
  return {
    name: `padding, prefill ${dtype} D=${headDim} N=${tokens} H=8 batch=4`,
    dtype,
    q: [4, tokens, 8, headDim],
    kv: [4, tokens, 8, headDim],
    contenders: [
      { name: 'keyLengths', options: { keyLengths: Int32Array.from(lengths) } },
      { name: 'a bool mask', options: { mask: new Tensor('bool', mask.data, [4, 1, 1, tokens]) }, most: 1.2 },
    ],
  };
}

/** Causal documents of different lengths in one sequence, against the packed batch that they are. */
function documents(dtype, tokens, headDim) {
  const ends = [1 / 2, 3 / 4, 7 / 8, 15 / 16, 1].map((share) => tokens * share);
  const startOf = Int32Array.from({ length: tokens }, (_, token) => ends.findLast((end) => end <= token) ?? 0);
  const positions = Int32Array.from({ length: tokens }, (_, token) => token + 1);
  const cuSeqlens = [0, ...ends];
  return {
    name: `documents, prefill ${dtype} D=${headDim} N=${tokens} H=8`,
    dtype,
    q: dimsOf('bnhd', tokens, 8, headDim),
    kv: dimsOf('bnhd', tokens, 8, headDim),
    contenders: [
      { name: 'a packed batch', options: { causal: true, cuSeqlensQ: cuSeqlens, cuSeqlensK: cuSeqlens } },
      { name: 'ranges', options: { pattern: ranges({ begins: startOf, ends: positions }) }, most: 1.03 },
      { name: 'a bool mask', options: { mask: bytes([1, 1, tokens, tokens], (k, q) => k <= q && k >= startOf[q]) } },
      { name: 'dense', options: {} },
    ],
  };
}

/** A bias that changes every score, against none. */
function biased(dtype, tokens, headDim) {
  return {
    name: `bias, prefill ${dtype} D=${headDim} N=${tokens} H=8`,
    dtype,
    q: dimsOf('bnhd', tokens, 8, headDim),
    kv: dimsOf('bnhd', tokens, 8, headDim),
    contenders: [
      { name: 'none', options: {} },
      {
        name: 'a bias for all heads',
        options: { bias: randomTensor('float32', [1, 1, tokens, tokens], 4) },
        most: 1.2,
      },
      { name: 'a bias per head', options: { bias: randomTensor('float32', [1, 8, tokens, tokens], 4) } },
    ],
  };
}

function decoding(dtype, tokens) {
  return {
    name: `decode ${dtype} D=128 N=${tokens} H=32/8`,
    dtype,
    q: dimsOf('bnhd', 1, 32, 128),
    kv: dimsOf('bnhd', tokens, 8, 128),
    contenders: [
      { name: 'neither', options: {} },
      { name: 'a mask of ones', options: { mask: bytes([1, tokens], () => 1) }, most: 1.15 },
      { name: 'left padding by mask', options: { mask: bytes([1, tokens], (k) => k >= tokens / 8) }, most: 1.15 },
      { name: 'a bias', options: { bias: randomTensor('float32', [tokens], 4) }, most: 1.15 },
    ],
  };
}

/**
 * Windows that differ by head, twice, against a call for each of their windows: DuoAttention's retrieval and streaming KV
 * heads, half of them each.
 */
function windowsByHead(dtype, queries, tokens) {
  const streaming = { recentTokens: 256, sinkTokens: 64 };
  const recentTokens = Array.from({ length: 8 }, (_, head) => (head % 2 ? 256 : Infinity));
  const byHead = { ...streaming, recentTokens };
  return {
    name: `windows by head, ${queries === 1 ? 'decode' : 'prefill'} ${dtype} D=128 N=${tokens} H=32/8`,
    dtype,
    q: dimsOf('bnhd', queries, 32, 128),
    kv: dimsOf('bnhd', tokens, 8, 128),
    contenders: [
      { name: 'a call per window', options: [{ causal: true }, streaming] },
      { name: 'windows by head', options: [byHead, byHead], most: 1.05 },
    ],
  };
}

/** Functions of one score each, against softmax. */
function activations(dtype, queries, tokens, headDim) {
  return {
    name: `activations, ${queries === 1 ? 'decode' : 'prefill'} ${dtype} D=${headDim} N=${tokens} H=8`,
    dtype,
    q: dimsOf('bnhd', queries, 8, headDim),
    kv: dimsOf('bnhd', tokens, 8, headDim),
    contenders: [
      { name: 'softmax', options: { causal: true } },
      {
        name: 'sigmoid',
        options: { causal: true, activation: 'sigmoid', activationBias: -Math.log(tokens) },
        most: 1.03,
      },
      { name: 'relu', options: { causal: true, activation: 'relu' } },
    ],
  };
}

/** Runs of 256 rows, every other one closed. */
function gated(dtype, tokens, headDim) {
  const dims = [1, tokens, 8];
  const gateOf = (weightOf) => new Tensor('float32', Float32Array.from({ length: tokens * 8 }, weightOf), dims);
  return {
    name: `gate, prefill ${dtype} D=${headDim} N=${tokens} H=8`,
    dtype,
    q: dimsOf('bnhd', tokens, 8, headDim),
    kv: dimsOf('bnhd', tokens, 8, headDim),
    contenders: [
      { name: 'no gate', options: {} },
      { name: 'ones', options: { gate: gateOf(() => 1) } },
      { name: 'half closed', options: { gate: gateOf((_, i) => Math.floor(i / 8 / 256) % 2) }, most: 1 / 1.8 },
    ],
  };
}

/** Factors on scores, and those of cosine, against none. */
function factors(dtype, queries, tokens, headDim) {
  const randomFactor = (...dims) => randomTensor('float32', dims, 4);
  return {
    name: `score factors, ${queries === 1 ? 'decode' : 'prefill'} ${dtype} D=${headDim} N=${tokens} H=8`,
    dtype,
    q: dimsOf('bnhd', queries, 8, headDim),
    kv: dimsOf('bnhd', tokens, 8, headDim),
    contenders: [
      { name: 'none', options: { causal: true } },
      { name: 'a factor per key', options: { causal: true, scoreFactor: randomFactor(8, 1, tokens) }, most: 1.05 },
      { name: 'cosine', options: { causal: true, similarity: 'cosine', temperature: 0.1 }, most: 1.05 },
      { name: 'a factor per pair', options: { causal: true, scoreFactor: randomFactor(queries, tokens) } },
    ],
  };
}

/** @returns {Group[]} */
export function maskGroups({ isQuick }) {
  const tokens = isQuick ? 512 : 2048;
  const dtypes = ['float32', 'bfloat16'];
  return [
    ...dtypes.flatMap((dtype) => [causal(dtype, tokens, 64), causal(dtype, tokens, 128)]),
    ...dtypes.map((dtype) => padding(dtype, tokens, 64)),
    ...dtypes.flatMap((dtype) => [documents(dtype, tokens, 64), documents(dtype, tokens, 128)]),
    ...dtypes.map((dtype) => biased(dtype, tokens, 64)),
    ...dtypes.map((dtype) => decoding(dtype, isQuick ? 1024 : 8192)),
    ...dtypes.map((dtype) => windowsByHead(dtype, tokens, tokens)),
    ...dtypes.map((dtype) => windowsByHead(dtype, 1, isQuick ? 1024 : 8192)),
    ...dtypes.flatMap((dtype) => [activations(dtype, tokens, tokens, 64), activations(dtype, tokens, tokens, 128)]),
    ...dtypes.map((dtype) => activations(dtype, 1, isQuick ? 1024 : 8192, 128)),
    ...dtypes.map((dtype) => gated(dtype, tokens, 128)),
    ...dtypes.map((dtype) => factors(dtype, tokens, tokens, 128)),
    ...dtypes.map((dtype) => factors(dtype, 1, isQuick ? 1024 : 8192, 128)),
  ];
}

/** The contenders of a group as calls, on operands that they share. */
export function callsOf({ q, kv, dtype, contenders }) {
  const [query, key, value] = [q, kv, kv].map((dims, i) => randomTensor(dtype, dims, i + 1));
  const out = randomTensor(dtype, q);
  return contenders.map(({ name, options, most }) => ({
    name,
    most,
    call: () => {
      for (const one of [options].flat()) attentionSync(query, key, value, { ...one, out });
    },
  }));
}
