// The golden file of quantised keys and values, typed. Reader: someone who compares with golden/quantised-kv.json; its `notes`
// say what the fields mean.

import { expect } from 'vitest';
import { KvCache, type KvCacheOptions, type KvFormat } from '../../dist/index.js';
import { tokensOf } from './ext-linear.js';
import { extOptions } from './ext-modifiers.js';
import type { ExtInvalid, ExtSizes, ExtTensor } from './ext-patterns.js';
import { readGolden } from './golden.js';

export interface GoldenCodes {
  readonly codes: ExtTensor;
  readonly scales: ExtTensor;
  readonly mins?: ExtTensor;
}

export interface QuantizeCase extends GoldenCodes {
  readonly name: string;
  readonly op: 'quantizeKv';
  readonly options: Record<string, unknown>;
  readonly x: ExtTensor;
  readonly quantizedTokens: number;
  readonly maxError?: number;
}

/** Attention over a cache, and what is in it. */
interface CachedCase {
  readonly name: string;
  readonly options: Record<string, unknown>;
  readonly dims: ExtSizes;
  readonly q: ExtTensor;
  readonly k: ExtTensor;
  readonly v: ExtTensor;
}

export interface GoldenResult {
  readonly out: ExtTensor;
  readonly lse: ExtTensor;
}

export interface QuantisedCase extends CachedCase, GoldenResult {
  readonly op: 'quantizedAttention';
  readonly quantizedKeys: number;
  readonly quantizedValues: number;
}

/** First and last token of a run, and its bits. */
export type TierRun = [begin: number, end: number, bits: number | 'full'];

export interface TieredCase extends CachedCase {
  readonly op: 'tieredAttention';
  readonly runs: TierRun[];
  readonly append: GoldenResult & {
    blocks?: { tokens: [number, number]; bits: number; keys: GoldenCodes; values: GoldenCodes }[];
  };
  readonly prefill: GoldenResult;
}

export const quantisedKv = readGolden<{
  cases: (QuantizeCase | QuantisedCase | TieredCase)[];
  tierSchedules: {
    name: string;
    options: Record<string, unknown>;
    after: { tokens: number; runs: TierRun[] }[];
  }[];
  tierConversion: { code8to4: number[]; code4to2: number[]; code8to2: number[] };
  invalid: ExtInvalid[];
}>('quantised-kv');

export const quantisedCases = <Op extends string>(op: Op) =>
  quantisedKv.cases.filter((one) => one.op === op) as Extract<(typeof quantisedKv.cases)[number], { op: Op }>[];

/** The options of a case as `format`. */
export function formatOf({ causal: _, format, ...options }: Record<string, unknown>): KvFormat {
  if (format !== undefined && format !== 'tiers') return format as KvFormat;
  const tiers = (options.tiers as Record<string, unknown>[] | undefined)?.map(extOptions);
  return { ...options, ...(tiers && { tiers }) } as KvFormat;
}

export const cacheOf = (
  { kvHeads, headDim, valueDim }: ExtSizes,
  format: KvFormat,
  rest: Partial<KvCacheOptions> = {},
) => new KvCache({ kvHeads, headDim, valueDim, format, ...rest });

/** Appends tokens, so many at a time. */
export function fill(cache: KvCache, k: ExtTensor, v: ExtTensor, step: number, tokens = k.dims[1]): KvCache {
  for (let t = 0; t < tokens; t += step) {
    const end = Math.min(tokens, t + step);
    cache.append(0, tokensOf(k, t, end), tokensOf(v, t, end));
  }
  return cache;
}

/** Expects every number within `bound` of the largest one. */
export function expectClose(got: ArrayLike<number>, want: readonly number[], what: string, bound = 3e-6): void {
  expect(got.length).toBe(want.length);
  const most = want.reduce((a, x) => Math.max(a, Math.abs(x)), 1);
  const off = want.reduce((a, x, i) => Math.max(a, Math.abs(x - got[i])), 0);
  expect(off <= bound * most, `${what}: off by ${off}`).toBe(true);
}

/** A format of every kind. */
export const formats: readonly (readonly [string, KvFormat])[] = [
  ['int8', 'int8'],
  ['int4', 'int4'],
  ['int2', 'int2'],
  ['keys int4, values int8, groups of 16', { keyBits: 4, valueBits: 8, group: 16, residual: 32 }],
  ['int2, groups of 4', { keyBits: 2, group: 4, residual: 12 }],
  [
    'tiers',
    {
      tiers: [
        { bits: 8, tokens: 64 },
        { bits: 4, tokens: 64 },
        { bits: 2, tokens: Number.POSITIVE_INFINITY },
      ],
      residual: 32,
    },
  ],
  ['int8-token', 'int8-token'],
  ['duo4', 'duo4'],
];
