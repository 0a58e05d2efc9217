// A small Llama over characters in plain JavaScript: everything but attention, which its caller brings with a cache.
// Reader: someone who brings a model of their own. Llama (arXiv 2302.13971): RMSNorm, rotary embedding of halves, grouped
// queries, SwiGLU; embedding and read-out are one matrix.
import { Tensor } from 'tilewise';
import { openSafetensors } from 'tilewise/safetensors';

export const layers = 3;
export const heads = 4;
export const kvHeads = 2;
export const headDim = 32;
const width = 128;
const theta = 10000;
const epsilon = 1e-5;

const file = openSafetensors(new URL('chargpt.f16.safetensors', import.meta.url));
const tensors = Object.fromEntries(
  Array.from(file.entries.keys(), (name) => [name, file.tensor(name).astype('float32')]),
);
const frequencies = Float64Array.from({ length: headDim / 2 }, (_, d) => theta ** ((-2 * d) / headDim));
const characters = JSON.parse(file.metadata.chars);
const tokenOf = new Map(characters.map((character, i) => [character, i + 1]));

/** The token that a text begins with. */
export const start = 0;

/** Logits of a position: one per character, and one of the beginning. */
export const logitsPerToken = characters.length + 1;

/** The tokens of a text; characters that the model has not learnt are spaces. */
export const encode = (text) => Array.from(text, (character) => tokenOf.get(character) ?? tokenOf.get(' '));

export const decode = (tokens) => tokens.map((token) => characters[token - 1] ?? '').join('');

/** y = W x for each of `count` rows of x. Four sums a row, so that additions need not wait for each other. */
function project({ data, dims: [outputs, inputs] }, x, count) {
  const y = new Float32Array(count * outputs);
  for (let at = 0; at < y.length; ++at) {
    const row = Math.floor(at / outputs);
    let [w, v] = [(at - row * outputs) * inputs, row * inputs];
    let [a, b, c, d] = [0, 0, 0, 0];
    for (const end = w + inputs; w < end; w += 4, v += 4) {
      a += data[w] * x[v];
      b += data[w + 1] * x[v + 1];
      c += data[w + 2] * x[v + 2];
      d += data[w + 3] * x[v + 3];
    }
    y[at] = a + b + (c + d);
  }
  return y;
}

function normalize({ data: weight }, x, count) {
  const y = new Float32Array(x.length);
  for (let row = 0; row < count; ++row) {
    let squares = 0;
    for (let i = 0; i < width; ++i) squares += x[row * width + i] ** 2;
    const factor = 1 / Math.sqrt(squares / width + epsilon);
    for (let i = 0; i < width; ++i) y[row * width + i] = x[row * width + i] * factor * weight[i];
  }
  return y;
}

/** Rotary embedding in place: dims d and d + headDim / 2 turn by position / theta^(2d / headDim). */
function rotate(x, positions) {
  const half = headDim / 2;
  const rowSize = x.length / positions.length;
  for (const [row, position] of positions.entries()) {
    for (let d = 0; d < half; ++d) {
      const angle = position * frequencies[d];
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let at = row * rowSize + d; at < (row + 1) * rowSize; at += headDim) {
        const [a, b] = [x[at], x[at + half]];
        x[at] = a * cos - b * sin;
        x[at + half] = b * cos + a * sin;
      }
    }
  }
  return x;
}

const add = (x, y) => x.map((value, i) => value + y[i]);

/**
 * Reads tokens: of one text, or of several, one after the other.
 * @param {number[]} tokens prompts, pieces of them, single tokens
 * @param {number[]} positions the place of each in its text
 * @param {(layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor | Promise<Tensor>} attend keeps k and v of a layer and
 *   returns what the queries see; all are [tokens, heads, headDim]
 * @returns {Promise<Float32Array>} logits [tokens, logitsPerToken] of the token that follows each
 */
export async function forward(tokens, positions, attend) {
  const count = tokens.length;
  const rowsOf = (data, n) => new Tensor('float32', data, [count, n, headDim]);
  let x = Float32Array.from(
    tokens.flatMap((token) => [...tensors['emb.weight'].data.subarray(token * width, (token + 1) * width)]),
  );
  for (let layer = 0; layer < layers; ++layer) {
    const weight = (name) => tensors[`layers.${layer}.${name}.weight`];
    const seen = normalize(weight('n1'), x, count);
    const q = rowsOf(rotate(project(weight('q'), seen, count), positions), heads);
    const k = rowsOf(rotate(project(weight('k'), seen, count), positions), kvHeads);
    const v = rowsOf(project(weight('v'), seen, count), kvHeads);
    const attended = await attend(layer, q, k, v);
    x = add(x, project(weight('o'), attended.data, count));
    const hidden = normalize(weight('n2'), x, count);
    const up = project(weight('up'), hidden, count);
    const gated = project(weight('gate'), hidden, count).map((g, i) => (g / (1 + Math.exp(-g))) * up[i]);
    x = add(x, project(weight('down'), gated, count));
  }
  return project(tensors['emb.weight'], normalize(tensors['norm.weight'], x, count), count);
}
