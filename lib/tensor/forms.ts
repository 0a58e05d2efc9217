// Forms: tensors without their memory, by which a call knows that another one is like it.
// Reader: someone who follows a repeated call.

import type { View } from './views.js';

export type Form = Pick<View, 'type' | 'dims' | 'strides'>;

export const formOf = ({ type, dims, strides }: View): Form => ({ type, dims, strides });

export function isLike(a: Form, b: Form): boolean {
  if (a.type !== b.type || a.dims.length !== b.dims.length) return false;
  for (let axis = 0; axis < a.dims.length; ++axis) {
    if (a.dims[axis] !== b.dims[axis] || a.strides[axis] !== b.strides[axis]) return false;
  }
  return true;
}
