// float16 tensors of onnxruntime in a fused session: bits in a Uint16Array, or numbers in a Float16Array where the engine has one.
// Reader: someone who changes attend.ts. The model is attention alone, so that no session of onnxruntime is needed; float64 is the
// reference.

import * as ort from 'onnxruntime-common';
import { expect, it } from 'vitest';
import { makeModel, makeNode, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { fuse } from '../../dist/adapters/onnxruntime/index.js';
import { fromBits, toBits } from '../references/half.js';

const [heads, queries, keys, dim] = [2, 3, 5, 8];

const bitsOf = (length: number, seed: number) =>
  Uint16Array.from({ length }, (_, i) => toBits('float16', Math.sin(seed + 1.7 * i)));
const numbersOf = (bits: Uint16Array) => Array.from(bits, (one) => fromBits('float16', one));
const tensor = (bits: Uint16Array, dims: number[]) => new ort.Tensor('float16', bits, dims);
const halves = (data: ArrayLike<number>) => (data instanceof Uint16Array ? numbersOf(data) : Array.from(data));

it('goes in and comes out as onnxruntime has it, one rounding away from float64', async () => {
  const infos = Object.entries({ q: dim, k: dim, v: dim, mask: 'keys' }).map(([name, width]) =>
    makeValueInfo(name, 'float16', [1, heads, 'tokens', width]),
  );
  const model = makeModel({
    ...{ opset: 23, inputs: infos, outputs: [makeValueInfo('y', 'float16')] },
    nodes: [makeNode('Attention', ['q', 'k', 'v', 'mask'], ['y'])],
  });
  const session = await fuse(ort, model.bytes);
  expect(session.attention).toMatchObject([{ mask: 'additive', swap: { masks: [{ as: 'bias' }] } }]);
  const [q, k, v] = [queries, keys, keys].map((tokens, i) => bitsOf(heads * tokens * dim, i));
  const mask = bitsOf(heads * queries * keys, 3);
  const { y } = await session.run({
    q: tensor(q, [1, heads, queries, dim]),
    ...{ k: tensor(k, [1, heads, keys, dim]), v: tensor(v, [1, heads, keys, dim]) },
    mask: tensor(mask, [1, heads, queries, keys]),
  });
  expect([y.type, y.dims]).toEqual(['float16', [1, heads, queries, dim]]);
  expect(y.data.constructor).toBe(tensor(q, [q.length]).data.constructor);
  const [Q, K, V, M] = [q, k, v, mask].map(numbersOf);
  for (const [i, got] of halves(y.data as ArrayLike<number>).entries()) {
    const [head, row, column] = [Math.floor(i / (queries * dim)), Math.floor(i / dim), i % dim];
    const scores = Array.from({ length: keys }, (_, key) => {
      const at = (head * keys + key) * dim;
      const product = Array.from({ length: dim }, (__, d) => Q[row * dim + d] * K[at + d]).reduce((a, b) => a + b, 0);
      return product / Math.sqrt(dim) + M[row * keys + key];
    });
    const weights = scores.map(Math.exp);
    const sum = weights.reduce((a, b) => a + b, 0);
    const want =
      weights.reduce((total, weight, key) => total + weight * V[(head * keys + key) * dim + column], 0) / sum;
    expect(Math.abs(got - want)).toBeLessThanOrEqual(2 ** -11 * Math.max(Math.abs(want), 2 ** -4) + 1e-6);
  }
  await session.release();
});
