// Dense copies of what lies on pages. Reader: someone who hands keys and values to another library.

import { append } from '../ops/append.js';
import type { CodedKind } from '../ops/encode.js';
import { DeviceBuffer } from '../tensor/device-buffer.js';
import { cpu } from '../tensor/devices.js';
import { Tensor } from '../tensor/tensor.js';
import type { FloatType } from '../tensor/types.js';
import { allocate, bytesPer, contiguousStrides, sizeOf, sliced, type View } from '../tensor/views.js';
import type { CodedTokens } from './coded-tokens.js';
import type { KvPages } from './kv-pages.js';
import type { KvPart } from './kv-parts.js';
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
 * The rows of all parts in one tensor, [sequences, tokens of the longest, heads, dim] or heads before tokens.
 * @param pagesOf the keys or the values of a part, [pages, pageSize, heads, dim]
 */
export function denseRows(
  parts: readonly KvPart[],
  layer: number,
  pagesOf: (pool: KvPages) => View,
  isHeadsFirst: boolean,
): Tensor<FloatType> {
  const [{ pool, runs }] = parts;
  const counts = runs.map((run) => run.lengthOf(layer));
  const heads = parts.reduce((most, part) => Math.max(most, part.heads.end), 0);
  const { dense, rows } = zeroRows(pool, counts, heads, pagesOf(pool).dims[3], isHeadsFirst);
  for (const part of parts) copyRows(part, counts, pagesOf(part.pool), sliced(rows, 2, part.heads));
  return tensorOf(dense);
}

/** Writes the rows of a sequence that have codes to [tokens][heads][dim], as numbers. */
function readCodes(codes: CodedTokens, kind: CodedKind, entry: number, to: Float32Array): void {
  const { tiers } = codes;
  const readers = tiers.map((tier) => tier.reader());
  const run = codes.runs[entry];
  const end = kind === 'keys' ? run.keyEnd : run.valueEnd;
  const [{ heads, places }] = tiers;
  const { dim } = places[kind].form;
  for (let token = 0; token < end; ++token) {
    const { tier, page, row } = codes.blockOf(run, token);
    for (let head = 0; head < heads; ++head) {
      readers[tier].read(kind, page, head, row, to, (token * heads + head) * dim);
    }
  }
}

/** The rows of a part whose older tokens have codes, in the same form: codes as the numbers that they stand for, in float32 and in the process's memory. */
function codedRows(part: KvPart, kind: CodedKind, isHeadsFirst: boolean): Tensor<FloatType> {
  const { pool, runs } = part;
  const codes = part.codes as CodedTokens;
  const { kvHeads, headDim, valueDim } = pool.sizes;
  const dim = kind === 'keys' ? headDim : valueDim;
  const counts = runs.map((run) => run.lengthOf(0));
  const tokens = Math.max(0, ...counts);
  const dims = [runs.length, tokens, kvHeads, dim];
  const dense: View = {
    type: 'float32',
    data: new Float32Array(sizeOf(dims)),
    dims,
    strides: contiguousStrides(dims),
    offset: 0,
  };
  for (const [entry, run] of runs.entries()) {
    const data = (dense.data as Float32Array).subarray(entry * dense.strides[0], (entry + 1) * dense.strides[0]);
    readCodes(codes, kind, entry, data);
    const { keyEnd, valueEnd } = codes.runs[entry];
    const first = kind === 'keys' ? keyEnd : valueEnd;
    const rows = exactRows(kind, { pool, run }, first, counts[entry] - first);
    for (let t = 0; t < rows.tokens; ++t)
      for (let head = 0; head < kvHeads; ++head) {
        const from = (head * rows.tokens + t) * dim;
        data.set(rows.data.subarray(from, from + dim), ((first + t) * kvHeads + head) * dim);
      }
  }
  const whole = tensorOf(dense);
  return isHeadsFirst ? whole.transpose([0, 2, 1, 3]).contiguous() : whole;
}

/** Rows of all heads, those of one head after those of the other. */
interface FloatRows {
  readonly data: Float32Array;
  readonly tokens: number;
}

/** Rows of tokens that are on pages, as float32. */
function exactRows(
  kind: CodedKind,
  { pool, run }: { pool: KvPages; run: KvRun },
  first: number,
  count: number,
): FloatRows {
  const { kvHeads, headDim, valueDim, pageSize, device } = pool.sizes;
  const dim = kind === 'keys' ? headDim : valueDim;
  const pages = kind === 'keys' ? pool.keysOf(0) : pool.valuesOf(0);
  const numbers = new Float32Array(kvHeads * count * dim);
  const data = device === cpu ? numbers : DeviceBuffer.allocate(device, numbers.byteLength);
  const dims = [1, count, kvHeads, dim];
  const to: View = { type: 'float32', data, dims, strides: [numbers.length, dim, count * dim, 1], offset: 0 };
  for (let token = first; token < first + count; ) {
    const row = token % pageSize;
    const rows = Math.min(pageSize - row, first + count - token);
    const from: View = {
      ...pages,
      dims: pages.dims.with(0, 1).with(1, rows),
      offset: pages.offset + run.pageOf(token) * pages.strides[0] + row * pages.strides[1],
    };
    const begin = token - first;
    const slots = Int32Array.from({ length: rows }, (_, i) => begin + i);
    append(device, { name: 'the cache', from, to }, undefined, false, slots);
    token += rows;
  }
  if (data instanceof DeviceBuffer) {
    if (count > 0) data.downloadSync(numbers, 0);
    data.release();
  }
  return { data: numbers, tokens: count };
}

/** The keys or the values of a layer as a tensor of their own, whatever they are kept as. */
export function rowsOf(
  parts: readonly KvPart[],
  layer: number,
  kind: CodedKind,
  isHeadsFirst: boolean,
): Tensor<FloatType> {
  if (parts[0].codes) return codedRows(parts[0], kind, isHeadsFirst);
  const pagesOf = (pool: KvPages) => (kind === 'keys' ? pool.keysOf(layer) : pool.valuesOf(layer));
  return denseRows(parts, layer, pagesOf, isHeadsFirst);
}

/** The first `count` rows of each run of a part, which has them. */
export function firstRows(part: KvPart, count: number, pages: View, isHeadsFirst: boolean): Tensor<FloatType> {
  const counts = part.runs.map(() => count);
  const { dense, rows } = zeroRows(part.pool, counts, pages.dims[2], pages.dims[3], isHeadsFirst);
  copyRows(part, counts, pages, rows);
  return tensorOf(dense);
}

/** Memory for rows, and the same as [sequences, tokens, heads, dim]. */
function zeroRows(pool: KvPages, counts: readonly number[], heads: number, dim: number, isHeadsFirst: boolean) {
  const { device, type } = pool.sizes;
  const tokens = Math.max(0, ...counts);
  const dims = isHeadsFirst ? [counts.length, heads, tokens, dim] : [counts.length, tokens, heads, dim];
  const data = zeros(device, type, sizeOf(dims));
  const dense: View = { type, data, dims, strides: contiguousStrides(dims), offset: 0 };
  return { dense, rows: isHeadsFirst ? swapped(dense) : dense };
}

/** Copies the first rows of each run, `counts` of them. */
function copyRows({ pool, runs }: KvPart, counts: readonly number[], pages: View, to: View): void {
  const { device, pageSize } = pool.sizes;
  const tokens = to.dims[1];
  for (const [entry, run] of runs.entries()) {
    for (let first = 0; first < counts[entry]; first += pageSize) {
      const count = Math.min(pageSize, counts[entry] - first);
      const from: View = {
        ...pages,
        dims: pages.dims.with(0, 1).with(1, count),
        offset: pages.offset + run.pageOf(first) * pages.strides[0],
      };
      const slots = Int32Array.from({ length: count }, (_, i) => entry * tokens + first + i);
      append(device, { name: 'the cache', from, to }, undefined, false, slots);
    }
  }
}

function zeros(device: number, type: FloatType, size: number): View['data'] {
  const data = allocate(type, size);
  if (device === cpu) return data;
  const buffer = DeviceBuffer.allocate(device, size * bytesPer(type));
  if (size > 0) buffer.uploadSync(data);
  return buffer;
}
