// Reshaping: the same elements in the same order under other dims, as strides alone can say it.
// Reader: someone who asks why reshape() refused. Idea: NumPy's reshape without a copy: axes that nest are one run, and every
// new axis is a part of one run.

import { contiguousStrides, type View } from './views.js';

/** Consecutive elements at one distance. */
interface Run {
  length: number;
  readonly stride: number;
}

/** The axes of a view as the fewest runs, the last axis first. */
function runsOf({ dims, strides }: Pick<View, 'dims' | 'strides'>): Run[] {
  const runs: Run[] = [];
  for (let axis = dims.length - 1; axis >= 0; --axis) {
    if (dims[axis] === 1) continue;
    const run = runs.at(-1);
    if (run && strides[axis] === run.stride * run.length) run.length *= dims[axis];
    else runs.push({ length: dims[axis], stride: strides[axis] });
  }
  return runs;
}

/** The strides of a view under other dims of as many elements; undefined where no strides give the order. */
export function reshapedStrides(view: Pick<View, 'dims' | 'strides'>, dims: readonly number[]): number[] | undefined {
  const strides = contiguousStrides(dims);
  if (dims.includes(0)) return strides;
  const runs = runsOf(view);
  let next = 0;
  let { length: left, stride } = { length: 1, stride: 1 };
  for (let axis = dims.length - 1; axis >= 0; --axis) {
    if (dims[axis] === 1) continue;
    if (left === 1) ({ length: left, stride } = runs[next++]);
    if (left % dims[axis] !== 0) return undefined;
    strides[axis] = stride;
    stride *= dims[axis];
    left /= dims[axis];
  }
  return strides;
}
