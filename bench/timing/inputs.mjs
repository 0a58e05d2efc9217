// Seeded inputs of any storage type, and copies of them that no cache holds.
// Reader: anyone who adds a benchmark.
import os from 'node:os';
import { Tensor } from 'tilewise';
import { uniformNumbers } from '../../test/support/uniform.mjs';

const BLOCK = 1 << 18; // numbers drawn; longer inputs repeat them, which no kernel can notice

/** Standard normal numbers (Box-Muller), none repeated. */
export function normalNumbers(count, seed) {
  const uniform = uniformNumbers(seed);
  return Float32Array.from({ length: count }, () => {
    return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  });
}

const bits = new Uint32Array(1);
const asFloat = new Float32Array(bits.buffer);

/** The bits of a normal number as float16 or bfloat16, rounded to nearest; tiny ones become 0. */
function toHalf(x, dtype) {
  asFloat[0] = x;
  const b = bits[0];
  if (dtype === 'bfloat16') return (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  const rounded = b + 0xfff + ((b >>> 13) & 1);
  const exponent = ((rounded >>> 23) & 255) - 112;
  return ((b >>> 16) & 0x8000) | (exponent <= 0 ? 0 : (exponent << 10) | ((rounded >>> 13) & 0x3ff));
}

/** Float32 values as data of a storage type: themselves, or a Uint16Array of their bits. */
export function asType(dtype, values) {
  return dtype === 'float32' ? values : Uint16Array.from(values, (x) => toHalf(x, dtype));
}

export const bytesPer = (dtype) => (dtype === 'float32' ? 4 : 2);

/** Random data for `count` elements: Float32Array, or Uint16Array for the 16-bit types. */
export function randomData(dtype, count, seed = 1) {
  const block = normalNumbers(Math.min(BLOCK, count), seed);
  const values = asType(dtype, block);
  const data = new values.constructor(count);
  data.set(values);
  for (let filled = values.length; filled < count; filled *= 2)
    data.copyWithin(filled, 0, Math.min(filled, count - filled));
  return data;
}

export function randomTensor(dtype, dims, seed = 1) {
  return new Tensor(
    dtype,
    randomData(
      dtype,
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
    dims,
  );
}

/** [batch 1, tokens, heads, dim] in the named layout. */
export function dimsOf(layout, tokens, heads, dim) {
  return layout === 'bnhd' ? [1, tokens, heads, dim] : [1, heads, tokens, dim];
}

let cold = { dtype: '', data: new Float32Array(0) }; // kept: filling a gigabyte takes longer than most cases

/**
 * Key/value pairs whose bytes together exceed `coldBytes`: used in turn, each call finds its pair in DRAM.
 * They are views of one buffer, as the layers of a model's KV cache would be.
 * @returns {{k: Tensor, v: Tensor}[]} at least two
 */
export function coldPairs(dtype, dims, coldBytes) {
  const size = dims.reduce((a, b) => a * b, 1);
  const count = Math.max(2, Math.ceil(coldBytes / (2 * size * bytesPer(dtype))));
  if (cold.dtype !== dtype || cold.data.length < 2 * count * size) {
    cold = { dtype, data: randomData(dtype, 2 * count * size) };
  }
  const tensor = (i) => new Tensor(dtype, cold.data.subarray(i * size, (i + 1) * size), dims);
  return Array.from({ length: count }, (_, i) => ({ k: tensor(2 * i), v: tensor(2 * i + 1) }));
}

/** Twice the last-level cache, at least 512 MiB, at most an eighth of the memory; a multiple of 4096. */
export function coldBytes(lastLevelCacheBytes) {
  const wanted = Math.max(512 * 2 ** 20, 2 * lastLevelCacheBytes);
  return Math.floor(Math.min(wanted, os.totalmem() / 8) / 4096) * 4096;
}
