// Dense copies of what lies on pages. Reader: someone who hands keys and values to another library.

import { append } from '../ops/append.js';
import { DeviceBuffer } from '../tensor/device-buffer.js';
import { cpu } from '../tensor/devices.js';
import { Tensor } from '../tensor/tensor.js';
import type { FloatType } from '../tensor/types.js';
import { allocate, bytesPer, contiguousStrides, sizeOf, type View } from '../tensor/views.js';
import type { KvPages } from './kv-pages.js';
import type { KvRun } from './kv-run.js';

/** A tensor of a view, which may lie on a device. */
export const tensorOf = ({ type, data, dims, strides, offset }: View): Tensor<FloatType> =>
  new Tensor(type as FloatType, data as never, dims, { strides, offset });

/** The same numbers with tokens and heads, axes 1 and 2, the other way round. */
export function swapped(view: View): View {
  const swap = ([first, a, b, dim]: readonly number[]) => [first, b, a, dim];
  return { ...view, dims: swap(view.dims), strides: swap(view.strides) };
}

/**
 * The rows of runs in one tensor, [runs, tokens of the longest, heads, dim] or heads before tokens.
 * @param pages [pages, pageSize, heads, dim]
 */
export const denseRows = (
  pool: KvPages,
  runs: readonly KvRun[],
  layer: number,
  pages: View,
  isHeadsFirst: boolean,
): Tensor<FloatType> =>
  copied(
    pool,
    runs,
    runs.map((run) => run.lengthOf(layer)),
    pages,
    isHeadsFirst,
  );

/** The first `count` rows of each run, which has them. */
export const firstRows = (
  pool: KvPages,
  runs: readonly KvRun[],
  count: number,
  pages: View,
  isHeadsFirst: boolean,
): Tensor<FloatType> =>
  copied(
    pool,
    runs,
    runs.map(() => count),
    pages,
    isHeadsFirst,
  );

function copied(
  pool: KvPages,
  runs: readonly KvRun[],
  counts: readonly number[],
  pages: View,
  isHeadsFirst: boolean,
): Tensor<FloatType> {
  const { device, type, pageSize } = pool.sizes;
  const [, , heads, dim] = pages.dims;
  const tokens = Math.max(0, ...counts);
  const dims = isHeadsFirst ? [runs.length, heads, tokens, dim] : [runs.length, tokens, heads, dim];
  const dense: View = {
    type,
    data: zeros(device, type, sizeOf(dims)),
    dims,
    strides: contiguousStrides(dims),
    offset: 0,
  };
  const to = isHeadsFirst ? swapped(dense) : dense;
  for (const [entry, run] of runs.entries()) {
    for (let first = 0; first < counts[entry]; first += pageSize) {
      const count = Math.min(pageSize, counts[entry] - first);
      const page = run.pageOf(first);
      const from: View = {
        ...pages,
        dims: [1, count, heads, dim],
        offset: pages.offset + page * pages.strides[0],
      };
      const slots = Int32Array.from({ length: count }, (_, i) => entry * tokens + first + i);
      append(device, { name: 'the cache', from, to }, undefined, false, slots);
    }
  }
  return tensorOf(dense);
}

function zeros(device: number, type: FloatType, size: number): View['data'] {
  const data = allocate(type, size);
  if (device === cpu) return data;
  const buffer = DeviceBuffer.allocate(device, size * bytesPer(type));
  if (size > 0) buffer.uploadSync(data);
  return buffer;
}
