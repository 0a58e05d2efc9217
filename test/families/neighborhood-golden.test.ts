// Neighborhood attention against key sets worked out elsewhere (golden/neighborhood.json), odd and even windows, strides,
// dilation and causal axes in one to three dimensions. Reader: someone who wants to see which tokens a token attends to.
// With all scores equal and values that name their token, the output is the set of keys.

import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  explain,
  type NeighborhoodOptions,
  neighborhoodAttentionSync,
  neighborhood as neighborhoodPattern,
} from '../../dist/index.js';
import { encode } from '../conformance/memory.js';
import { onEveryBackend } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { type NeighborhoodGolden, neighborhood } from '../support/pattern-goldens.js';

/** A call whose output row is the mean of unit vectors, one for each key. */
function namingKeys({ shape, keys }: NeighborhoodGolden, dtype: (typeof dtypes)[number]) {
  const tokens = keys.length;
  const units = Array.from({ length: tokens ** 2 }, (_, i) => (i % (tokens + 1) === 0 ? 1 : 0));
  const make = (dim: number, numbers: number[]) => ({
    type: dtype,
    data: encode(dtype, numbers),
    dims: [1, ...shape, 1, dim],
  });
  const zeros = make(1, new Array(tokens).fill(0));
  return { q: zeros, k: zeros, v: make(tokens, units) };
}

onEveryBackend((backend) => {
  it.each(neighborhood.cases)('$id: $note', (golden) => {
    const { shape, keys, kernel_size: kernelSize, stride, dilation, is_causal: causal } = golden;
    for (const dtype of dtypes) {
      const { q, k, v } = namingKeys(golden, dtype);
      const options = { kernelSize, stride, dilation, causal };
      const common = { returnLse: true as const, device: backend.device };
      const { out, lse } = neighborhoodAttentionSync(q, k, v, { ...options, ...common });
      expect(out.dims).toEqual([1, ...shape, 1, keys.length]);
      expect(lse.dims).toEqual([1, 1, ...shape]);
      const seen = keys.map((_, query) =>
        keys.flatMap((__, key) => ((out.data[query * keys.length + key] as number) > 0 ? [key] : [])),
      );
      expect(seen).toEqual(keys);
      keys.forEach((row, query) => {
        expect(lse.data[query]).toBeCloseTo(Math.log(row.length), 6);
      });
      const same = attentionSync(q, k, v, { pattern: neighborhoodPattern(options), ...common });
      expect(same.out.data).toEqual(out.data);
    }
  });
});

describe('tiles', () => {
  const shape = { queryHeads: 1, kvHeads: 1, headDim: 64 };

  it.each(neighborhood.tiles)('$id: explain() visits as many as there are', (golden) => {
    const { kernel_size: kernelSize, stride, is_causal: causal } = golden;
    const pattern = neighborhoodPattern({ kernelSize, stride, causal });
    for (const tiling of ['static', 'dynamic'] as const) {
      const want = golden[tiling];
      const options = { queryTile: golden.q_tile, keyTile: golden.kv_tile, tiling };
      const { tiles, idealSpeedup } = explain(pattern, { ...shape, tokens: golden.shape }, options);
      expect(tiles.dense).toBe(want.q_tiles * want.kv_tiles_dense_per_q);
      expect(tiles.visited, tiling).toBe(want.visited_total);
      expect(tiles.interior, tiling).toBe(want.interior_total);
      expect(tiles.worst.visited, tiling).toBe(want.worst_visited_per_q);
      expect(idealSpeedup.average).toBeCloseTo(want.bound_average, 3);
      expect(idealSpeedup.worst).toBeCloseTo(want.bound_worst, 3);
    }
  });
});

describe('windows that do not fit', () => {
  const refused = neighborhood.invalid.filter(({ args }) => args.kernel_size?.[0] !== 1);

  it.each(refused)('$why', ({ args }) => {
    const dims = [1, ...args.shape!, 1, 4];
    const zeros = { type: 'float32', data: new Float32Array(dims.reduce((a, n) => a * n, 1)), dims };
    const error = thrownBy(() =>
      neighborhoodAttentionSync(zeros, zeros, zeros, {
        kernelSize: args.kernel_size!,
        ...(args.stride && { stride: args.stride }),
        ...(args.dilation && { dilation: args.dilation }),
        ...(args.is_causal && { causal: args.is_causal }),
      }),
    );
    expect(error).toBeInstanceOf(Error);
    expect((error as { code?: string }).code).toMatch(/^ERR_TILEWISE_(INVALID_OPTION|SHAPE_MISMATCH)$/);
  });

  it('a window of one token, which NATTEN refuses, is each token by itself', () => {
    const { args } = neighborhood.invalid.find(({ args: { kernel_size } }) => kernel_size?.[0] === 1)!;
    const dims = [1, ...args.shape!, 1, 1];
    const values = { type: 'float32', data: Float32Array.from({ length: 8 }, (_, i) => i + 0.5), dims };
    expect(neighborhoodAttentionSync(values, values, values, { kernelSize: 1 }).out.data).toEqual(values.data);
  });

  it('the message names the axis, the window and the length', () => {
    const dims = [1, 4, 9, 1, 4];
    const zeros = { type: 'float32', data: new Float32Array(144), dims };
    const call = (options: NeighborhoodOptions) =>
      thrownBy(() => neighborhoodAttentionSync(zeros, zeros, zeros, options));
    const code = 'ERR_TILEWISE_INVALID_OPTION';
    expectError(call({ kernelSize: [4, 10] }), { code, type: RangeError, says: ['`kernelSize[1]` 10', '9', 'axis 1'] });
    expectError(call({ kernelSize: [4, 5], dilation: [1, 2] }), {
      code,
      type: RangeError,
      says: ['`dilation[1]` 2', '9'],
    });
    expectError(call({ kernelSize: 5 }), { code, type: RangeError, says: ['`kernelSize` 5', '4', 'axis 0'] });
    expectError(call({ kernelSize: [3, 4], stride: [1, 5] }), {
      code,
      type: RangeError,
      says: ['`stride[1]`', '5', '4'],
    });
  });
});
