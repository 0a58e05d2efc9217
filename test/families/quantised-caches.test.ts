// Quantised caches: attention over codes against numbers computed elsewhere, against plain loops over the numbers that codes
// stand for. On every instruction set of the CPU. Reader: someone who changes the stores of codes.

import { describe, expect, it } from 'vitest';
import { KvCache, type Tensor } from '../../dist/index.js';
import { expectNear, onEveryCpu } from '../support/ext-linear.js';
import { extTensor } from '../support/ext-modifiers.js';
import { cacheOf, expectClose, fill, formatOf, formats, quantisedCases } from '../support/quantised-kv.js';
import { tensor } from '../support/tensors.js';

const attend = (cache: KvCache, q: Tensor) => cache.attentionSync(0, q, { returnLse: true });

/** Attention of the last queries over keys and values as they are, in float64. */
function reference(q: Tensor<'float32'>, k: Tensor, v: Tensor, mask?: (key: number) => boolean): number[] {
  const [batch, queries, heads, dim] = q.dims;
  const [, keys, kvHeads] = k.dims;
  const valueDim = v.dims[3];
  const out: number[] = [];
  for (let b = 0; b < batch; b++)
    for (let i = 0; i < queries; i++)
      for (let h = 0; h < heads; h++) {
        const kv = Math.floor((h * kvHeads) / heads);
        const weights: number[] = [];
        for (let j = 0; j < keys; j++) {
          let dot = 0;
          for (let d = 0; d < dim; d++) {
            dot +=
              q.data[((b * queries + i) * heads + h) * dim + d] *
              (k.data as Float32Array)[((b * keys + j) * kvHeads + kv) * dim + d];
          }
          const isSeen = j <= i + keys - queries && (mask?.(j) ?? true);
          weights.push(isSeen ? dot / Math.sqrt(dim) : Number.NEGATIVE_INFINITY);
        }
        const most = Math.max(...weights);
        const exps = weights.map((x) => Math.exp(x - most));
        const sum = exps.reduce((a, x) => a + x, 0);
        for (let d = 0; d < valueDim; d++) {
          out.push(
            exps.reduce(
              (a, x, j) =>
                x === 0 ? a : a + x * (v.data as Float32Array)[((b * keys + j) * kvHeads + kv) * valueDim + d],
              0,
            ) / sum,
          );
        }
      }
  return out;
}

onEveryCpu(() => {
  describe('computed elsewhere', () => {
    it.each(quantisedCases('quantizedAttention'))('$name', ({ dims, options, q, k, v, out, lse }) => {
      for (const step of [1, 5, dims.keys]) {
        const got = attend(fill(cacheOf(dims, formatOf(options)), k, v, step), extTensor(q));
        expectNear(got.out, out, 5e-6);
        expectNear(got.lse, lse, 5e-6);
      }
    });

    it.each(quantisedCases('tieredAttention'))('$name', ({ dims, options, q, k, v, append, prefill }) => {
      for (const [step, want] of [
        [1, append],
        [dims.keys, prefill],
      ] as const) {
        const got = attend(fill(cacheOf(dims, formatOf(options)), k, v, step), extTensor(q));
        expectNear(got.out, want.out, 5e-6);
        expectNear(got.lse, want.lse, 5e-6);
      }
    });
  });

  describe('attention reads the numbers that codes stand for', () => {
    // 128 dims, heads and rows of every width; 24 and 48 dims fill no vector of codes.
    it.each(formats)('%s', (name, format) => {
      for (const [headDim, valueDim, heads, kvHeads, queries, tokens] of [
        [128, 128, 2, 2, 1, 300],
        [64, 128, 4, 2, 1, 421],
        [128, 64, 8, 1, 1, 190],
        [64, 64, 6, 2, 3, 333],
        [128, 64, 12, 1, 2, 150],
        [64, 64, 2, 2, 70, 200],
        [24, 48, 2, 1, 2, 100],
        [24, 48, 2, 1, 40, 100],
      ]) {
        const cache = new KvCache({ kvHeads, headDim, valueDim, format });
        const [k, v] = [tensor(2, tokens, kvHeads, headDim), tensor(2, tokens, kvHeads, valueDim)];
        for (const [begin, end] of [
          [0, 97],
          [97, 98],
          [98, tokens],
        ]) {
          cache.append(0, k.slice(1, begin, end), v.slice(1, begin, end));
        }
        const q = tensor(2, queries, heads, headDim);
        const want = reference(q, cache.keys(0), cache.values(0));
        expectClose(
          cache.attentionSync(0, q).out.data,
          want,
          `${name} ${headDim} ${valueDim} ${heads}:${kvHeads} ${queries}`,
        );
      }
    });

    it('under windows and masks, of other types, heads first', () => {
      const cache = new KvCache({
        kvHeads: 2,
        headDim: 64,
        layout: 'bhnd',
        type: 'float16',
        format: { keyBits: 8, residual: 64 },
      });
      const k = tensor(1, 2, 333, 64);
      cache.append(0, k, k);
      expect(cache.keys(0).dims).toEqual([1, 2, 333, 64]);
      const [keys, values] = [cache.keys(0), cache.values(0)].map((x) => x.transpose([0, 2, 1, 3]).contiguous());
      const q = tensor(1, 1, 4, 64);
      const asked = q.transpose([0, 2, 1, 3]);
      const seen = (key: number) => key % 3 !== 0;
      const keyMask = {
        type: 'bool',
        data: Uint8Array.from({ length: 333 }, (_, i) => Number(seen(i))),
        dims: [1, 333],
      };
      expectClose(cache.attentionSync(0, asked, { keyMask }).out.data, reference(q, keys, values, seen), 'key mask');
      const recent = (key: number) => key >= 333 - 130 || key < 3;
      const windowed = cache.attentionSync(0, asked, { recentTokens: 130, sinkTokens: 3 });
      expectClose(windowed.out.data, reference(q, keys, values, recent), 'window');
    });
  });
});
