// The storage types of the references, checked against their definition. Reader: start here, then attention.test.ts.

import { describe, expect, it } from 'vitest';
import { fromBits, round, toBits, ulp } from './half.js';

const patterns = Array.from({ length: 65536 }, (_, bits) => bits);

describe.each(['float16', 'bfloat16'] as const)('%s', (type) => {
  it('every number survives the way to its bits and back', () => {
    const lost = patterns.filter((bits) => {
      const x = fromBits(type, bits);
      return Number.isNaN(x) ? !Number.isNaN(fromBits(type, toBits(type, x))) : toBits(type, x) !== bits;
    });
    expect(lost).toEqual([]);
  });

  it('bits of positive numbers are ordered as the numbers are, one ulp apart', () => {
    const infinity = toBits(type, Infinity);
    for (let bits = 0; bits + 1 < infinity; bits++) {
      const [low, high] = [fromBits(type, bits), fromBits(type, bits + 1)];
      expect(high - low).toBe(ulp(type, low));
    }
  });

  it('a number rounds to the nearer neighbour, half-way to the even one, in both signs', () => {
    for (const bits of [0, 1, 2, 0x3ff, 0x400, 0x3c00, 0x3f80, 0x3f81, 0x5555]) {
      const [low, high] = [fromBits(type, bits), fromBits(type, bits + 1)];
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? low : high;
      for (const sign of [1, -1]) {
        expect(round(type, sign * middle)).toBe(sign * even);
        expect(round(type, sign * (low + (high - low) * 0.499))).toBe(sign * low);
        expect(round(type, sign * (low + (high - low) * 0.501))).toBe(sign * high);
      }
    }
  });
});

describe('float16', () => {
  it('is what IEEE 754 says at its landmarks', () => {
    expect(fromBits('float16', 0x3c00)).toBe(1);
    expect(fromBits('float16', 0xc000)).toBe(-2);
    expect(fromBits('float16', 0x7bff)).toBe(65504);
    expect(fromBits('float16', 0x0001)).toBe(2 ** -24);
    expect(fromBits('float16', 0x0400)).toBe(2 ** -14);
    expect(fromBits('float16', 0x3555)).toBe(0.333251953125);
    expect(fromBits('float16', 0xfc00)).toBe(-Infinity);
  });

  it('overflows to infinity half a step past 65504', () => {
    expect(toBits('float16', 65519.999)).toBe(0x7bff);
    expect(toBits('float16', 65520)).toBe(0x7c00);
  });
});

describe('bfloat16', () => {
  it('is the upper half of a float32', () => {
    const float = new Float32Array(1);
    const word = new Uint32Array(float.buffer);
    for (const bits of patterns) {
      word[0] = bits * 65536;
      expect(fromBits('bfloat16', bits)).toEqual(float[0]);
    }
  });
});

it('float32 rounds as Math.fround does', () => {
  for (const x of [1 / 3, Math.PI, 1e-40, 3.4e38, 3.5e38, -1e-46, 2 ** -149 * 1.5, 0.1 + 2 ** -30]) {
    expect(round('float32', x)).toBe(Math.fround(x));
  }
});
