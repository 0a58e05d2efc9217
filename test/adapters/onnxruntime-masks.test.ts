// Masks of a run: which options of attention() stand for a tensor of a model. The expectations are read off the masks by eye.
// Reader: someone who changes masks.ts. Rows of the tensors are queries, 1 or 0 is shown, the rest is hidden.

import { describe, expect, it } from 'vitest';
import type { SiteMask } from '../../dist/adapters/onnx/sites/site.js';
import { RunMasks, SessionMasks } from '../../dist/adapters/onnxruntime/masks/masks.js';
import type { OrtTensor } from '../../dist/adapters/onnxruntime/ort.js';

const low = Math.fround(-3.4e38);
const sizes = { batch: 2, heads: 4, queries: 3, keys: 3 };
const bias = (numbers: number[], dims = [1, 1, 3, 3]) => ({ type: 'float32', data: Float32Array.from(numbers), dims });
const bool = (numbers: number[], dims = [1, 1, 3, 3]) => ({ type: 'bool', data: Uint8Array.from(numbers), dims });
const as = (option: SiteMask['as'], more: Partial<SiteMask> = {}): SiteMask => ({
  ...{ value: 'mask', as: option, isInverted: false, hidden: Number.NEGATIVE_INFINITY },
  ...more,
});
const read = (mask: SiteMask, tensor: ReturnType<typeof bias | typeof bool>, isCausal = false, of = sizes) =>
  new RunMasks().optionsOf([[mask, tensor]], of, isCausal);

describe('a mask becomes', () => {
  it('nothing, where it hides nothing from a token behind a past', () => {
    const token = { ...sizes, queries: 1, past: 2 };
    expect(read(as('bias'), bias([0, 0, 0], [1, 1, 1, 3]), false, token)).toEqual({});
  });

  it('no order, where it hides nothing', () => {
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

  it('lengths, from whole numbers in the forms of com.microsoft', () => {
    const of = (option: 'keyMask' | 'maskIndex', numbers: number[], dims = [numbers.length]) =>
      new RunMasks().optionsOf([[as(option), { type: 'int32', data: Int32Array.from(numbers), dims }]], sizes, false);
    const lengths = { causal: false, keyLengths: Int32Array.of(2, 3) };
    expect(of('keyMask', [2, 3])).toEqual(lengths);
    expect(of('maskIndex', [2, 9])).toEqual(lengths);
    // Behind the lengths: where the rows of packed sequences begin.
    expect(of('keyMask', [2, 3, 0, 3, 6, 0, 2, 5])).toEqual(lengths);
    // Behind the ends: starts.
    expect(of('maskIndex', [2, 3, -1, 1])).toEqual({ ...lengths, keyStarts: Int32Array.of(0, 1) });
    expect(of('maskIndex', [0, 0], [2, 1])).toEqual({ causal: false });
    expect(of('maskIndex', [0], [1, 1])).toEqual({ causal: false });
    const rows = [1, 1, 0, 2, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, -1];
    expect(of('keyMask', rows, [2, 3, 3])).toEqual({
      mask: bool([1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0], [2, 1, 3, 3]),
    });
  });

  it('numbers, where padding hides with one that is not very negative', () => {
    const mask = { type: 'int32', data: Int32Array.of(1, 1, 0, 1, -1, 2), dims: [2, 3] };
    expect(new RunMasks().optionsOf([[as('keyMask', { hidden: -5 }), mask]], sizes, false)).toEqual({
      bias: bias([0, 0, -5, 0, -5, 0], [2, 1, 1, 3]),
    });
  });

  it.each<[SiteMask['as'], number[]]>([
    ['bias', [1, 1, 3, 2]],
    ['bias', [1, 1, 2, 3]],
    ['mask', [3, 1, 3, 3]],
    ['mask', [1, 3, 3, 3]],
    ['bias', [1, 1, 1, 3, 3]],
    ['keyMask', [1, 3]],
    ['keyMask', [2, 2]],
    ['keyMask', [3]],
    ['keyMask', [4]],
    ['keyMask', [2, 1]],
    ['maskIndex', [8]],
    ['keyMask', [2, 3, 2]],
  ])('an error, where %s of %j does not broadcast to the scores', (option, dims) => {
    const data = new Uint8Array(dims.reduce((a, b) => a * b, 1)).fill(1);
    expect(() => read(as(option), { type: 'bool', data, dims })).toThrow(
      expect.objectContaining({ code: 'ERR_TILEWISE_SHAPE_MISMATCH' }),
    );
  });

  it('a mask, where ranges do not say it', () => {
    const cross = bias([0, low, 0, low, 0, low, 0, low, 0]);
    expect(read(as('bias'), cross)).toEqual({ mask: bool([1, 0, 1, 0, 1, 0, 1, 0, 1]) });
  });

  it('itself, where it has other numbers', () => {
    const numbers = bias([0, -1, low, 0, 0, 0, 0, 0, 0]);
    expect(read(as('bias'), numbers)).toEqual({ bias: numbers });
  });

  it('numbers, where a row sees nothing and what is hidden is finite: such a row is a mean of values', () => {
    const numbers = bias([low, low, low, 0, 0, low, 0, 0, 0]);
    expect(read(as('bias'), numbers)).toEqual({ bias: numbers });
  });

  it('a mask whose blind rows are means, where what is hidden takes the place of scores', () => {
    const flags = bool([0, 0, 0, 1, 1, 0, 1, 1, 1]);
    for (const hidden of [-1e4, -1e9]) {
      const masks = new RunMasks();
      const options = masks.optionsOf([[as('mask', { hidden }), flags]], sizes, false);
      expect(options).toEqual({ mask: flags });
      expect(masks.blindOf(options)).toEqual({ shown: flags.data, dims: flags.dims });
    }
    const masks = new RunMasks();
    expect(masks.blindOf(masks.optionsOf([[as('mask'), flags]], sizes, false))).toBeUndefined();
  });

  it('numbers, where causal order and padding together leave a row nothing', () => {
    const padded = { type: 'int32', data: Int32Array.of(0, 1, 1, 1, 1, 1), dims: [2, 3] };
    const of = (isCausal: boolean) =>
      new RunMasks().optionsOf([[as('keyMask', { hidden: -1e4 }), padded]], sizes, isCausal);
    expect(of(true)).toEqual({ bias: bias([-1e4, 0, 0, 0, 0, 0], [2, 1, 1, 3]) });
    expect(of(false)).toHaveProperty('keyStarts', Int32Array.of(1, 0));
    // The first query sees its key, so that no row is without one.
    const right = { type: 'int32', data: Int32Array.of(1, 0, 1, 1, 1, 1), dims: [2, 3] };
    expect(new RunMasks().optionsOf([[as('keyMask', { hidden: -1e4 }), right]], sizes, true)).toHaveProperty('mask');
  });

  it('a mask all the same, where what is hidden is -Infinity: such a row is 0', () => {
    const numbers = bias([0, 0, 0, 0, -1, 0, 0, 0, -1].map((shown) => (shown === 0 ? 0 : Number.NEGATIVE_INFINITY)));
    expect(read(as('bias'), numbers).bias).toBeUndefined();
    expect(read(as('mask'), bool([0, 0, 0, 1, 0, 1, 1, 1, 1]))).toEqual({ mask: bool([0, 0, 0, 1, 0, 1, 1, 1, 1]) });
  });

  it('a tensor, beside causal order', () => {
    const padded = bool([1, 1, 0], [1, 1, 1, 3]);
    expect(read(as('mask'), padded, true)).toEqual({ mask: padded });
  });

  it('one with the mask behind it, in their order', () => {
    const both = (...masks: [SiteMask, OrtTensor][]) => new RunMasks().optionsOf(masks, sizes, false);
    const causal = bool([1, 0, 0, 1, 1, 0, 1, 1, 1]);
    const last = bias([0, 0, low], [1, 1, 1, 3]);
    // Every row sees its first key: together they are causal order over two keys.
    expect(both([as('mask', { hidden: low }), causal], [as('bias'), last])).toEqual({
      ...{ causal: true, align: 'top-left', keyLengths: Int32Array.of(2, 2) },
    });
    // The first row sees nothing: its own key and those that come later share its weight, what both hide is lower still.
    const first = bias([low, 0, 0], [1, 1, 1, 3]);
    expect(both([as('mask', { hidden: low }), causal], [as('bias'), first])).toEqual({
      bias: bias([low, low, low, low, 0, low, low, 0, 0]),
    });
    const lower = bias([low, low, 0], [1, 1, 1, 3]);
    expect(both([as('mask', { hidden: low }), causal], [as('bias'), lower]).bias).toEqual(
      bias([low, -Infinity, low, low, low, low, low, low, 0]),
    );
    // The other way round, what is hidden last takes the place of the sum.
    expect(both([as('bias'), lower], [as('mask', { hidden: low }), causal]).bias).toEqual(
      bias([low, low, low, low, low, low, low, low, 0]),
    );
    // Numbers of heads, and padding that is added as well.
    const numbers = bias([1, 2, 3, 4], [1, 4, 1, 1]);
    const keys = { type: 'int32', data: Int32Array.of(1, 0, 1, 1, 1, 1), dims: [2, 3] };
    expect(both([as('keyMask', { hidden: -1e4 }), keys], [as('bias'), numbers]).bias).toEqual(
      bias([1, -9999, 1, 2, -9998, 2, 3, -9997, 3, 4, -9996, 4, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4], [2, 4, 1, 3]),
    );
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

it('is read once where layers have tensors of their own with the same numbers', () => {
  const numbers = [0, low, low, 0, 0, low, 0, 0, 0];
  const masks = new RunMasks();
  const first = masks.optionsOf([[as('bias'), bias(numbers)]], sizes, false);
  expect(masks.optionsOf([[as('bias'), bias(numbers)]], sizes, false)).toBe(first);
  expect(masks.optionsOf([[as('bias'), bias([...numbers.slice(0, 8), low])]], sizes, false)).not.toEqual(first);
  expect(masks.optionsOf([[as('bias'), bias(numbers, [1, 3, 3])]], sizes, false)).not.toBe(first);
});

it('is read in a later run only where its numbers have changed', () => {
  const session = new SessionMasks();
  const tensor = bias([0, -1, low, 0, 0, 0, 0, 0, 0]);
  const of = () => new RunMasks(session).optionsOf([[as('bias'), tensor]], sizes, false);
  const first = of();
  expect(of()).toBe(first);
  tensor.data[1] = -2;
  expect(of()).toEqual({ bias: tensor });
  // What is kept is a copy: the caller may write to his own.
  expect(first).toEqual({ bias: bias([0, -1, low, 0, 0, 0, 0, 0, 0]) });
  tensor.data[1] = -1;
  expect(of()).toBe(first);
});
