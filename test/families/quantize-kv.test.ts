// quantizeKv(): codes, scales and minima against numbers computed elsewhere, and the laws of group quantisation.
// Reader: someone who changes core/store/code_groups.h.

import { describe, expect, it } from 'vitest';
import { type QuantizedKv, type QuantizeKvOptions, quantizeKv, Tensor } from '../../dist/index.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectNear } from '../support/ext-linear.js';
import { extTensor } from '../support/ext-modifiers.js';
import { extNumbers } from '../support/ext-patterns.js';
import { quantisedCases, quantisedKv } from '../support/quantised-kv.js';
import { tensor } from '../support/tensors.js';

const told = (options: Record<string, unknown>) => options as unknown as QuantizeKvOptions;

/** Numbers that codes stand for, in the order of x. */
function valuesOf({ codes, scales, mins }: QuantizedKv): number[] {
  const [, tokens, heads, dim] = codes.dims;
  const perToken = scales.dims[1] === tokens;
  return Array.from(codes.data, (code, i) => {
    const [d, h, t, b] = [
      i % dim,
      Math.floor(i / dim) % heads,
      Math.floor(i / dim / heads) % tokens,
      Math.floor(i / dim / heads / tokens),
    ];
    const group = perToken
      ? Math.floor(i / (dim / scales.dims[3]))
      : ((b * scales.dims[1] + Math.floor(t / (tokens / scales.dims[1]))) * heads + h) * dim + d;
    return code * scales.data[group] + mins.data[group];
  });
}

describe('computed elsewhere', () => {
  it.each(quantisedCases('quantizeKv'))('$name', ({ options, x, codes, scales, mins, quantizedTokens, maxError }) => {
    const given = extTensor(x);
    const got = quantizeKv(given, told(options));
    const isSymmetric = options.scheme === 'symmetric';
    expect(got.tokens).toBe(quantizedTokens);
    expect(got.codes.dims).toEqual(codes.dims);
    expect(Array.from(got.codes.data, (code) => (isSymmetric ? code - 128 : code))).toEqual(extNumbers(codes));
    expectNear(got.scales, scales, 1e-7);
    if (mins) expectNear(got.mins, mins, 1e-7);
    if (maxError === undefined) return;
    const off = valuesOf(got).map((value, i) => Math.abs(value - given.data[i]));
    if (given.dims[0] === 1) expect(Math.max(0, ...off)).toBeCloseTo(maxError, 6);
  });
});

describe('laws', () => {
  it('codes of 8 bits become those of 4 and of 2 by division: they nest', () => {
    const x = tensor(1, 64, 2, 16);
    const at = (bits: 8 | 4 | 2) => quantizeKv(x, { bits, group: 16, axis: 'channel' });
    const [eight, four, two] = [at(8), at(4), at(2)];
    expect([...four.mins.data]).toEqual([...eight.mins.data]);
    for (const [i, code] of eight.codes.data.entries()) {
      const [nested4, nested2] = [Math.round(code / 17), Math.round(Math.round(code / 17) / 5)];
      expect(Math.abs(nested4 - four.codes.data[i])).toBeLessThanOrEqual(1); // rounded twice, it may be the neighbour
      expect(Math.abs(nested2 - two.codes.data[i])).toBeLessThanOrEqual(1);
    }
    const { tierConversion } = quantisedKv;
    expect(tierConversion.code8to4).toEqual(Array.from({ length: 256 }, (_, i) => Math.round(i / 17)));
    expect(tierConversion.code4to2).toEqual(Array.from({ length: 16 }, (_, i) => Math.round(i / 5)));
  });

  it('no number is further off than half of its scale', () => {
    for (const bits of [8, 4, 2] as const) {
      for (const axis of ['channel', 'token'] as const) {
        const x = tensor(1, 32, 3, 8);
        const got = quantizeKv(x, { bits, group: 8, axis });
        const half = Math.max(...got.scales.data) / 2;
        for (const [i, value] of valuesOf(got).entries())
          expect(Math.abs(value - x.data[i])).toBeLessThanOrEqual(half * 1.0001);
      }
    }
  });

  it('any layout, strides and float type', () => {
    const x = tensor(2, 16, 3, 8);
    const options = { bits: 4, group: 8, axis: 'channel' } as const;
    const whole = quantizeKv(x, options);
    const first = quantizeKv(x.transpose([0, 2, 1, 3]), { ...options, layout: 'bhnd' });
    expect(first.codes.dims).toEqual([2, 3, 16, 8]);
    expect(first.scales.dims).toEqual([2, 3, 2, 8]);
    expect([...first.codes.transpose([0, 2, 1, 3]).contiguous().data]).toEqual([...whole.codes.data]);
    const half = x.astype('float16');
    expect([...quantizeKv(half, options).codes.data]).toEqual([
      ...quantizeKv(half.astype('float32'), options).codes.data,
    ]);
  });

  it('a group with a NaN or an infinity says so in its minimum, the others stay', () => {
    const x = new Tensor(
      'float32',
      Float32Array.from({ length: 12 }, (_, i) => i),
      [1, 3, 1, 4],
    );
    x.data[0] = Number.NaN;
    x.data[5] = Number.POSITIVE_INFINITY;
    const { mins, scales } = quantizeKv(x, { bits: 8, group: 4, axis: 'token' });
    expect([...mins.data]).toEqual([Number.NaN, Number.NaN, 8]);
    expect([scales.data[0], scales.data[1]]).toEqual([0, 0]);
  });
});

describe('refused', () => {
  it.each(quantisedKv.invalid.filter(({ op }) => op === 'quantizeKv'))('$name', ({ options, names }) => {
    const error = thrownBy(() => quantizeKv(tensor(1, 8, 2, 8), told(options)));
    expectError(error, { code: 'ERR_TILEWISE_INVALID_OPTION', says: [`\`${names}`] });
  });

  const x = tensor(1, 8, 2, 8);
  it.each([
    ['an unknown option', { bits: 4, group: 4, axis: 'token', groups: 1 }, 'ERR_TILEWISE_UNKNOWN_OPTION'],
    ['a group that does not divide the dim', { bits: 4, group: 3, axis: 'token' }, 'ERR_TILEWISE_SHAPE_MISMATCH'],
    ['no group', { bits: 4, axis: 'token' }, 'ERR_TILEWISE_INVALID_OPTION'],
    ['symmetric codes of 4 bits', { bits: 4, scheme: 'symmetric' }, 'ERR_TILEWISE_INVALID_OPTION'],
    ['symmetric codes per channel', { bits: 8, scheme: 'symmetric', axis: 'channel' }, 'ERR_TILEWISE_INVALID_OPTION'],
    ['symmetric codes of groups', { bits: 8, scheme: 'symmetric', group: 4 }, 'ERR_TILEWISE_INVALID_OPTION'],
  ] as const)('%s', (_, options, code) => {
    expectError(
      thrownBy(() => quantizeKv(x, told(options))),
      { code },
    );
  });

  it('three axes, other types', () => {
    const options = { bits: 4, group: 4, axis: 'token' } as const;
    expectError(
      thrownBy(() => quantizeKv(tensor(8, 2, 8), options)),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH' },
    );
    const bytes = new Tensor('uint8', new Uint8Array(8), [1, 1, 1, 8]);
    expectError(
      thrownBy(() => quantizeKv(bytes, options)),
      { code: 'ERR_TILEWISE_DTYPE' },
    );
  });
});
