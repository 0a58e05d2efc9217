// Types of tilewise/onnxruntime: onnxruntime's own module goes in, and its tensors come out. Reader: someone who changes ort.ts.
// The compiler checks this file; without a native library onnxruntime-common makes no sessions, so that one is made up.

import * as ort from 'onnxruntime-common';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { makeModel, makeNode, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { type FusedSession, fuse, type Site } from '../../dist/adapters/onnxruntime/index.js';

describe('fuse', () => {
  it("takes onnxruntime's module, and gives sessions of its tensors", async () => {
    const value = ['q', 'k', 'v'].map((name) => makeValueInfo(name, 'float32', [1, 2, 'tokens', 8]));
    const model = makeModel({
      ...{ opset: 23, inputs: value, outputs: [makeValueInfo('y', 'float32')] },
      nodes: [makeNode('Attention', ['q', 'k', 'v'], ['y'])],
    });
    const session = await fuse(ort, model.bytes);
    expectTypeOf(session).toEqualTypeOf<FusedSession<ort.Tensor>>();
    expectTypeOf(session.attention).toEqualTypeOf<readonly Site[]>();
    // The model is attention alone: no session of onnxruntime is needed.
    const operand = (seed: number) =>
      new ort.Tensor(
        'float32',
        Float32Array.from({ length: 48 }, (_, i) => Math.sin(seed + i)),
        [1, 2, 3, 8],
      );
    const zero = new ort.Tensor('float32', new Float32Array(48), [1, 2, 3, 8]);
    const v = operand(3);
    const { y } = await session.run({ q: zero, k: operand(2), v });
    expectTypeOf(y).toEqualTypeOf<ort.Tensor>();
    expect(y).toBeInstanceOf(ort.Tensor);
    expect(y.dims).toEqual([1, 2, 3, 8]);
    // Queries of zeros see every key alike: each row is the mean of the values.
    const numbers = v.data as Float32Array;
    for (const [i, got] of (y.data as Float32Array).entries()) {
      const [head, dim] = [Math.floor(i / 24), i % 8];
      const mean = [0, 1, 2].reduce((sum, key) => sum + numbers[head * 24 + key * 8 + dim], 0) / 3;
      expect(got).toBeCloseTo(mean, 6);
    }
    await session.release();
  });
});
