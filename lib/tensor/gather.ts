// Gathered rows: the keys of each KV head that are kept, copied together.
// Reader: someone who asks when keys are copied. Only what is kept is, once, for all queries.

import type { Axes } from './axes.js';
import { allocate, contiguousStrides, type HostView, sizeOf } from './views.js';

/** The rows along the last axis of a tensor, in order of the axes before it. */
export function rowsOfHeads(view: HostView): HostView[] {
  const lead = view.dims.slice(0, -1);
  const last = lead.length;
  return Array.from({ length: sizeOf(lead) }, (_, row) => {
    let offset = view.offset;
    for (let axis = last - 1, rest = row; axis >= 0; rest = Math.floor(rest / lead[axis--])) {
      offset += (rest % lead[axis]) * view.strides[axis];
    }
    return { ...view, dims: [view.dims[last]], strides: [view.strides[last]], offset };
  });
}

/**
 * The tokens of each batch entry and head that are named, in new memory.
 * @param view keys or values, [batch, tokens, heads, dim] or as `axes` say
 * @param kept for each batch entry and head the tokens; lists may differ in length
 * @param most tokens of the result; a shorter list has zeros behind it
 */
export function gathered(view: HostView, axes: Axes, kept: readonly Int32Array[], most: number): HostView {
  const { batch, token, head, dim } = axes;
  const dims = view.dims.with(token, most);
  const strides = contiguousStrides(dims);
  const data = allocate(view.type, sizeOf(dims));
  const [source, target] = [view.data as Float32Array, data as Float32Array];
  const [length, heads, step] = [dims[dim], dims[head], view.strides[dim]];
  kept.forEach((tokens, row) => {
    const [b, h] = [Math.floor(row / heads), row % heads];
    const from = view.offset + b * view.strides[batch] + h * view.strides[head];
    const to = b * strides[batch] + h * strides[head];
    tokens.forEach((at, i) => {
      const [begin, end] = [from + at * view.strides[token], to + i * strides[token]];
      if (step === 1) target.set(source.subarray(begin, begin + length), end);
      else for (let d = 0; d < length; ++d) target[end + d] = source[begin + d * step];
    });
  });
  return { type: view.type, data, dims, strides, offset: 0 };
}
