// Quantised caches: attention over codes against numbers computed elsewhere, against plain loops over the numbers that codes
// stand for. On every backend: queries on a device take the call there. Reader: someone who changes the stores of codes.

import { describe, expect, it } from 'vitest';
import { type CacheAttentionOptions, explain, full, KvCache, type Tensor } from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { expectNear } from '../support/ext-linear.js';
import { extTensor } from '../support/ext-modifiers.js';
import { cacheOf, expectClose, fill, formatOf, formats, quantisedCases } from '../support/quantised-kv.js';
import { sample } from '../support/sample.js';
import { tensor } from '../support/tensors.js';

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

onEveryBackend(({ device }) => {
  const isCpu = device === 'cpu';
  // Products of float32 on tensor cores are made of several of fewer bits.
  const [bound, least] = isCpu ? [5e-6, 3e-6] : [2e-5, 2e-5];

  const some = <T>(all: readonly T[]): readonly T[] => (isCpu ? all : sample(all)); // a GPU may be emulated

  const attend = async (cache: KvCache, q: Tensor, options: CacheAttentionOptions = {}) => {
    const there = isCpu ? q : await q.to(device);
    const { out, lse } = cache.attentionSync(0, there, { ...options, returnLse: true });
    return { out: await out.to('cpu'), lse: await lse.to('cpu') };
  };

  describe('computed elsewhere', () => {
    it.each(some(quantisedCases('quantizedAttention')))('$name', async ({ dims, options, q, k, v, out, lse }) => {
      for (const step of isCpu ? [1, 5, dims.keys] : [5]) {
        const got = await attend(fill(cacheOf(dims, formatOf(options)), k, v, step), extTensor(q));
        expectNear(got.out, out, bound);
        expectNear(got.lse, lse, bound);
      }
    });

    it.each(some(quantisedCases('tieredAttention')))('$name', async ({ dims, options, q, k, v, append, prefill }) => {
      for (const [step, want] of [
        [1, append],
        [dims.keys, prefill],
      ] as const) {
        const got = await attend(fill(cacheOf(dims, formatOf(options)), k, v, step), extTensor(q));
        expectNear(got.out, want.out, bound);
        expectNear(got.lse, want.lse, bound);
      }
    });
  });

  it('explain() counts the same bytes of codes', () => {
    const sizes = { queryHeads: 2, kvHeads: 2, queries: 1, keys: 4000, headDim: 64, format: 'int8' } as const;
    const { backend, bytes } = explain(full(), sizes, { device });
    expect([backend.name, bytes]).toEqual([device, explain(full(), sizes).bytes]);
  });

  describe('attention reads the numbers that codes stand for', () => {
    // 128 and 256 dims, heads and rows of every width; 24 and 48 dims fill no vector of codes.
    it.each(some(formats))('%s', async (name, format) => {
      const shapes = [
        [128, 128, 2, 2, 1, 300],
        [256, 256, 2, 2, 1, 400],
        [64, 128, 4, 2, 1, 421],
        [128, 64, 8, 1, 1, 190],
        [64, 64, 6, 2, 3, 333],
        [128, 64, 12, 1, 2, 150],
        [64, 64, 2, 2, 70, 200],
        [24, 48, 2, 1, 2, 100],
        [24, 48, 2, 1, 40, 100],
      ];
      for (const [headDim, valueDim, heads, kvHeads, queries, tokens] of some(shapes)) {
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
        const { out } = await attend(cache, q);
        expectClose(out.data, want, `${name} ${headDim} ${valueDim} ${heads}:${kvHeads} ${queries}`, least);
      }
    });

    it.each(['int8-token', 'duo4'] as const)('%s: tokens that were taken back count nothing', async (format) => {
      // 41 tokens of the last 64, whose vectors reach codes that are still there.
      const cache = new KvCache({ kvHeads: 1, headDim: 128, format });
      cache.append(0, tensor(1, 310, 1, 128), tensor(1, 310, 1, 128));
      cache.truncate(297);
      const q = tensor(1, 1, 1, 128);
      const { out } = await attend(cache, q);
      expectClose(out.data, reference(q, cache.keys(0), cache.values(0)), format, least);
    });

    it.runIf(isCpu)('for queries that no fixed point fits: tiny, large, infinite, among zeros', async () => {
      const cache = new KvCache({ kvHeads: 1, headDim: 128, format: { keyBits: 8, valueBits: 4, residual: 64 } });
      cache.append(0, tensor(1, 256, 1, 128), tensor(1, 256, 1, 128));
      for (const factor of [1e-36, 1e3, 0, Number.POSITIVE_INFINITY]) {
        const q = tensor(1, 1, 1, 128);
        q.data.forEach((x, d) => {
          q.data[d] = d === 5 || Number.isFinite(factor) ? x * factor : 0;
        });
        const { out } = await attend(cache, q);
        if (!Number.isFinite(factor)) expect([...out.data].every(Number.isNaN)).toBe(true);
        else
          expectClose(out.data, reference(q, cache.keys(0), cache.values(0)), `${factor}`, factor > 1 ? 1e-4 : least);
      }
    });

    it('under windows and masks, of other types, heads first', async () => {
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
      const masked = await attend(cache, asked, { keyMask });
      expectClose(masked.out.data, reference(q, keys, values, seen), 'key mask', least);
      const recent = (key: number) => key >= 333 - 130 || key < 3;
      const windowed = await attend(cache, asked, { recentTokens: 130, sinkTokens: 3 });
      expectClose(windowed.out.data, reference(q, keys, values, recent), 'window', least);
    });
  });
});
