// sampledBlocks(): block lists that are drawn at random, near blocks more often than far ones.
// Reader: someone who reproduces PrFlashAttention, of which the abstract says so much. The rule and the draws are in
// core/pattern/sampled_blocks.h; here are their arguments, and the lists for the lengths of a call.

import { allocating, calling, TilewiseTypeError } from '../check/errors.js';
import {
  checkBoolean,
  checkInteger,
  checkNames,
  checkOneOf,
  invalid,
  is,
  maxTokens,
  namesOf,
} from '../check/validate.js';
import { native } from '../native/native.js';
import { typedArrayName } from '../tensor/typed-arrays.js';
import { type Align, alignNumbers, checkAlign } from './align.js';
import type { NativeLists } from './block-lists.js';
import { stridesOf } from './block-table.js';
import type { Extent } from './extent.js';
import type { SelectionScope } from './hierarchical.js';
import { made } from './made.js';

/** Every block of queries keeps its own block of keys, and each earlier one with a probability of its distance. */
export interface SampledBlocksPattern {
  readonly kind: 'sampledBlocks';
  /** Tokens per block, of queries and keys alike. */
  readonly block: number;
  /** Probabilities by distance in blocks, the last for all larger ones; or one of the next two instead. */
  readonly keep: readonly number[] | undefined;
  /** max(floor, rho^distance). */
  readonly geometric: { readonly rho: number; readonly floor: number } | undefined;
  /** (1 + distance)^-power. */
  readonly power: number | undefined;
  readonly seed: number;
  readonly layer: number;
  readonly scope: SelectionScope;
  /** Whether scores of a kept block get −ln of its probability. */
  readonly unbiased: boolean;
  readonly align: Align;
}

export interface SampledBlocksOptions {
  /** Tokens per block, of queries and keys alike; from 1. Blocks are counted from position 0. */
  block: number;
  /**
   * One of these three. How probable it is that an earlier block is kept, from 0 to 1: one number for all, or numbers by
   * distance in blocks from 0 on, of which the last is for all larger ones. Entry 0 says nothing: the own block is kept.
   */
  keep?: number | readonly number[] | Float32Array | Float64Array;
  /** max(floor, rho^distance), both from 0 to 1; floor 0 by default. */
  geometric?: { rho: number; floor?: number };
  /** (1 + distance)^-power, from 0. */
  power?: number;
  /** Another seed draws other blocks: a whole number from 0 to 2^53 - 1; default 0. */
  seed?: number;
  /** So does another layer: a whole number from 0 to 2^32 - 1; default 0. */
  layer?: number;
  /** Who has draws of its own: every head (`'head'`), the heads of a KV head (`'kv'`, default), or nobody (`'layer'`). */
  scope?: SelectionScope;
  /**
   * Adds −ln(probability) to the scores of a kept block, so that over the seeds both sums of a row's softmax, of weights and
   * of weighted values, are on average those of causal attention (Horvitz and Thompson's estimator); default false.
   */
  unbiased?: boolean;
  /** Where queries are among the keys; default `'bottom-right'`. */
  align?: Align;
}

const optionNames = namesOf<SampledBlocksOptions>({
  block: 1,
  keep: 1,
  geometric: 1,
  power: 1,
  seed: 1,
  layer: 1,
  scope: 1,
  unbiased: 1,
  align: 1,
});
const patternNames = new Set([...optionNames, 'kind']);
const geometricNames = new Set(['rho', 'floor']);
const scopes = ['head', 'kv', 'layer'] as const;
const rules = ['keep', 'geometric', 'power'] as const;
const maxSeed = Number.MAX_SAFE_INTEGER;
const maxLayer = 2 ** 32 - 1;

/**
 * Causal attention to the query's own block of keys and to earlier ones drawn at random, as PrFlashAttention has it. A draw
 * depends on `seed`, `layer`, the head and the two blocks, and on nothing else: it is the same on every device, for any number
 * of threads, in a chunk of a prompt and in one decoded token. Philox 4x32-10 with the key `seed` and the counter (key block
 * / 4, query block, head, layer); its word (key block mod 4) keeps the block when below probability * 2^32.
 * @param options see SampledBlocksOptions: `block`, and one of `keep`, `geometric` and `power`
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
 */
export function sampledBlocks(options: SampledBlocksOptions): SampledBlocksPattern {
  checkNames('sampledBlocks()', options, optionNames);
  return read({ ...options, keep: is.number(options.keep) ? [options.keep] : options.keep }, '');
}

/** Checks a pattern that someone else may have built. */
export function checkSampledBlocks(value: Record<string, unknown>): SampledBlocksPattern {
  checkNames('`pattern`', value, patternNames);
  return read(value, 'pattern.');
}

function read(o: { readonly [name in keyof SampledBlocksOptions]?: unknown }, prefix: string): SampledBlocksPattern {
  const given = rules.filter((name) => o[name] !== undefined);
  if (given.length !== 1) {
    const names = given.map((name) => `\`${name}\``).join(' and ') || 'none';
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `sampledBlocks() needs one of \`keep\`, \`geometric\` and \`power\`, not ${names}`,
    );
  }
  const { keep, geometric, power, seed = 0, layer = 0, scope = 'kv', unbiased = false, align } = o;
  return made({
    kind: 'sampledBlocks' as const,
    block: checkInteger(`${prefix}block`, o.block, 1, maxTokens),
    keep: keep === undefined ? undefined : readTable(`${prefix}keep`, keep),
    geometric: geometric === undefined ? undefined : readGeometric(`${prefix}geometric`, geometric),
    power: power === undefined ? undefined : checkNumber(`${prefix}power`, power, Number.MAX_VALUE, 'a number from 0'),
    seed: checkInteger(`${prefix}seed`, seed, 0, maxSeed),
    layer: checkInteger(`${prefix}layer`, layer, 0, maxLayer),
    scope: checkOneOf(`${prefix}scope`, scope, scopes),
    unbiased: checkBoolean(`${prefix}unbiased`, unbiased),
    align: checkAlign(align, `${prefix}align`),
  });
}

function readTable(name: string, value: unknown): readonly number[] {
  const isList = Array.isArray(value) || ['Float32Array', 'Float64Array'].includes(typedArrayName(value) ?? '');
  if (!isList || (value as ArrayLike<unknown>).length === 0)
    throw invalid(name, 'a number from 0 to 1 or at least one of them, by distance', value);
  const numbers = Array.from(value as ArrayLike<unknown>, (one, i) => checkProbability(`${name}[${i}]`, one));
  return Object.freeze(numbers);
}

function readGeometric(name: string, value: unknown): { readonly rho: number; readonly floor: number } {
  checkNames(`\`${name}\``, value, geometricNames);
  const { rho, floor = 0 } = value as { rho: unknown; floor?: unknown };
  return Object.freeze({ rho: checkProbability(`${name}.rho`, rho), floor: checkProbability(`${name}.floor`, floor) });
}

const checkProbability = (name: string, value: unknown): number => checkNumber(name, value, 1, 'a number from 0 to 1');

function checkNumber(name: string, value: unknown, most: number, expected: string): number {
  if (!is.number(value) || !(value >= 0 && value <= most)) throw invalid(name, expected, value);
  return value;
}

/** Where sequences differ in length: running totals of queries, and keys in use. */
export interface SequenceLengths {
  readonly cuSeqlensQ?: Int32Array | undefined;
  readonly keyLengths?: Int32Array | undefined;
}

/** The lists of a pattern for the lengths of a call before; patterns do not change, and lengths seldom do but in decoding. */
const lastLists = new WeakMap<SampledBlocksPattern, { key: string; lists: NativeLists }>();

/**
 * A pattern's lists for sequences of such lengths.
 * @throws {RangeError} ERR_TILEWISE_OUT_OF_BOUNDS when they are more than memory can address
 */
export function sampledListsOf(
  pattern: SampledBlocksPattern,
  extent: Extent,
  { cuSeqlensQ, keyLengths }: SequenceLengths,
): NativeLists {
  const { batch, heads, kvHeads, queries, keys } = extent;
  const areAlike = !cuSeqlensQ && !keyLengths;
  const lengths = allocating(() => new Int32Array(2 * (areAlike ? 1 : batch)));
  for (let s = 0; 2 * s < lengths.length; ++s) {
    lengths[2 * s] = cuSeqlensQ ? cuSeqlensQ[s + 1] - cuSeqlensQ[s] : queries;
    lengths[2 * s + 1] = keyLengths ? keyLengths[s] : keys;
  }
  const key = [areAlike, batch, heads, kvHeads, lengths].join();
  const last = lastLists.get(pattern);
  if (last?.key === key) return last.lists;

  const draws = { head: heads, kv: kvHeads, layer: 1 }[pattern.scope];
  const numbers = Float64Array.of(...numbersOf(pattern), draws, ...alignNumbers(pattern.align));
  const table = pattern.keep && Float64Array.from(pattern.keep);
  const sample = calling(() => native.sampledBlocks(numbers, lengths, table));
  const rows = Math.ceil(queries / sample.blockQueries);
  const lists: NativeLists = {
    kind: 'lists',
    blockQueries: sample.blockQueries,
    blockKeys: Math.min(pattern.block, Math.max(keys, 1)),
    ...stridesOf({ dims: [areAlike ? 1 : batch, draws, rows] }, heads),
    listWindow: 0,
    left: Number.POSITIVE_INFINITY,
    right: 0,
    sinkTokens: 0,
    align: pattern.align,
    begins: sample.begins,
    counts: sample.counts,
    starts: sample.starts,
    ...(sample.addends && { addends: sample.addends }),
  };
  lastLists.set(pattern, { key, lists });
  return lists;
}

/** The fields of binding/requests/sampling.cc up to `unbiased`. */
function numbersOf({ block, geometric, power, seed, layer, unbiased }: SampledBlocksPattern): number[] {
  const rule = geometric ? 1 : power === undefined ? 0 : 2;
  return [block, rule, geometric?.rho ?? power ?? 0, geometric?.floor ?? 0, seed, layer, Number(unbiased)];
}
