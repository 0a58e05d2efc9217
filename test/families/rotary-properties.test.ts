// Laws of rotary embedding, on every backend: the rule in float64 for tensors of any layout, strides and type; in place; bits
// that depend on a token alone. Reader: someone who changes the loop or the kernel.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { numThreads, type RotateOptions, rotate, rotateSync, setNumThreads, Tensor } from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { dtypes, type FloatType, ulp } from '../references/half.js';
import { forEachIndex } from '../references/operand.js';
import { turnedRow } from '../references/rotary.js';
import { expectForAll } from '../support/property.js';
import { sampleSize } from '../support/sample.js';
import { isSame, tensor } from '../support/tensors.js';

interface Rotation {
  type: FloatType;
  sizes: [batch: number, tokens: number, heads: number, headDim: number];
  layout: 'bnhd' | 'bhnd';
  /** Elements between neighbouring dims, and whether tokens run backwards. */
  step: number;
  isReversed: boolean;
  pairs: number;
  interleaved: boolean;
  /** First position of each batch entry, and the distance of the next ones. */
  firsts: [number, number];
  apart: number;
  theta: number;
}

const rotations: fc.Arbitrary<Rotation> = fc
  .record({
    type: fc.constantFrom(...dtypes),
    sizes: fc.tuple(fc.nat(2), fc.nat(20), fc.integer({ min: 1, max: 3 }), fc.constantFrom(2, 3, 8, 10, 32, 64, 100)),
    layout: fc.constantFrom('bnhd' as const, 'bhnd' as const),
    step: fc.integer({ min: 1, max: 2 }),
    isReversed: fc.boolean(),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    interleaved: fc.boolean(),
    firsts: fc.tuple(fc.integer({ min: -5000, max: 200_000 }), fc.integer({ min: -5000, max: 200_000 })),
    apart: fc.constantFrom(1, 0.25, 3),
    theta: fc.constantFrom(2, 10_000, 500_000),
  })
  .map(({ share, ...rest }) => ({ ...rest, pairs: Math.max(1, Math.round((share * rest.sizes[3]) / 2 - 0.5)) }));

/** A tensor of these strides, and what it holds as [batch, tokens, heads, headDim]. */
function build({ type, sizes, layout, step, isReversed }: Rotation): Tensor {
  const [batch, tokens, heads, headDim] = sizes;
  const dims = layout === 'bnhd' ? [batch, tokens, heads, headDim] : [batch, heads, tokens, headDim];
  const wide = tensor(...dims.slice(0, 3), headDim * step).astype(type);
  const strides = wide.strides.map((stride, axis) => (axis === 3 ? step : stride));
  const token = layout === 'bnhd' ? 1 : 2;
  const turned = strides.map((stride, axis) => (axis === token && isReversed ? -stride : stride));
  const offset = isReversed && tokens > 0 ? (tokens - 1) * strides[token] : 0;
  return new Tensor(type, wide.data, dims, { strides: turned, offset: batch === 0 ? 0 : offset });
}

const positionsOf = ({ sizes: [batch, tokens], firsts, apart }: Rotation): number[][] =>
  Array.from({ length: batch }, (_, b) => Array.from({ length: tokens }, (_, t) => firsts[b] + t * apart));

const optionsOf = (r: Rotation): RotateOptions => {
  const { layout, interleaved, theta, pairs } = r;
  return { layout, interleaved, theta, dims: 2 * pairs, ...(r.sizes[0] > 0 && { positions: positionsOf(r) }) };
};

/** The rule in float64, in the order of the tensor's dims. */
function expected(r: Rotation, numbers: ArrayLike<number>): number[] {
  const [batch, tokens, heads, headDim] = r.sizes;
  const out = Array.from(numbers);
  for (let b = 0; b < batch; b++)
    for (let t = 0; t < tokens; t++)
      for (let h = 0; h < heads; h++) {
        const row = (r.layout === 'bnhd' ? (b * tokens + t) * heads + h : (b * heads + h) * tokens + t) * headDim;
        const turning = { theta: r.theta, dims: 2 * r.pairs, interleaved: r.interleaved };
        const head = turnedRow(out.slice(row, row + headDim), r.firsts[b] + t * r.apart, turning);
        out.splice(row, headDim, ...head);
      }
  return out;
}

onEveryBackend(({ device }) => {
  it('the rule, whatever the layout, the strides and the type', () => {
    expectForAll(
      rotations,
      sampleSize(200),
      (r) => {
        const given = build(r);
        const dense = given.contiguous();
        const want = expected(r, dense.astype('float32').data);
        const got = rotateSync(given, { ...optionsOf(r), device });
        expect(got.dims).toEqual(given.dims);
        const numbers = got.astype('float32').data;
        want.forEach((x, i) => {
          const bound = 2 ** -22 + ulp(r.type, x) / 2;
          if (Math.abs(numbers[i] - x) > bound) expect.fail(`element ${i}: ${numbers[i]}, not ${x}`);
        });

        // In place the same bits, and nothing else is touched.
        const before = given.data.slice();
        expect(rotateSync(given, { ...optionsOf(r), out: given, device })).toBe(given);
        expect(isSame(given.contiguous().data, got.data)).toBe(true);
        const touched = new Set(given.data.keys());
        forEachIndex(given, (at) => touched.delete(at));
        for (const at of touched) expect(given.data[at]).toBe(before[at]);
      },
      'TILEWISE_SEED',
    );
  });

  describe('bits depend on a token alone', () => {
    const whole = tensor(2, 300, 4, 64);
    const options = { interleaved: false, device };
    const threads = numThreads();
    let data: Float32Array;
    beforeAll(() => {
      data = rotateSync(whole, options).data;
    });
    afterAll(() => setNumThreads(threads));

    it.each([1, 2, 7])('with %i threads', (count) => {
      setNumThreads(count);
      expect(isSame(rotateSync(whole, options).data, data)).toBe(true);
    });
    it('in pieces', () => {
      for (const [begin, end] of [
        [0, 1],
        [1, 33],
        [33, 300],
      ]) {
        const positions = Array.from({ length: end - begin }, (_, t) => begin + t);
        const piece = rotateSync(whole.slice(1, begin, end), { ...options, positions });
        const rows = new Tensor('float32', data, [2, 300, 4, 64]).slice(1, begin, end);
        expect(isSame(piece.data, rows.contiguous().data)).toBe(true);
      }
    });
    it('as a promise', async () => {
      expect(isSame((await rotate(whole, options)).data, data)).toBe(true);
    });
    it('with an `out` elsewhere, with the other order of axes and with one axis for heads and dims', () => {
      const out = Tensor.zeros('float32', whole.dims);
      rotateSync(whole, { ...options, out });
      expect(isSame(out.data, data)).toBe(true);
      const first = rotateSync(whole.transpose([0, 2, 1, 3]), { ...options, layout: 'bhnd' });
      expect(isSame(first.transpose([0, 2, 1, 3]).contiguous().data, data)).toBe(true);
      const merged = rotateSync(whole.reshape([2, 300, 256]), { ...options, heads: 4 });
      expect(merged.dims).toEqual([2, 300, 256]);
      expect(isSame(merged.data, data)).toBe(true);
      const packed = rotateSync(whole.select(0, 1), options);
      expect(packed.dims).toEqual([300, 4, 64]);
      expect(isSame(packed.data, data.slice(data.length / 2))).toBe(true);
    });
  });

  it('products of rotated rows depend on the distance of their positions', () => {
    const [q, k] = [tensor(1, 1, 1, 64), tensor(1, 1, 64).reshape([1, 1, 1, 64])];
    const at = (x: Tensor, position: number) => rotateSync(x, { positions: [position], device }).astype('float32').data;
    const product = (a: number, b: number) => at(q, a).reduce((sum, x, i) => sum + Number(x) * Number(at(k, b)[i]), 0);
    expect(product(1007, 1000)).toBeCloseTo(product(7, 0), 4);
    expect(Math.abs(product(1007, 1000) - product(8, 0))).toBeGreaterThan(1e-3);
  });
});
