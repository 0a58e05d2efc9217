// The golden file of the patterns beyond the five families, typed, and its tensors. Reader: someone who compares with
// golden/ext-patterns.json; its `notes` and `optionNotes` say what the fields mean.

import { operandOf } from '../conformance/memory.js';
import { type Operand, toNumbers } from '../references/operand.js';
import { readGolden } from './golden.js';

/** Numbers as they are, or by the generator's formula. */
export interface ExtTensor {
  dims: number[];
  data?: (number | string)[];
  seed?: number;
  mod?: number;
  sub?: number;
  div?: number;
}

/** A number, which JSON has no word for if it is endless. */
export type ExtNumber = number | 'Infinity' | '-Infinity' | 'NaN';

export interface ExtSizes {
  batch: number;
  queries: number;
  keys: number;
  queryHeads: number;
  kvHeads: number;
  headDim: number;
  valueDim: number;
}

/** What both cases and invalid entries have. */
interface ExtCall<Pattern> {
  name: string;
  op: string;
  options: { pattern?: Pattern; [name: string]: unknown };
  dims: ExtSizes;
}

export interface ExtCase<Pattern = { kind: string }> extends ExtCall<Pattern> {
  q: ExtTensor;
  k: ExtTensor;
  v: ExtTensor;
  visible: number[][][]; // [pattern head][query]: runs of keys, begin and end in turn
  pairs: number[];
  out: ExtTensor;
  lse: ExtTensor;
}

export interface ExtInvalid<Pattern = { kind: string }> extends ExtCall<Pattern> {
  names: string;
  why: string;
}

export const extPatterns = readGolden<{
  generator: { check: ExtTensor & { seed: number }; checkInts: ExtTensor & { seed: number } };
  cases: ExtCase[];
  moaWindows: { options: Record<string, unknown>; sink: number[]; window: number[] }[];
  invalid: ExtInvalid[];
}>('ext-patterns');

export const extNumber = (value: ExtNumber): number => Number(value);

/** The numbers of a tensor, row by row. */
export function extNumbers({ dims, data, seed, mod = 101, sub = 50, div = 32 }: ExtTensor): number[] {
  if (data) return data.map(Number);
  if (seed === undefined) throw new Error('a tensor has data or a seed');
  return Array.from({ length: dims.reduce((a, n) => a * n, 1) }, (_, i) => {
    const u = i % 7919;
    const x = (((((u * 3 + 31) * u + 17 + 2 * seed) % 7919) * u + 1009 * seed) % 7919) % mod;
    return (x - sub) / div;
  });
}

/** [batch, tokens, heads, dim] as an operand [batch, heads, tokens, dim]. */
export function extOperand(tensor: ExtTensor): Operand {
  const [batch, tokens, heads, dim] = tensor.dims as [number, number, number, number];
  const dense = operandOf('float32', [batch, tokens, heads, dim], extNumbers(tensor));
  return { ...dense, dims: [batch, heads, tokens, dim], strides: [tokens * heads * dim, dim, heads * dim, 1] };
}

/** The same in the order in which results are compared, [batch][head][token][dim]. */
export const extHeadsFirst = (tensor: ExtTensor): number[] => Array.from(toNumbers(extOperand(tensor)));
