// The options of attentionStats(), and how they are read. Reader: someone who adds one. Everything is checked here and in
// problem.ts before native code is called.

import type { CopyInputs } from '../../call/request.js';
import {
  checkBoolean,
  checkInteger,
  checkNames,
  checkOneOf,
  invalid,
  is,
  maxTokens,
  namesOf,
} from '../../check/validate.js';
import { type PagedKeys, type PageSettings, readPages } from '../../stores/pages.js';
import { checkDevice, type DeviceName } from '../../tensor/devices.js';
import { type FloatArray, readFloats } from '../../tensor/floats.js';
import { type IntegerList, readIntegerList } from '../../tensor/integers.js';
import type { View } from '../../tensor/views.js';
import { checkCopyInputs, checkSignal, type Layout, layouts } from '../attention/options.js';

/** What attentionStats() can be asked for. */
export type StatsOutput =
  | 'lse'
  | 'rowTopK'
  | 'keySum'
  | 'keySumOverQueries'
  | 'keyMaxOverHeads'
  | 'blockSum'
  | 'diagSum'
  | 'probs'
  | 'scores';

/** What attentionStats() can be told. */
export interface AttentionStatsOptions {
  /** The results to return, one at least: see AttentionStats. */
  want: readonly StatsOutput[];
  /** With `want` 'rowTopK': keys of each row, from 1. */
  rowTopK?: number;
  /** With `want` 'blockSum': queries and keys of a block, [blockQ, blockK], from 1. */
  blockSum?: readonly [blockQ: number, blockK: number];
  /** Whether a query sees no later keys; the last query is at the last key. Default false. */
  causal?: boolean;
  /** Factor on q.k; default headDim^-0.5. */
  scale?: number;
  /**
   * The log of the sum that probabilities are divided by, float32 [batch, heads, queries]: of a larger set of keys, or as
   * attention() has returned it. Default: that of the keys here, so that the probabilities of a row add up to 1.
   */
  lse?: FloatArray;
  /** Keys in use per batch entry, [batch]; the rest counts as not seen, and `causal` counts from here. */
  keyLengths?: IntegerList;
  /** Keys on pages, with `keyLengths`: k is [pages, pageSize, kvHeads, headDim]; as in attention(). */
  pages?: PagedKeys;
  /** Most elements of `probs` and of `scores`; default 2^24. */
  maxElements?: number;
  /** Axes of q and k: `'bnhd'` (default) or `'bhnd'`. Results are the same. */
  layout?: Layout;
  /** Cancels an asynchronous call. */
  signal?: AbortSignal;
  /** As in attention(). Only the CPU runs this op at present. */
  device?: DeviceName;
  /** Asynchronous calls: copy the inputs first, as in attention(). */
  copyInputs?: CopyInputs;
}

const outputs: readonly StatsOutput[] = [
  'lse',
  'rowTopK',
  'keySum',
  'keySumOverQueries',
  'keyMaxOverHeads',
  'blockSum',
  'diagSum',
  'probs',
  'scores',
];

const optionNames = namesOf<AttentionStatsOptions>({
  want: 1,
  rowTopK: 1,
  blockSum: 1,
  causal: 1,
  scale: 1,
  lse: 1,
  keyLengths: 1,
  pages: 1,
  maxElements: 1,
  layout: 1,
  signal: 1,
  device: 1,
  copyInputs: 1,
});

/** The options, read one by one. */
export interface StatsSettings {
  readonly want: ReadonlySet<StatsOutput>;
  /** 0: not wanted. */
  readonly topK: number;
  readonly blockSum: readonly [blockQ: number, blockK: number] | undefined;
  readonly isCausal: boolean;
  readonly scale: number | undefined;
  readonly lse: View | undefined;
  readonly keyLengths: Int32Array | undefined;
  readonly pages: PageSettings | undefined;
  readonly maxElements: number;
  readonly isHeadsFirst: boolean;
  readonly signal: AbortSignal | undefined;
  readonly device: DeviceName;
  readonly copyInputs: CopyInputs;
}

/** Elements of a matrix of all queries and keys, at most, unless the caller says otherwise. */
export const usualMaxElements = 2 ** 24;

export function readStatsOptions(where: string, o: AttentionStatsOptions): StatsSettings {
  checkNames(where, o, optionNames);
  const want = readWant(o.want);
  const isCausal = o.causal !== undefined && checkBoolean('causal', o.causal);
  if (want.has('rowTopK') && o.rowTopK === undefined) {
    throw invalid('rowTopK', "a number of keys next to `want` 'rowTopK'", o.rowTopK);
  }
  if (want.has('blockSum') && o.blockSum === undefined) {
    throw invalid('blockSum', "[blockQ, blockK] next to `want` 'blockSum'", o.blockSum);
  }
  if (want.has('diagSum') && !isCausal) {
    throw invalid('causal', "true next to `want` 'diagSum', which counts from a query back", o.causal);
  }
  if (o.pages !== undefined && o.keyLengths === undefined) {
    throw invalid('keyLengths', 'given next to `pages`', o.keyLengths);
  }
  return {
    want,
    isCausal,
    topK: o.rowTopK === undefined ? 0 : checkInteger('rowTopK', o.rowTopK, 1, maxTokens),
    blockSum: o.blockSum === undefined ? undefined : readBlocks(o.blockSum),
    scale: o.scale === undefined ? undefined : checkScale(o.scale),
    lse: o.lse === undefined ? undefined : readFloats('lse', o.lse),
    keyLengths: o.keyLengths === undefined ? undefined : readIntegerList('keyLengths', o.keyLengths),
    pages: o.pages === undefined ? undefined : readPages(o.pages),
    maxElements:
      o.maxElements === undefined ? usualMaxElements : checkInteger('maxElements', o.maxElements, 1, 2 ** 31 - 1),
    isHeadsFirst: o.layout !== undefined && checkOneOf('layout', o.layout, layouts) === 'bhnd',
    signal: o.signal === undefined ? undefined : checkSignal('signal', o.signal),
    device: o.device === undefined ? 'auto' : checkDevice('device', o.device),
    copyInputs: o.copyInputs === undefined ? 'small' : checkCopyInputs(o.copyInputs),
  };
}

function readWant(value: unknown): ReadonlySet<StatsOutput> {
  if (!Array.isArray(value) || value.length === 0) throw invalid('want', 'an array with one output at least', value);
  for (const [i, name] of value.entries()) checkOneOf(`want[${i}]`, name, outputs);
  return new Set(value as StatsOutput[]);
}

function readBlocks(value: unknown): readonly [number, number] {
  if (!Array.isArray(value) || value.length !== 2) throw invalid('blockSum', 'a pair [blockQ, blockK]', value);
  return [checkInteger('blockSum[0]', value[0], 1, maxTokens), checkInteger('blockSum[1]', value[1], 1, maxTokens)];
}

export function checkScale(value: unknown): number {
  if (!is.finite(value)) throw invalid('scale', 'a finite number', value);
  return value;
}
