// Rotary embedding by tables, as GroupQueryAttention has it inside: the model brings a cosine and a sine for each position.
// Reader: someone whose positions are off. rotate() computes angles itself; a table may say anything, so it is read.
// Source: RotaryEmbedding and GroupQueryAttention in docs/ContribOperators.md of microsoft/onnxruntime.

import { mismatch } from '../../../call/shape.js';
import { showDims } from '../../../check/errors.js';
import { Tensor } from '../../../tensor/tensor.js';
import type { TensorLike } from '../../../tensor/types.js';
import { allocate, contiguousStrides, sizeOf } from '../../../tensor/views.js';
import type { SiteCache } from '../../onnx/sites/site.js';
import type { Rows } from '../operands.js';
import type { OrtTensor } from '../ort.js';

/** A model's tables, and how they are read. */
export interface Tables {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  /** Numbers of a position: half of the dims that are turned. */
  readonly pairs: number;
  readonly rows: number;
  readonly isInterleaved: boolean;
}

type ValueOf = (name: string) => OrtTensor;
type Rotary = NonNullable<SiteCache['rotary']>;

/** Where rows [batch, heads, tokens, dim] are in their memory. */
export type RowView = Omit<Rows, 'data'>;

/**
 * Queries or keys turned to their positions.
 * @param x [batch, heads, tokens, dim]
 * @param past tokens of each sequence in front of these
 */
export function turned(x: Rows, rotary: Rotary, past: readonly number[], tensorOf: ValueOf, node: string): Rows {
  const tables = tablesOf(rotary, tensorOf);
  const places = placesOf(x, tables, rotary, past, tensorOf, node);
  const { data, ...view } = x.type === 'float32' ? x : (Tensor.from(x).astype('float32') as Rows);
  const { dims } = view;
  const to = allocate('float32', sizeOf(dims)) as Float32Array;
  turnRows(data as Float32Array, view, tables, places, to);
  const rows: Rows = { type: 'float32', data: to, dims, strides: contiguousStrides(dims), offset: 0 };
  return x.type === 'float32' ? rows : Tensor.from(rows).astype(x.type);
}

export function tablesOf({ cos, sin, isInterleaved }: Rotary, tensorOf: ValueOf): Tables {
  const cosines = tensorOf(cos);
  const [rows, pairs] = cosines.dims;
  return { cos: floatsOf(cosines), sin: floatsOf(tensorOf(sin)), pairs, rows, isInterleaved };
}

/** The position of each token of rows [batch, heads, tokens, dim], [batch][tokens]. */
export function placesOf(
  { dims }: Pick<RowView, 'dims'>,
  { rows, pairs }: Tables,
  { cos, positions }: Rotary,
  past: readonly number[],
  tensorOf: ValueOf,
  node: string,
): number[] {
  const [batch, , tokens, dim] = dims;
  const given = positions === undefined ? undefined : tensorOf(positions);
  if (2 * pairs > dim || (given && !isOf(given.dims, batch, tokens))) {
    const what = given ? `position_ids ${showDims(given.dims)}` : `tables ${showDims(tensorOf(cos).dims)}`;
    throw mismatch(`${node} has ${what} for ${batch} x ${tokens} tokens of dim ${dim}`);
  }
  const numbers = given?.data as BigInt64Array | undefined;
  const places: number[] = [];
  for (let i = 0; i < batch * tokens; ++i) {
    const place = numbers ? Number(numbers[i]) : past[Math.floor(i / tokens)] + (i % tokens);
    if (!(place >= 0 && place < rows)) {
      throw mismatch(`${node} has tables of ${rows} positions, and a token at ${place}`);
    }
    places.push(place);
  }
  return places;
}

const isOf = (dims: readonly number[], batch: number, tokens: number): boolean =>
  dims.length === 2 && dims[0] === batch && dims[1] === tokens;

/** Turns rows into contiguous memory. */
export function turnRows(
  from: Float32Array,
  { dims, strides, offset }: RowView,
  { cos, sin, pairs, isInterleaved }: Tables,
  places: readonly number[],
  to: Float32Array,
): void {
  const [batch, heads, tokens, dim] = dims;
  const [stepBatch, stepHead, stepToken, step] = strides;
  const [next, other] = isInterleaved ? [2, 1] : [1, pairs];
  let row = 0;
  for (let b = 0; b < batch; ++b) {
    for (let h = 0; h < heads; ++h) {
      for (let t = 0; t < tokens; ++t, row += dim) {
        const begin = offset + b * stepBatch + h * stepHead + t * stepToken;
        const angle = places[b * tokens + t] * pairs;
        for (let i = 0; i < pairs; ++i) {
          const at = begin + i * next * step;
          const a = from[at];
          const z = from[at + other * step];
          const c = cos[angle + i];
          const s = sin[angle + i];
          to[row + i * next] = a * c - z * s;
          to[row + i * next + other] = a * s + z * c;
        }
        for (let d = 2 * pairs; d < dim; ++d) to[row + d] = from[begin + d * step];
      }
    }
  }
}

const floatsOf = (tensor: OrtTensor): Float32Array =>
  tensor.type === 'float32'
    ? (tensor.data as Float32Array)
    : (Tensor.from(tensor as TensorLike).astype('float32').data as Float32Array);
