// Parts of operands and problems around them, for tests that compare one call with another.
// Reader: someone writing a law.

import type { Built } from '../conformance/case.js';
import type { Output } from '../conformance/judge.js';
import { forEachIndex, type Operand, rowMajor } from '../references/operand.js';
import type { Problem } from '../references/problem.js';

/** The chosen indices of one axis, copied, bits and all. */
export function gather(operand: Operand, axis: number, indices: readonly number[]): Operand {
  const dims = operand.dims.map((dim, a) => (a === axis ? indices.length : dim));
  const size = dims.reduce((a, n) => a * n, 1);
  const data = new (operand.data.constructor as Uint16ArrayConstructor)(size);
  const strides = rowMajor(dims);
  const one = operand.dims.map((dim, a) => (a === axis ? 1 : dim));
  indices.forEach((index, n) => {
    const to: number[] = [];
    forEachIndex({ dims: one, strides, offset: n * strides[axis] }, (i) => to.push(i));
    let next = 0;
    forEachIndex({ ...operand, dims: one, offset: operand.offset + index * operand.strides[axis] }, (from) => {
      data[to[next++]] = operand.data[from];
    });
  });
  return { type: operand.type, data, dims, strides, offset: 0 };
}

/** Rows of an output. */
export const rowsOf = ({ out, lse }: Output, rows: readonly number[]): Output => ({
  out: gather(out, 2, rows),
  lse: gather(lse, 2, rows),
});

/** Heads of an output. */
export const headsOf = ({ out, lse }: Output, heads: readonly number[]): Output => ({
  out: gather(out, 1, heads),
  lse: gather(lse, 1, heads),
});

/** The problem with only these queries and these keys. */
export const part = (problem: Problem, queries: readonly number[], keys: readonly number[]): Problem => ({
  ...problem,
  query: gather(problem.query, 2, queries),
  key: gather(problem.key, 2, keys),
  value: gather(problem.value, 2, keys),
});

/** A problem as a call, heads first. */
export const view = (problem: Problem, grid?: number[]): Built => ({
  layout: 'bhnd',
  storage: 'gaps',
  is3d: false,
  problem,
  ...(grid && { grid }),
});

/** Outputs [1, heads, tokens, dim] one after the other along their tokens. */
export function concatenate(parts: readonly Output[]): Output {
  const join = (operands: readonly Operand[]): Operand => {
    const [first] = operands;
    const dims = first.dims.with(
      2,
      operands.reduce((sum, { dims }) => sum + dims[2], 0),
    );
    const size = dims.reduce((a, n) => a * n, 1);
    const data = new (first.data.constructor as Uint16ArrayConstructor)(size);
    const strides = rowMajor(dims);
    let begin = 0;
    for (const operand of operands) {
      const to: number[] = [];
      forEachIndex({ dims: operand.dims, strides, offset: begin * strides[2] }, (index) => to.push(index));
      let n = 0;
      forEachIndex(operand, (index) => {
        data[to[n++]] = operand.data[index];
      });
      begin += operand.dims[2];
    }
    return { type: first.type, data, dims, strides, offset: 0 };
  };
  return { out: join(parts.map(({ out }) => out)), lse: join(parts.map(({ lse }) => lse)) };
}
