// Presents and the lines they are of: what is copied, and when memory is kept and let go of.
// Reader: someone who changes lines.ts or present.ts. That the numbers are right in a model is test/clients/onnxruntime/caches.mjs.

import { describe, expect, it } from 'vitest';
import { Line } from '../../dist/adapters/onnxruntime/caches/lines.js';
import { presentOf, shownBy } from '../../dist/adapters/onnxruntime/caches/present.js';
import type { Ort, OrtTensor } from '../../dist/adapters/onnxruntime/ort.js';

/** A tensor as onnxruntime's: of memory, or of none after dispose(). */
class TheirTensor {
  readonly location: string = 'cpu';
  readonly size: number;
  constructor(
    readonly type: string,
    public cpuData: unknown,
    readonly dims: readonly number[],
  ) {
    this.size = dims.reduce((product, length) => product * length, 1);
  }
  get data(): unknown {
    if (this.location === 'none') throw new Error('disposed');
    return this.cpuData;
  }
  dispose(): void {
    Object.assign(this, { location: 'none', cpuData: undefined });
  }
}
const ort = { Tensor: TheirTensor } as unknown as Ort;

const form = { batch: 2, kvHeads: 1, headDim: 2, valueDim: 1, type: 'float32', device: 'cpu' } as const;
const orders = [
  [0, 1, 2, 3],
  [0, 1, 2, 3],
] as const;

/** Rows of two sequences that are 10 * sequence + token + `from`. */
function rows(tokens: number, dim: number, from: number) {
  const data = Array.from({ length: 2 * tokens * dim }, (_, i) => {
    const row = Math.floor(i / dim);
    return 10 * Math.floor(row / tokens) + (row % tokens) + from;
  });
  return { type: 'float32', data: Float32Array.from(data), dims: [2, 1, tokens, dim] } as const;
}

/** Goes on from a past, or from nothing, by rows of numbers from `from` on; returns the line and its presents. */
function run(
  counts: readonly number[],
  from: number,
  past?: readonly OrtTensor[],
  lengths: readonly number[] = [0, 0],
) {
  const line = Line.goOn(form, past && { k: past[0], v: past[1], orders }, lengths);
  const tokens = Math.max(...counts);
  line.append(rows(tokens, 2, from), rows(tokens, 1, from), counts);
  const snapshot = line.snapshot(2);
  const dims = [2, 1, Math.max(...lengths) + tokens];
  const presents = (['keys', 'values'] as const).map((part, i) =>
    presentOf(ort, snapshot, { part, type: 'float32', order: orders[0], dims: [...dims, 2 - i] }),
  );
  line.release();
  return { line, presents };
}

const valuesOf = ([, v]: readonly OrtTensor[]) => Array.from(v.data as Float32Array);
const disposeAll = (presents: readonly OrtTensor[]) => {
  for (const tensor of presents) (tensor as unknown as TheirTensor).dispose();
};

describe('a line', () => {
  it('goes on in place from its newest present, which is not read', () => {
    const first = run([2, 3], 0);
    const second = run([1, 1], 50, first.presents, [2, 3]);
    expect(second.line).toBe(first.line);
    expect(shownBy(first.presents[0])).toBeDefined();
    // Zeros are behind the shorter sequence, in presents that were taken before and after.
    expect(valuesOf(second.presents)).toEqual([0, 1, 50, 0, 10, 11, 12, 60]);
    expect(valuesOf(first.presents)).toEqual([0, 1, 0, 10, 11, 12]);
  });

  it('forks from an older one, whose own tokens stay', () => {
    const first = run([2, 3], 0);
    const [second, third] = [50, 70].map((from) => run([1, 1], from, first.presents, [2, 3]));
    expect(third.line).not.toBe(second.line);
    expect(valuesOf(second.presents)).toEqual([0, 1, 50, 0, 10, 11, 12, 60]);
    expect(valuesOf(third.presents)).toEqual([0, 1, 70, 0, 10, 11, 12, 80]);
  });

  it('is a new one from a tensor of others, from one that was read, and from halves of two pairs', () => {
    const first = run([3, 3], 0);
    const theirs = [rows(3, 2, 0), rows(3, 1, 0)].map(({ type, data, dims }) => new TheirTensor(type, data, dims));
    const want = [0, 1, 2, 50, 10, 11, 12, 60];
    expect(valuesOf(run([1, 1], 50, theirs, [3, 3]).presents)).toEqual(want);
    const second = run([3, 3], 0);
    expect(valuesOf(run([1, 1], 50, [first.presents[0], second.presents[1]], [3, 3]).presents)).toEqual(want);
    (first.presents[1].data as Float32Array)[0] = 99;
    expect(valuesOf(run([1, 1], 50, first.presents, [3, 3]).presents)).toEqual([99, ...want.slice(1)]);
  });

  it('refuses a past of fewer tokens', () => {
    expect(() => run([1, 1], 0, run([2, 2], 0).presents, [3, 3])).toThrow(/has 2 tokens, and the run goes on from 3/);
  });

  it('lets go of its memory with the last present, not before', () => {
    const first = run([2, 2], 0);
    const second = run([1, 1], 50, first.presents, [2, 2]);
    disposeAll(first.presents);
    expect(first.line.cache.bytes).toBeGreaterThan(0);
    disposeAll(second.presents);
    disposeAll(second.presents);
    expect(() => first.line.cache.fork()).toThrow(/disposed/);
    expect(() => second.presents[0].data).toThrow(/disposed/);
  });
});

describe('a present', () => {
  it('is a tensor of the class that was passed in, with dims and size but without memory', () => {
    const [k] = run([2, 3], 0).presents;
    expect(k).toBeInstanceOf(TheirTensor);
    expect([k.dims, (k as unknown as TheirTensor).size]).toEqual([[2, 1, 3, 2], 12]);
    expect((k as unknown as TheirTensor).cpuData).toBeUndefined();
  });

  it('is copied once, in the order of its axes', () => {
    const { line } = run([2, 3], 0);
    const v = presentOf(ort, line.snapshot(1), {
      ...{ part: 'values', type: 'float32', order: [1, 2, 0, 3] },
      dims: [4, 2, 1, 1],
    });
    // [tokens, batch, heads, dim], with room for one more token.
    expect(Array.from(v.data as Float32Array)).toEqual([0, 10, 1, 11, 0, 12, 0, 0]);
    expect(v.data).toBe(v.data);
  });
});
