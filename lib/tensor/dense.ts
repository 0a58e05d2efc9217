// Dense copies: a strided view written out in row-major order.
// Reader: someone who asks when a tensor is copied. Only views that native code cannot address with its few strides are.

import { allocating } from '../check/errors.js';
import { checkAttached, contiguousStrides, type HostView, sizeOf, type TensorData } from './views.js';

/** The elements of a view in row-major order, in new memory of the same kind. */
export function toDense(name: string, view: HostView): HostView {
  checkAttached(name, view);
  const { dims, strides, data } = view;
  const Kind = data.constructor as new (length: number) => TensorData;
  const target = allocating(() => new Kind(sizeOf(dims)));
  const copied: HostView = { type: view.type, data: target, dims, strides: contiguousStrides(dims), offset: 0 };
  if (target.length === 0) return copied;
  const last = dims.length - 1;
  const row = last < 0 ? 1 : dims[last];
  const step = last < 0 ? 1 : strides[last];
  const index = new Array<number>(Math.max(last, 0)).fill(0);
  let from = view.offset;
  for (let to = 0; to < target.length; to += row) {
    if (step === 1) target.set(data.subarray(from, from + row) as never, to);
    else for (let i = 0; i < row; ++i) target[to + i] = data[from + i * step];
    // The next row, as an odometer: the last axis that has a next index moves, those behind it go back to 0.
    for (let axis = last - 1; axis >= 0; --axis) {
      from += strides[axis];
      if (++index[axis] < dims[axis]) break;
      from -= dims[axis] * strides[axis];
      index[axis] = 0;
    }
  }
  return copied;
}
