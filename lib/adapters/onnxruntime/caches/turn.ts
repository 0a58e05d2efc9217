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

/** What is done to the rows of one call. */
interface Tables {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  /** Numbers of a position: half of the dims that are turned. */
  readonly pairs: number;
  readonly rows: number;
  readonly isInterleaved: boolean;
}

/**
 * Queries or keys turned to their positions.
 * @param x [batch, heads, tokens, dim]
 * @param past tokens of each sequence in front of these
 * @param to memory for them, of float32; absent: their own
 */
export function turned(
  x: Rows,
  { cos, sin, isInterleaved, positions }: NonNullable<SiteCache['rotary']>,
  past: readonly number[],
  tensorOf: (name: string) => OrtTensor,
  node: string,
  to?: Float32Array,
): Rows {
  const [rows, pairs] = tensorOf(cos).dims;
  const tables = { cos: floatsOf(tensorOf(cos)), sin: floatsOf(tensorOf(sin)), pairs, rows, isInterleaved };
  const [batch, , tokens, dim] = x.dims;
  const given = positions === undefined ? undefined : tensorOf(positions);
  if (2 * pairs > dim || (given && !isOf(given.dims, batch, tokens))) {
    const what = given ? `position_ids ${showDims(given.dims)}` : `tables ${showDims(tensorOf(cos).dims)}`;
    throw mismatch(`${node} has ${what} for ${batch} x ${tokens} tokens of dim ${dim}`);
  }
  const places: number[] = [];
  for (let i = 0; i < batch * tokens; ++i) {
    const place = given ? Number((given.data as BigInt64Array)[i]) : past[Math.floor(i / tokens)] + (i % tokens);
    if (!(place >= 0 && place < rows)) {
      throw mismatch(`${node} has tables of ${rows} positions, and a token at ${place}`);
    }
    places.push(place);
  }
  if (x.type === 'float32') return turnRows(x, tables, places, to);
  return Tensor.from(turnRows(Tensor.from(x).astype('float32'), tables, places)).astype(x.type);
}

const isOf = (dims: readonly number[], batch: number, tokens: number): boolean =>
  dims.length === 2 && dims[0] === batch && dims[1] === tokens;

function turnRows(x: Rows, tables: Tables, places: readonly number[], own?: Float32Array): Rows {
  const { cos, sin, pairs, isInterleaved } = tables;
  const [batch, heads, tokens, dim] = x.dims;
  const dims = [batch, heads, tokens, dim];
  const [from, to] = [x.data, own ?? (allocate('float32', sizeOf(dims)) as Float32Array)];
  const [stepBatch, stepHead, stepToken, step] = x.strides;
  const [next, other] = isInterleaved ? [2, 1] : [1, pairs];
  let row = 0;
  for (let b = 0; b < batch; ++b) {
    for (let h = 0; h < heads; ++h) {
      for (let t = 0; t < tokens; ++t, row += dim) {
        const begin = x.offset + b * stepBatch + h * stepHead + t * stepToken;
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
  return { type: 'float32', data: to, dims, strides: contiguousStrides(dims), offset: 0 };
}

const floatsOf = (tensor: OrtTensor): Float32Array =>
  tensor.type === 'float32'
    ? (tensor.data as Float32Array)
    : (Tensor.from(tensor as TensorLike).astype('float32').data as Float32Array);
