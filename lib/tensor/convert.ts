// Conversions: numbers of one element type as those of another.
// Reader: someone who asks how astype() rounds. One rule for both 16-bit formats: to the nearest number that the format has,
// ties to the even one; IEEE 754-2019, 4.3.1.

import { toDense } from './dense.js';
import type { DataType } from './types.js';
import { allocate, type HostView, type TensorData } from './views.js';

/** A float type of 16 bits: sign, exponent, fraction. */
interface HalfFormat {
  readonly fractionBits: number;
  readonly bias: number;
}

const halves: { readonly [type in DataType]?: HalfFormat } = {
  float16: { fractionBits: 10, bias: 15 },
  bfloat16: { fractionBits: 7, bias: 127 },
};

/** Types that numbers can be converted to. */
export const targetTypes: readonly DataType[] = ['float32', 'float16', 'bfloat16', 'bool'];

/** The elements of a view in row-major order, in new memory, as another type. A bool is whether a number is not 0. */
export function converted(view: HostView, type: DataType): HostView {
  const dense = toDense('tensor', view);
  const data = allocate(type, dense.data.length);
  const write = writer(type, data);
  const from = halves[view.type];
  const bits = from && bitsOf(dense.data);
  for (let i = 0; i < data.length; ++i) write(i, from ? decode((bits as Uint16Array)[i], from) : Number(dense.data[i]));
  return { ...dense, type, data };
}

/** What puts a number into an array of a type. */
export function writer(type: DataType, data: TensorData): (index: number, value: number) => void {
  const half = halves[type];
  if (half) {
    const bits = bitsOf(data);
    return (index, value) => {
      bits[index] = encode(value, half);
    };
  }
  const isBool = type === 'bool';
  const isBig = type === 'int64';
  return (index, value) => {
    data[index] = isBig ? BigInt(value) : isBool ? Number(value !== 0) : value;
  };
}

/** The bits of 16-bit numbers, whichever class they came in. */
const bitsOf = (data: TensorData): Uint16Array => new Uint16Array(data.buffer, data.byteOffset, data.length);

const number = new Float32Array(1);
const numberBits = new Uint32Array(number.buffer);

/** Adding and taking away this rounds a number below it to a whole one, ties to even. */
const wholeFrom = 2 ** 52;

function encode(value: number, { fractionBits, bias }: HalfFormat): number {
  number[0] = value;
  const sign = (numberBits[0] >>> 31) << 15;
  const infinity = (2 * bias + 1) << fractionBits;
  if (Number.isNaN(value)) return infinity | (1 << (fractionBits - 1));
  // Below the least normal number steps stay as wide as above it.
  const exponent = Math.max(((numberBits[0] >>> 23) & 0xff) - 127, 1 - bias);
  const steps = Math.abs(value) * 2 ** (fractionBits - exponent) + wholeFrom - wholeFrom;
  // A normal number has 2^fractionBits steps and more, which raise the exponent by 1; so does rounding up to a power of 2.
  return sign | Math.min(((exponent + bias - 1) << fractionBits) + steps, infinity);
}

function decode(bits: number, { fractionBits, bias }: HalfFormat): number {
  const unit = 1 << fractionBits;
  const exponent = (bits & 0x7fff) >>> fractionBits;
  const fraction = bits & (unit - 1);
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 2 * bias + 1) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  const steps = exponent === 0 ? fraction : fraction + unit;
  return sign * steps * 2 ** (Math.max(exponent, 1) - bias - fractionBits);
}
