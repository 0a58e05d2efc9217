// Rows that a Where hides every key from: all their scores are one number, so that they are the mean of all values.
// Reader: someone whose model has rows of padding. attention() gives 0 there, and what was hidden may be NaN: a mean of values is not.

import { Tensor } from '../../../tensor/tensor.js';
import type { FloatType } from '../../../tensor/types.js';
import type { Rows } from '../operands.js';
import type { ShownBytes } from './key-masks.js';

/** Writes these rows. @param out, v [batch, heads, tokens, dim]; heads of v divide those of out */
export function fillBlind(out: Rows, v: Rows, { shown, dims }: ShownBytes): void {
  const [batch, heads, queries, dim] = out.dims;
  const lengths = [...Array<number>(4 - dims.length).fill(1), ...dims];
  const steps = lengths.map((length, axis) =>
    length === 1 ? 0 : lengths.slice(axis + 1).reduce((product, inner) => product * inner, 1),
  );
  const { data, strides, offset } = out;
  let means: ArrayLike<number> | undefined;
  for (let entry = 0; entry < batch; ++entry) {
    for (let head = 0; head < heads; ++head) {
      for (let query = 0; query < queries; ++query) {
        const row = entry * steps[0] + head * steps[1] + query * steps[2];
        if (shown.subarray(row, row + lengths[3]).includes(1)) continue;
        means ??= meansOf(v, out.type);
        const from = (entry * v.dims[1] + Math.floor((head * v.dims[1]) / heads)) * dim;
        const to = offset + entry * strides[0] + head * strides[1] + query * strides[2];
        for (let i = 0; i < dim; ++i) data[to + i * strides[3]] = means[from + i];
      }
    }
  }
}

/** The mean of values over keys, [batch, heads, dim], as elements of a type. */
function meansOf(v: Rows, type: FloatType): ArrayLike<number> {
  const [batch, heads, keys, dim] = v.dims;
  // A view, as the values are, where their type is this one already.
  const { data, strides, offset } = Tensor.from(v).astype('float32');
  const means = new Float32Array(batch * heads * dim);
  for (let i = 0; i < means.length; ++i) {
    const row = Math.floor(i / dim);
    const first = offset + Math.floor(row / heads) * strides[0] + (row % heads) * strides[1] + (i % dim) * strides[3];
    let sum = 0;
    for (let key = 0; key < keys; ++key) sum += data[first + key * strides[2]];
    means[i] = sum / keys;
  }
  return new Tensor('float32', means, [means.length]).astype(type).data as ArrayLike<number>;
}
