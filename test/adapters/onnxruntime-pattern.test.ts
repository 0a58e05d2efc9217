// Patterns in the place of a model's causal order: which options stand for a mask and a pattern, and outputs beside float64.
// Reader: someone who changes pattern.ts. The models are attention alone, so that no session of onnxruntime is needed.

import * as ort from 'onnxruntime-common';
import { describe, expect, it } from 'vitest';
import { makeModel, makeNode, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import type { SiteMask, SitePattern } from '../../dist/adapters/onnx/sites/site.js';
import { fuse } from '../../dist/adapters/onnxruntime/index.js';
import { RunMasks, SessionMasks } from '../../dist/adapters/onnxruntime/masks/masks.js';
import { blocks, slidingWindow, stridedShards } from '../../dist/index.js';
import { attention } from '../references/attention.js';
import { type Operand, rowMajor } from '../references/operand.js';
import type { Problem } from '../references/problem.js';

describe('a pattern and a mask become', () => {
  const window = slidingWindow({ left: 1, causal: true });
  const mask: SiteMask = { value: 'mask', as: 'mask', isInverted: false, hidden: Number.NEGATIVE_INFINITY };
  const read = (bytes: number[], dims: number[], queries: number, pattern: SitePattern = window, isCausal = false) =>
    new RunMasks().optionsOf(
      [[mask, { type: 'bool', data: Uint8Array.from(bytes), dims }]],
      { batch: 1, heads: 2, queries, keys: 3 },
      isCausal,
      pattern,
    );
  const at = (align: 'top-left' | 'bottom-right') => ({ pattern: { ...window, align } });

  it('the pattern alone, where the mask is causal order or shows everything', () => {
    expect(read([1, 0, 0, 1, 1, 0, 1, 1, 1], [1, 1, 3, 3], 3)).toEqual(at('bottom-right'));
    expect(read(Array(9).fill(1), [1, 1, 3, 3], 3)).toEqual(at('top-left'));
    expect(read([1, 1, 1], [1, 1, 1, 3], 1)).toEqual(at('bottom-right'));
    expect(new RunMasks().optionsOf([], { batch: 1, heads: 2, queries: 2, keys: 3 }, false, window)).toEqual(
      at('bottom-right'),
    );
    expect(new RunMasks().optionsOf([], { batch: 1, heads: 2, queries: 2, keys: 3 }, true, window)).toEqual(
      at('top-left'),
    );
  });

  it('the pattern and padding', () => {
    expect(read([1, 1, 0], [1, 1, 1, 3], 3)).toEqual({ ...at('top-left'), keyLengths: Int32Array.of(2) });
    expect(read([0, 0, 0, 0, 1, 0, 0, 1, 1], [1, 1, 3, 3], 3)).toEqual({
      ...at('bottom-right'),
      keyStarts: Int32Array.of(1),
    });
    // A token that comes behind others, in a cache that has room for more.
    expect(read([1, 1, 0], [1, 1, 1, 3], 1)).toEqual({ ...at('bottom-right'), keyLengths: Int32Array.of(2) });
    expect(read([1, 1, 0], [1, 1, 1, 3], 3, window, true)).toEqual({
      ...at('top-left'),
      keyLengths: Int32Array.of(2),
    });
  });

  it('both, where the mask is another one and the pattern shows nothing behind a query', () => {
    const cross = [1, 0, 1, 0, 1, 0, 1, 0, 1];
    expect(read(cross, [1, 1, 3, 3], 3)).toEqual({
      ...at('top-left'),
      mask: { type: 'bool', data: Uint8Array.from(cross), dims: [1, 1, 3, 3] },
    });
    for (const pattern of [
      slidingWindow({ left: 1, right: 1 }),
      blocks({ blockQ: 1, blockK: 1, csr: { rowOffsets: Int32Array.of(0, 1, 2, 3), columns: Int32Array.of(0, 1, 2) } }),
    ]) {
      expect(() => read(cross, [1, 1, 3, 3], 3, pattern)).toThrow(
        expect.objectContaining({ code: 'ERR_TILEWISE_UNSUPPORTED' }),
      );
    }
  });

  it('one object for all calls, so that what is made of it is found again', () => {
    const columns = Int32Array.of(0, 1, 2);
    const lists = blocks({
      blockQ: 1,
      blockK: 1,
      csr: { rowOffsets: Int32Array.of(0, 1, 2, 3), columns },
      causal: true,
    });
    const cross = [1, 0, 1, 0, 1, 0, 1, 0, 1];
    const later = [0, 0, 1, 0, 0, 0, 0, 0, 0];
    for (const pattern of [window, lists, stridedShards({ blockSize: 1, localBlocks: 1, vertStride: 2 })]) {
      for (const isCausal of [false, true]) {
        const sizes = { batch: 1, heads: 2, queries: 2, keys: 3 };
        const call = () => new RunMasks().optionsOf([], sizes, isCausal, pattern).pattern;
        expect(call()).toEqual({ ...pattern, align: isCausal ? 'top-left' : 'bottom-right' });
        expect(call()).toBe(call());
        if (!isCausal) expect(call()).toBe(pattern);
      }
      const [masked, again, other] = [cross, cross, later].map((bytes) => read(bytes, [1, 1, 3, 3], 3, pattern));
      expect(masked.pattern).toBe(again.pattern);
      expect(other.pattern).toBe(masked.pattern);
    }
  });

  it('nothing, where a run shows that the mask is numbers', () => {
    const numbers: SiteMask = { ...mask, as: 'bias' };
    const tensor = { type: 'float32', data: Float32Array.of(0, -1, 0), dims: [1, 1, 1, 3] };
    const sizes = { batch: 1, heads: 2, queries: 3, keys: 3 };
    expect(() => new RunMasks().optionsOf([[numbers, tensor]], sizes, false, window)).toThrow(/'mask' adds numbers/);
  });
});

describe('the output', () => {
  const [heads, tokens, dim] = [4, 24, 8];
  const dims = [1, heads, tokens, dim];
  const operand = (seed: number): Operand => {
    const data = Float32Array.from({ length: heads * tokens * dim }, (_, i) => Math.sin(seed + 1.7 * i));
    return { type: 'float32', data, dims, strides: rowMajor(dims), offset: 0 };
  };
  const [query, key, value] = [0, 1, 2].map(operand);

  it.each<[string, SitePattern, Partial<Problem>]>([
    [
      'a window with sinks',
      slidingWindow({ left: 5, causal: true, sinkTokens: 2 }),
      { left: 5, right: 0, sinkTokens: 2 },
    ],
    [
      'strided shards',
      stridedShards({ blockSize: 4, localBlocks: 2, vertStride: 3 }),
      { causal: true, pattern: { kind: 'stridedShards', blockSize: 4, localBlocks: 2, vertStride: 3 } },
    ],
  ])('of %s is that of float64, where the model says is_causal', async (_, pattern, problem) => {
    const model = makeModel({
      ...{
        opset: 23,
        inputs: ['q', 'k', 'v'].map((name) => makeValueInfo(name, 'float32', [1, heads, 'tokens', dim])),
      },
      outputs: [makeValueInfo('y', 'float32')],
      nodes: [makeNode('Attention', ['q', 'k', 'v'], ['y'], { is_causal: 1 })],
    });
    const session = await fuse(ort, model.bytes, { pattern: () => pattern });
    const tensor = (of: Operand) => new ort.Tensor('float32', of.data as Float32Array, dims);
    const { y } = await session.run({ q: tensor(query), k: tensor(key), v: tensor(value) });
    const { out } = attention({ query, key, value, ...problem });
    for (const [i, want] of out.entries()) {
      expect(Math.abs((y.data as Float32Array)[i] - want)).toBeLessThan(1e-5);
    }
    await session.release();
  });
});

describe('masks from run to run', () => {
  const mask: SiteMask = { value: 'mask', as: 'mask', isInverted: false, hidden: Number.NEGATIVE_INFINITY };
  const tensor = (bytes: number[]) => ({ type: 'bool', data: Uint8Array.from(bytes), dims: [1, 1, 1, 3] }) as const;
  const sizes = { batch: 1, heads: 2, queries: 3, keys: 3 };

  // Calls are kept as long as their masks say the same: a short text costs three times as much without.
  it.each([
    ['shows everything', [1, 1, 1]],
    ['hides the last key', [1, 1, 0]],
  ])('one that %s is known by its bytes', (_, bytes) => {
    const session = new SessionMasks();
    const options = new RunMasks(session).optionsOf([[mask, tensor(bytes)]], sizes, false);
    expect(new RunMasks(session).says(options, [tensor(bytes)])).toBe(true);
    expect(new RunMasks(session).says(options, [tensor([0, 1, 1])])).toBe(false);
  });
});
