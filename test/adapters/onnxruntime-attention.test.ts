// Attention of ONNX in forms that onnxruntime refuses, beside float64: masks that broadcast along queries or keys, as ONNX says.
// Reader: someone whose mask is smaller than the scores. The models are attention alone, so that no session of onnxruntime is needed.

import * as ort from 'onnxruntime-common';
import { describe, expect, it } from 'vitest';
import { makeModel, makeNode, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { fuse } from '../../dist/adapters/onnxruntime/index.js';
import { attention } from '../references/attention.js';
import { broadcast, type Operand, rowMajor } from '../references/operand.js';

const [heads, queries, keys, dim] = [2, 5, 7, 8];
const numbers = (dims: number[], seed: number): Operand => ({
  ...{ type: 'float32', dims, strides: rowMajor(dims), offset: 0 },
  data: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(seed + 1.7 * i)),
});
const flags = (dims: number[]): Operand => ({
  ...numbers(dims, 3),
  type: 'bool',
  data: Uint8Array.from(numbers(dims, 3).data, (number) => Number(number > -0.6)),
});
const query = numbers([1, heads, queries, dim], 0);
const [key, value] = [1, 2].map((seed) => numbers([1, heads, keys, dim], seed));
const tensorOf = ({ type, data, dims }: Operand) => new ort.Tensor(type as never, data as never, dims);

async function outputOf(mask: Operand, attributes: Record<string, number> = {}): Promise<Float32Array> {
  const infos = Object.entries({ q: query, k: key, v: value, mask });
  const model = makeModel({
    ...{ opset: 24, inputs: infos.map(([name, { type, dims }]) => makeValueInfo(name, type as 'float32', dims)) },
    outputs: [makeValueInfo('y', 'float32')],
    nodes: [makeNode('Attention', ['q', 'k', 'v', 'mask'], ['y'], attributes)],
  });
  const session = await fuse(ort, model.bytes);
  const { y } = await session.run(Object.fromEntries(infos.map(([name, operand]) => [name, tensorOf(operand)])));
  await session.release();
  return y.data as Float32Array;
}

describe.each([
  ['true and false', flags, 'mask'],
  ['numbers', (dims: number[]) => numbers(dims, 3), 'bias'],
] as const)('a mask of %s', (_, make, option) => {
  it.each([[[queries, 1]], [[1, keys]], [[keys]], [[heads, queries, 1]], [[1, 1, 1, keys]], [[1, heads, 1, 1]]])(
    'of dims %j broadcasts to the scores, as ONNX says',
    async (dims) => {
      for (const isCausal of [false, true]) {
        const mask = make(dims);
        const got = await outputOf(mask, { is_causal: Number(isCausal) });
        const whole = broadcast(mask, [1, heads, queries, keys]);
        const { out } = attention({ query, key, value, causal: isCausal, align: 'top-left', [option]: whole });
        for (const [i, want] of out.entries()) expect(Math.abs(got[i] - want)).toBeLessThan(1e-5);
      }
    },
  );

  it('of other dims is refused, shorter ones as well', async () => {
    for (const dims of [
      [queries, keys - 1],
      [queries - 1, keys],
      [heads + 1, queries, keys],
    ]) {
      await expect(outputOf(make(dims))).rejects.toMatchObject({ code: 'ERR_TILEWISE_SHAPE_MISMATCH' });
    }
  });
});
