// Small tensors for tests that look at arguments and not at numbers.

import { Tensor } from '../../dist/index.js';

/** A float32 tensor whose elements differ, the same ones every time. */
export function tensor(...dims: number[]): Tensor<'float32'> {
  const size = dims.reduce((product, length) => product * length, 1);
  return new Tensor(
    'float32',
    Float32Array.from({ length: size }, (_, i) => Math.sin(i * 12.9898 + dims.length) / 2),
    dims,
  );
}

/** A mask whose elements a function of their places decides. */
export function masked(dims: number[], isVisible: (i: number) => boolean): Tensor<'bool'> {
  const size = dims.reduce((product, length) => product * length, 1);
  return new Tensor(
    'bool',
    Uint8Array.from({ length: size }, (_, i) => Number(isVisible(i))),
    dims,
  );
}

/** q, k and v of a problem, [1, tokens, heads, dim]. */
export function operands(tokens: number, heads: number, dim: number) {
  return { q: tensor(1, tokens, heads, dim), k: tensor(1, tokens, heads, dim), v: tensor(1, tokens, heads, dim) };
}

/** Whether two arrays hold the same bytes; much faster than toEqual() on large ones. */
export function isSame(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const bytes = (view: ArrayBufferView) => Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  return bytes(a).equals(bytes(b));
}
