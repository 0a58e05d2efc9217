// Rotary embedding against numbers computed elsewhere (golden/rotary.json), in every element type and on every backend, and the
// frequencies of the rules that stretch a context. Reader: someone who ports a model's rotary layer.

import { describe, expect, it } from 'vitest';
import { type RotateOptions, rotateSync, Tensor } from '../../dist/index.js';
import { type RotaryOptions, readFrequencies } from '../../dist/ops/rotary/frequencies.js';
import { onEveryBackend } from '../conformance/suite.js';
import { dtypes, ulp } from '../references/half.js';
import { readGolden } from '../support/golden.js';

interface Golden {
  cases: { name: string; options: RotateOptions; dims: number[]; x: number[]; out: number[] }[];
  scaling: { options: RotaryOptions & { dims: number }; frequencies: number[]; attentionFactor: number }[];
}
const golden = readGolden<Golden>('rotary');

onEveryBackend(({ device }) => {
  describe.each(dtypes)('%s', (type) => {
    it.each(golden.cases)('$name', ({ options, dims, x, out }) => {
      const tensor = new Tensor('float32', Float32Array.from(x), dims).astype(type);
      const got = rotateSync(tensor, { ...options, device });
      expect([got.type, got.dims]).toEqual([type, dims]);
      const numbers = got.astype('float32').data;
      // Numbers are at most 3: three roundings in float32, and one to the type.
      out.forEach((want, i) => {
        expect(Math.abs(numbers[i] - want), `element ${i}: ${numbers[i]}, not ${want}`).toBeLessThanOrEqual(
          3 * 2 ** -23 + ulp(type, want) / 2,
        );
      });
    });
  });
});

describe('frequencies', () => {
  it.each(golden.scaling)('$options.scaling', ({ options, frequencies, attentionFactor }) => {
    const got = readFrequencies(options, options.dims);
    expect(got.attentionFactor).toBeCloseTo(attentionFactor, 8);
    expect(got.frequencies).toHaveLength(frequencies.length);
    frequencies.forEach((want, i) => {
      expect(Math.abs(got.frequencies[i] / want - 1), `pair ${i}`).toBeLessThan(1e-8);
    });
  });
});
