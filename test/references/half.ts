// How numbers of each storage type are kept in memory, and how far apart they are: arithmetic on float64, no bit tricks.
// Reader: whoever prepares or judges test tensors. Written from IEEE 754 and the definition of bfloat16 (float32 with
// 8 significand bits); shares nothing with the library's own conversions.

export const dtypes = ['float32', 'float16', 'bfloat16'] as const;
export type FloatType = (typeof dtypes)[number];

interface Format {
  digits: number; // significand bits, the hidden one included
  minExponent: number; // of the smallest normal number
  max: number;
}

const formats: Record<FloatType, Format> = {
  float32: { digits: 24, minExponent: -126, max: (2 - 2 ** -23) * 2 ** 127 },
  float16: { digits: 11, minExponent: -14, max: 65504 },
  bfloat16: { digits: 8, minExponent: -126, max: (2 - 2 ** -7) * 2 ** 127 },
};

const word = new Float64Array(1);
const wordHalves = new Uint32Array(word.buffer);

/** floor(log2(|x|)) of a finite number; -1023 for zero. */
function exponentOf(x: number): number {
  word[0] = x;
  return ((wordHalves[1] >>> 20) & 0x7ff) - 1023;
}

/** 2^n of a whole number n > -1023; several times quicker than `**`, and tensors are made of these. */
function powerOfTwo(n: number): number {
  wordHalves[0] = 0;
  wordHalves[1] = (n + 1023) << 20;
  return word[0];
}

/** Distance between neighbouring numbers of the type at the magnitude of x. */
export function ulp(type: FloatType, x: number): number {
  const { digits, minExponent } = formats[type];
  return powerOfTwo(Math.max(exponentOf(x), minExponent) - digits + 1);
}

/** Nearest number of the type, ties to even; past the largest finite number it is an infinity. */
export function round(type: FloatType, x: number): number {
  if (!Number.isFinite(x) || x === 0) return x;
  const spacing = ulp(type, x);
  const steps = x / spacing;
  const low = Math.floor(steps);
  const rest = steps - low;
  const rounded = (rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low) * spacing;
  if (Math.abs(rounded) > formats[type].max) return Math.sign(x) * Infinity;
  return rounded === 0 ? 0 * Math.sign(x) : rounded;
}

/** The 16 bits of the nearest number of the type. */
export function toBits(type: 'float16' | 'bfloat16', x: number): number {
  const { digits, minExponent } = formats[type];
  const fraction = digits - 1;
  const infinityBits = 0x8000 - (1 << fraction);
  const rounded = round(type, x);
  const sign = rounded < 0 || Object.is(rounded, -0) ? 0x8000 : 0;
  if (Number.isNaN(rounded)) return infinityBits | (1 << (fraction - 1));
  if (!Number.isFinite(rounded)) return sign | infinityBits;
  const magnitude = Math.abs(rounded);
  const exponent = Math.max(exponentOf(magnitude), minExponent);
  const significand = magnitude / powerOfTwo(exponent - fraction); // the hidden bit included when normal
  const isNormal = significand >= 1 << fraction;
  return sign | (isNormal ? (exponent - minExponent) * (1 << fraction) + significand : significand);
}

function decode(type: 'float16' | 'bfloat16', bits: number): number {
  const { digits, minExponent } = formats[type];
  const fraction = digits - 1;
  const sign = bits & 0x8000 ? -1 : 1;
  const field = (bits & 0x7fff) >> fraction;
  const significand = bits & ((1 << fraction) - 1);
  if (field === (1 << (15 - fraction)) - 1) return significand ? NaN : sign * Infinity;
  if (field === 0) return sign * significand * powerOfTwo(minExponent - fraction);
  return sign * ((1 << fraction) + significand) * powerOfTwo(field - 1 + minExponent - fraction);
}

const decoded = {
  float16: Float64Array.from({ length: 65536 }, (_, bits) => decode('float16', bits)),
  bfloat16: Float64Array.from({ length: 65536 }, (_, bits) => decode('bfloat16', bits)),
};

/** The number that 16 bits mean. */
export function fromBits(type: 'float16' | 'bfloat16', bits: number): number {
  return decoded[type][bits];
}
