// What attention over a cache can be told, and the options of attention() that this becomes.
// Reader: someone who adds an option to caches: a line in each list; the compiler finds one that lacks it.

import { mismatch } from '../call/shape.js';
import { checkInteger, invalid, maxTokens, namesOf } from '../check/validate.js';
import { takeIntegers } from '../native/slabs.js';
import type { AttentionOptions, Layout } from '../ops/attention/options.js';
import { HipState } from '../selectors/hip-state.js';
import { type IntegerList, readIntegerList } from '../tensor/integers.js';
import type { Tensor } from '../tensor/tensor.js';

/** What attention over a cache can be told, as in attention(). */
export type CacheAttentionOptions<T = Tensor> = Pick<
  AttentionOptions<T>,
  | 'queryHeads'
  | 'pattern'
  | 'causal'
  | 'recentTokens'
  | 'window'
  | 'sinkTokens'
  | 'scale'
  | 'similarity'
  | 'temperature'
  | 'softcap'
  | 'activation'
  | 'activationBias'
  | 'alibiSlopes'
  | 'sinks'
  | 'scoreFactor'
  | 'bias'
  | 'biasHeads'
  | 'mask'
  | 'keyMask'
  | 'gate'
  | 'extraKeys'
  | 'extraValues'
  | 'pageLists'
  | 'returnLse'
  | 'out'
  | 'Tensor'
  | 'signal'
  | 'copyInputs'
> & {
  /** With `pattern: hierarchical()`: lists kept from step to step, as in hipAttention(); one per layer and cache. */
  state?: HipState;
};

/** What attention over sequences of a pool can be told: packed queries and keys have no axes in a bias or mask. */
export type PackedAttentionOptions<T = Tensor> = Omit<
  CacheAttentionOptions<T>,
  'state' | 'bias' | 'biasHeads' | 'mask'
>;

/** Options of KvPool.attention(): those of KvCache.attention() but `bias` and `mask`, and what is each sequence's own. */
export interface PoolAttentionOptions<T = Tensor> extends PackedAttentionOptions<T> {
  /** Queries of each sequence, in order; default: one each. */
  queryLengths?: IntegerList;
  /** With `pattern: hierarchical()`: lists kept from step to step, as in hipAttention(); one per sequence, and per layer. */
  states?: readonly HipState[];
}

/** Names that calls of caches and pools have in common. */
const packedNames = namesOf<PackedAttentionOptions>({
  queryHeads: 1,
  pattern: 1,
  causal: 1,
  recentTokens: 1,
  window: 1,
  sinkTokens: 1,
  scale: 1,
  similarity: 1,
  temperature: 1,
  softcap: 1,
  activation: 1,
  activationBias: 1,
  alibiSlopes: 1,
  sinks: 1,
  scoreFactor: 1,
  keyMask: 1,
  gate: 1,
  extraKeys: 1,
  extraValues: 1,
  pageLists: 1,
  returnLse: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  copyInputs: 1,
});
export const cacheNames: ReadonlySet<string> = new Set([...packedNames, 'bias', 'biasHeads', 'mask', 'state']);
export const poolNames: ReadonlySet<string> = new Set([...packedNames, 'queryLengths', 'states']);

/** Options of attention() that a cache adds to. */
export type Told = { -readonly [name in keyof AttentionOptions]: AttentionOptions<unknown>[name] };

/** Every option that attention() has, too. */
type Written = { readonly [name in Exclude<keyof CacheAttentionOptions, 'state'>]-?: unknown };

/** A copy of options, with room for what a cache adds. Written out: spreading them takes about as long as a call of one token. */
export const toldOf = (given: CacheAttentionOptions<unknown>, layout: Layout): Told =>
  ({
    layout,
    queryHeads: given.queryHeads,
    kvHeads: undefined,
    pattern: given.pattern,
    causal: given.causal,
    recentTokens: given.recentTokens,
    window: given.window,
    sinkTokens: given.sinkTokens,
    scale: given.scale,
    similarity: given.similarity,
    temperature: given.temperature,
    softcap: given.softcap,
    activation: given.activation,
    activationBias: given.activationBias,
    alibiSlopes: given.alibiSlopes,
    sinks: given.sinks,
    scoreFactor: given.scoreFactor,
    bias: given.bias,
    biasHeads: given.biasHeads,
    mask: given.mask,
    keyMask: given.keyMask,
    gate: given.gate,
    extraKeys: given.extraKeys,
    extraValues: given.extraValues,
    cuSeqlensQ: undefined,
    keyLengths: undefined,
    pages: undefined,
    pageLists: given.pageLists,
    returnLse: given.returnLse,
    out: given.out,
    Tensor: given.Tensor,
    signal: given.signal,
    device: undefined,
    copyInputs: given.copyInputs,
  }) satisfies Told & Written;

export function checkStates(states: readonly HipState[] | undefined, sequences: number): void {
  if (states === undefined) return;
  const isRight =
    Array.isArray(states) && states.length === sequences && states.every((state) => state instanceof HipState);
  if (isRight && new Set(states).size === sequences) return;
  throw invalid('states', `an array of ${sequences} HipStates, each sequence its own`, states);
}

export function readQueryLengths(queryLengths: IntegerList | undefined, sequences: number): Int32Array {
  if (queryLengths === undefined) return takeIntegers(sequences).fill(1);
  const lengths = readIntegerList('queryLengths', queryLengths);
  if (lengths.length !== sequences) {
    throw mismatch(`\`queryLengths\` must have ${sequences} entries, one per sequence, not ${lengths.length}`);
  }
  for (const [i, length] of lengths.entries()) checkInteger(`queryLengths[${i}]`, length, 0, maxTokens);
  return lengths;
}
