// Relative logits of haloAttention(): the products of a query with the key vectors of distances, per axis.
// Reader: someone who asks how q·r reaches the scores. They ride along in further dims: those of a query are its logits by
// where a key is in its window, those of a key are 1 where it is, so that q·k + q·r is one product. Memory grows with tokens.

import { maxHeadDim, mismatch } from '../call/shape.js';
import { axesOf, type TokenAxes, tokenAxesOf } from '../tensor/axes.js';
import { converted, writer } from '../tensor/convert.js';
import { toDense } from '../tensor/dense.js';
import type { TensorLike } from '../tensor/types.js';
import { allocate, type HostView, sizeOf, type View } from '../tensor/views.js';
import type { Calls } from './calls.js';

/** The axes of a grid, and its blocks along them. */
export interface HaloGrid {
  readonly axes: readonly HaloAxis[];
}
export interface HaloAxis {
  readonly length: number;
  readonly block: number;
  readonly halo: number;
}

/** The products q·r of each row of q, in the order of its dense elements, [rows, distances] for each axis. */
export interface RelativeLogits {
  readonly products: readonly Float32Array[];
  /** What they are multiplied by before they are logits. */
  readonly scale: number;
}

/** Queries and keys with dims for the relative logits, and the products. */
export function* withLogits(
  q: View,
  k: View,
  isHeadsFirst: boolean,
  { axes }: HaloGrid,
  relative: readonly View[],
): Calls<{ queries: TensorLike; keys: TensorLike; logits: Omit<RelativeLogits, 'scale'> }> {
  // So many places tell the keys of a window apart.
  const places = axes.map(({ length, block, halo }) => Math.min(length, block + 2 * halo));
  const dim = q.dims[q.dims.length - 1];
  const more = places.reduce((sum, count) => sum + count, 0);
  if (dim + more > maxHeadDim) {
    throw mismatch(
      `\`relativeKeys\` takes ${more} dims next to the ${dim} of \`q\`: one for each key of a window along each axis, and ` +
        `together they must be at most ${maxHeadDim}`,
    );
  }
  const products: Float32Array[] = [];
  const rows = converted(q as HostView, 'float32').data as Float32Array;
  for (const one of relative) products.push(yield* productsWith(rows, dim, one as HostView));

  const tokens = tokenAxesOf(axesOf(q.dims.length, isHeadsFirst), q.dims.length);
  const first = places.map((_, a) => places.slice(0, a).reduce((sum, count) => sum + count, dim));
  const queries = widened('q', q as HostView, more, tokens, (row, at, put) => {
    axes.forEach((axis, a) => {
      const [begin, end] = windowOf(axis, at[a]);
      const distances = 2 * (axis.block + axis.halo) - 1;
      const zero = row * distances + axis.block + axis.halo - 1 - at[a];
      for (let key = Math.max(begin, 0); key < Math.min(end, axis.length); ++key) {
        put(first[a] + (key % places[a]), products[a][zero + key]);
      }
    });
  });
  const keys = widened('k', k as HostView, more, tokens, (_, at, put) => {
    axes.forEach((_axis, a) => {
      put(first[a] + (at[a] % places[a]), 1);
    });
  });
  return { queries, keys, logits: { products } };
}

/** The window of a token of an axis, as far as it goes. */
export function windowOf({ block, halo }: HaloAxis, token: number): [begin: number, end: number] {
  const begin = token - (token % block);
  return [begin - halo, begin + block + halo];
}

/** Distances whose products are one call. */
const perCall = 256;

/**
 * Products of rows with vectors, by attention: relu weighs x where it is above 0 and, of the vector turned round, -x where it is
 * below, and the values put the two where they belong.
 */
function* productsWith(rows: Float32Array, dim: number, vectors: HostView): Calls<Float32Array> {
  const count = vectors.dims[0];
  const ofRows = dim === 0 ? 0 : rows.length / dim;
  const given = converted(vectors, 'float32').data as Float32Array;
  const products = allocate('float32', ofRows * count);
  for (let from = 0; from < count; from += perCall) {
    const size = Math.min(perCall, count - from);
    const keys = allocate('float32', 2 * size * dim);
    keys.set(given.subarray(from * dim, (from + size) * dim));
    for (let i = 0; i < size * dim; ++i) keys[size * dim + i] = -keys[i];
    const values = allocate('float32', 2 * size * size);
    for (let i = 0; i < size; ++i) {
      values[i * size + i] = 2 * size; // relu divides by the number of keys
      values[(size + i) * size + i] = -2 * size;
    }
    const one = (data: Float32Array, tokens: number, length: number) =>
      ({ type: 'float32', data, dims: [1, tokens, 1, length] }) as const;
    const { out } = yield {
      tensors: [one(rows, ofRows, dim), one(keys, 2 * size, dim), one(values, 2 * size, size)],
      options: { activation: 'relu', scale: 1, device: 'cpu' },
    };
    const found = out.data as Float32Array;
    for (let row = 0; row < ofRows; ++row) {
      products.set(found.subarray(row * size, (row + 1) * size), row * count + from);
    }
  }
  return products;
}

/** A dense copy with more dims, which `fill` puts numbers into, row by row. */
function widened(
  name: string,
  view: HostView,
  more: number,
  tokens: TokenAxes,
  fill: (row: number, token: readonly number[], put: (dim: number, value: number) => void) => void,
): HostView {
  const source = toDense(name, view);
  const last = view.dims.length - 1;
  const dim = view.dims[last];
  const dims = view.dims.with(last, dim + more);
  const data = allocate(view.type, sizeOf(dims));
  const write = writer(view.type, data);
  forEachRow(view.dims, tokens, (row, at) => {
    const begin = row * (dim + more);
    data.set(source.data.subarray(row * dim, (row + 1) * dim) as never, begin);
    fill(row, at, (d, value) => write(begin + d, value));
  });
  const strides = dims.map((_, axis) => sizeOf(dims.slice(axis + 1)));
  return { type: view.type, data, dims, strides, offset: 0 };
}

/** Calls visit(row, place on the token axes) for each row of a tensor, in order. */
export function forEachRow(
  dims: readonly number[],
  { first, count }: TokenAxes,
  visit: (row: number, token: readonly number[]) => void,
): void {
  const lead = dims.slice(0, -1);
  const index = new Array<number>(lead.length).fill(0);
  const rows = sizeOf(lead);
  for (let row = 0; row < rows; ++row) {
    visit(row, index.slice(first, first + count));
    for (let axis = lead.length - 1; axis >= 0; --axis) {
      if (++index[axis] < lead[axis]) break;
      index[axis] = 0;
    }
  }
}
