// Masks of a run: which options of attention() stand for a tensor of a model. The expectations are read off the masks by eye.
// Reader: someone who changes masks.ts. Rows of the tensors are queries, 1 or 0 is shown, the rest is hidden.

import { describe, expect, it } from 'vitest';
import type { SiteMask } from '../../dist/adapters/onnx/sites/site.js';
import { RunMasks } from '../../dist/adapters/onnxruntime/masks.js';

const low = Math.fround(-3.4e38);
const sizes = { batch: 2, queries: 3, keys: 3 };
const bias = (numbers: number[], dims = [1, 1, 3, 3]) => ({ type: 'float32', data: Float32Array.from(numbers), dims });
const bool = (numbers: number[], dims = [1, 1, 3, 3]) => ({ type: 'bool', data: Uint8Array.from(numbers), dims });
const as = (option: SiteMask['as'], more: Partial<SiteMask> = {}): SiteMask => ({
  ...{ value: 'mask', as: option, isInverted: false, hidden: Number.NEGATIVE_INFINITY },
  ...more,
});
const read = (mask: SiteMask, tensor: ReturnType<typeof bias | typeof bool>, isCausal = false, of = sizes) =>
  new RunMasks().optionsOf([[mask, tensor]], of, isCausal);

describe('a mask becomes', () => {
  it('nothing, where it hides nothing', () => {
    expect(read(as('bias'), bias(Array(9).fill(0)))).toEqual({ causal: false });
  });

  it('causal order, added or as true and false', () => {
    expect(read(as('bias'), bias([0, low, low, 0, 0, low, 0, 0, 0]))).toEqual({ causal: true });
    expect(read(as('mask'), bool([1, 0, 0, 1, 1, 0, 1, 1, 1]))).toEqual({ causal: true });
    expect(read(as('mask', { isInverted: true }), bool([0, 1, 1, 0, 0, 1, 0, 0, 0]))).toEqual({ causal: true });
  });

  it('lengths, one per batch entry', () => {
    const padded = bias([0, 0, low, 0, 0, 0], [2, 1, 1, 3]);
    expect(read(as('bias'), padded)).toEqual({ causal: false, keyLengths: Int32Array.of(2, 3) });
    const one = bias([0, 0, low], [1, 1, 1, 3]);
    expect(read(as('bias'), one)).toEqual({ causal: false, keyLengths: Int32Array.of(2, 2) });
  });

  it('starts and lengths, from a mask of keys', () => {
    const mask = { type: 'int32', data: Int32Array.of(0, 1, 1, 1, 1, 0), dims: [2, 3] };
    expect(new RunMasks().optionsOf([[as('keyMask'), mask]], sizes, false)).toEqual({
      ...{ causal: false, keyStarts: Int32Array.of(1, 0), keyLengths: Int32Array.of(3, 2) },
    });
    const holes = { type: 'int32', data: Int32Array.of(1, 0, 1, 1, 1, 1), dims: [2, 3] };
    expect(new RunMasks().optionsOf([[as('keyMask'), holes]], sizes, false)).toEqual({
      mask: bool([1, 0, 1, 1, 1, 1], [2, 1, 1, 3]),
    });
    const blind = { type: 'int32', data: Int32Array.of(0, 0, 0, 1, 1, 1), dims: [2, 3] };
    expect(new RunMasks().optionsOf([[as('keyMask', { hidden: -1e4 }), blind]], sizes, false)).toEqual({
      bias: bias([-1e4, -1e4, -1e4, 0, 0, 0], [2, 1, 1, 3]),
    });
  });

  it('longer, where its last axis is shorter than the keys: the rest is hidden', () => {
    const short = bool([1, 0, 0, 1, 1, 1], [1, 1, 3, 2]);
    expect(read(as('mask'), short)).toEqual({ mask: bool([1, 0, 0, 0, 1, 0, 1, 1, 0]) });
    const numbers = bias([0, 1, 2, 3, 4, 5], [1, 1, 3, 2]);
    const end = Number.NEGATIVE_INFINITY;
    expect(read(as('bias'), numbers)).toEqual({ bias: bias([0, 1, end, 2, 3, end, 4, 5, end]) });
  });

  it('a mask, where ranges do not say it', () => {
    const cross = bias([0, low, 0, low, 0, low, 0, low, 0]);
    expect(read(as('bias'), cross)).toEqual({ mask: bool([1, 0, 1, 0, 1, 0, 1, 0, 1]) });
  });

  it('itself, where it has other numbers', () => {
    const numbers = bias([0, -1, low, 0, 0, 0, 0, 0, 0]);
    expect(read(as('bias'), numbers).bias).toBe(numbers);
  });

  it('numbers, where a row sees nothing and what is hidden is finite: such a row is the mean of all values', () => {
    const numbers = bias([low, low, low, 0, 0, low, 0, 0, 0]);
    expect(read(as('bias'), numbers).bias).toBe(numbers);
    expect(read(as('mask', { hidden: -1e9 }), bool([0, 0, 0, 1, 1, 0, 1, 1, 1])).bias).toEqual(
      bias([-1e9, -1e9, -1e9, 0, 0, -1e9, 0, 0, 0]),
    );
  });

  it('a mask all the same, where what is hidden is -Infinity: such a row is 0', () => {
    const numbers = bias([0, 0, 0, 0, -1, 0, 0, 0, -1].map((shown) => (shown === 0 ? 0 : Number.NEGATIVE_INFINITY)));
    expect(read(as('bias'), numbers).bias).toBeUndefined();
    expect(read(as('mask'), bool([0, 0, 0, 1, 0, 1, 1, 1, 1]))).toEqual({ mask: bool([0, 0, 0, 1, 0, 1, 1, 1, 1]) });
  });

  it('a tensor, beside causal order or another mask', () => {
    const padded = bool([1, 1, 0], [1, 1, 1, 3]);
    expect(read(as('mask'), padded, true)).toEqual({ mask: padded });
    const numbers = bias(Array(9).fill(0));
    expect(
      new RunMasks().optionsOf(
        [
          [as('bias'), numbers],
          [as('mask'), padded],
        ],
        sizes,
        false,
      ),
    ).toEqual({
      ...{ bias: numbers, mask: padded },
    });
  });

  it('a tensor, where its keys repeat', () => {
    const column = bool([1, 0, 1], [1, 1, 3, 1]);
    expect(read(as('mask'), column)).toEqual({ mask: column });
  });
});

it('is read once a run, by every layer', () => {
  const masks = new RunMasks();
  const tensor = bias([0, low, low, 0, 0, low, 0, 0, 0]);
  expect(masks.optionsOf([[as('bias'), tensor]], sizes, false)).toEqual({ causal: true });
  tensor.data.fill(0);
  expect(masks.optionsOf([[as('bias'), tensor]], sizes, false)).toEqual({ causal: true });
  expect(masks.optionsOf([[as('bias'), tensor]], { ...sizes, batch: 1 }, false)).toEqual({ causal: false });
});
