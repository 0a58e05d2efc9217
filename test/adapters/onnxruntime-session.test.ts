// A session's own values: what a run is given, outputs that change no later run, rows without keys, which are means of values.
// Reader: someone who changes session.ts or blind.ts. The models are attention alone, so that no session of onnxruntime is needed.

import * as ort from 'onnxruntime-common';
import { describe, expect, it } from 'vitest';
import { makeModel, makeNode, makeTensor, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { fuse } from '../../dist/adapters/onnxruntime/index.js';

const numbers = (size: number, seed: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i));
const sizeOf = (dims: readonly number[]) => dims.reduce((product, length) => product * length, 1);
const floats = (dims: number[], seed: number) => new ort.Tensor('float32', numbers(sizeOf(dims), seed), dims);
const info = (name: string, dims: number[]) => makeValueInfo(name, 'float32', dims);

describe('an output', () => {
  const dims = [1, 2, 4, 8];
  const { bytes } = makeModel({
    opset: 24,
    nodes: [makeNode('Attention', ['q', 'k', 'v', 'bias'], ['y'])],
    initializers: [makeTensor('bias', 'float32', [1, 1, 4, 4], numbers(16, 9))],
    inputs: ['q', 'k', 'v'].map((name) => info(name, dims)),
    outputs: [...['y', 'q'].map((name) => info(name, dims)), info('bias', [1, 1, 4, 4])],
  });
  const feeds = () => ({ q: floats(dims, 0), k: floats(dims, 1), v: floats(dims, 2) });

  it('that is an initializer is new in every run', async () => {
    const session = await fuse(ort, bytes);
    const first = await session.run(feeds());
    expect(first.bias.data).toEqual(numbers(16, 9));
    const y = (first.y.data as Float32Array).slice();
    (first.bias.data as Float32Array).fill(-50);
    first.bias.dispose();
    const second = await session.run(feeds());
    expect(second.bias.data).toEqual(numbers(16, 9));
    expect(second.y.data).toEqual(y);
    await session.release();
  });

  it('that is an input is another tensor than the one that was fed', async () => {
    const session = await fuse(ort, bytes);
    const fed = feeds();
    const { q } = await session.run(fed);
    expect(q.data).toEqual(fed.q.data);
    (q.data as Float32Array).fill(0);
    q.dispose();
    expect(fed.q.data).toEqual(numbers(64, 0));
    await session.release();
  });
});

describe('what a run is given, as onnxruntime-node takes it', () => {
  const dims = [1, 2, 4, 8];
  const { bytes } = makeModel({
    opset: 24,
    nodes: [makeNode('Attention', ['q', 'k', 'v'], ['y'])],
    initializers: [makeTensor('v', 'float32', dims, numbers(64, 2))],
    inputs: ['q', 'k', 'v'].map((name) => info(name, dims)),
    outputs: ['y', 'q'].map((name) => info(name, dims)),
  });
  const feeds = { q: floats(dims, 0), k: floats(dims, 1) };

  it('has other names, which are ignored: an initializer that is listed as an input stays as it is', async () => {
    const session = await fuse(ort, bytes);
    expect(session.inputNames).toEqual(['q', 'k']);
    const { y } = await session.run(feeds);
    for (const name of ['v', 'nope', 'y']) {
      expect((await session.run({ ...feeds, [name]: floats(dims, 7) })).y.data).toEqual(y.data);
    }
    await session.release();
  });

  it('asks for all outputs with fetches that are neither null nor a tensor', async () => {
    const session = await fuse(ort, bytes);
    for (const fetches of [{ y: undefined }, { y: 5 }, { q: undefined, y: undefined }, {}]) {
      expect(Object.keys(await session.run(feeds, fetches))).toEqual(['y', 'q']);
    }
    expect(Object.keys(await session.run(feeds, { y: null, q: undefined }))).toEqual(['y']);
    await expect(session.run(feeds, { y: null, z: null })).rejects.toThrow(/no output 'z'/);
    await session.release();
  });
});

describe('a row that sees no key', () => {
  const [batch, heads, tokens, dim] = [2, 3, 4, 8];
  const sizes = [batch, heads, tokens, dim];

  it.each([[[0, 1, 2, 3]], [[0, 2, 1, 3]], [[0, 1, 3, 2]], [[0, 2, 3, 1]], [[0, 3, 1, 2]]])(
    'is the mean of values that are transposed by %j',
    async (perm) => {
      // Axis i of the values is axis perm[i] of what is fed.
      const stored = sizes.map((_, axis) => sizes[perm.indexOf(axis)]);
      const { bytes } = makeModel({
        opset: 17,
        nodes: [
          makeNode('Transpose', ['k'], ['kT'], { perm: [0, 1, 3, 2] }),
          makeNode('MatMul', ['q', 'kT'], ['qk']),
          makeNode('Where', ['seen', 'qk', 'low'], ['s']),
          makeNode('Softmax', ['s'], ['p'], { axis: -1 }),
          makeNode('Transpose', ['v'], ['vT'], { perm }),
          makeNode('MatMul', ['p', 'vT'], ['y']),
        ],
        initializers: [makeTensor('low', 'float32', [], Float32Array.of(-3.4e38))],
        inputs: [
          ...[info('q', sizes), info('k', sizes), info('v', stored)],
          makeValueInfo('seen', 'bool', [batch, 1, 1, tokens]),
        ],
        outputs: [makeValueInfo('y', 'float32')],
      });
      const session = await fuse(ort, bytes);
      expect(session.attention).toMatchObject([{ swap: {} }]);
      const v = floats(stored, 2);
      const seen = new ort.Tensor('bool', Uint8Array.of(1, 1, 1, 1, 0, 0, 0, 0), [batch, 1, 1, tokens]);
      const { y } = await session.run({ q: floats(sizes, 0), k: floats(sizes, 1), v, seen });
      const valueAt = (...index: number[]) => {
        const at = stored.reduce((place, length, axis) => place * length + index[perm.indexOf(axis)], 0);
        return (v.data as Float32Array)[at];
      };
      for (let head = 0; head < heads; ++head) {
        for (let i = 0; i < dim; ++i) {
          const mean = [0, 1, 2, 3].reduce((sum, key) => sum + valueAt(1, head, key, i), 0) / tokens;
          for (let query = 0; query < tokens; ++query) {
            const got = (y.data as Float32Array)[((heads + head) * tokens + query) * dim + i];
            expect(Math.abs(got - mean)).toBeLessThan(1e-6);
          }
        }
      }
      await session.release();
    },
  );
});
