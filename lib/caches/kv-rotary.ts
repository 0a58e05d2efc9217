// Rotary embedding inside a cache: keys are turned when they come, queries when they ask.
// Reader: someone whose model has RoPE (arXiv 2104.09864). By ranks (StreamingLLM, arXiv 2309.17453) a query counts the tokens
// that it sees and not those of the text: the distances inside the window are the same either way, so only the sinks, which
// the window has moved away from, are turned after it.

import { mismatch } from '../call/shape.js';
import { TilewiseTypeError } from '../check/errors.js';
import { checkOneOf } from '../check/validate.js';
import type { Layout } from '../ops/attention/options.js';
import {
  type Frequencies,
  type RotaryOptions,
  readDims,
  readFrequencies,
  readRotaryOptions,
} from '../ops/rotary/frequencies.js';
import { rotateSync, turnSync } from '../ops/rotary/rotate.js';
import type { Tensor } from '../tensor/tensor.js';
import { floatTypes, readTensor, type View } from '../tensor/views.js';
import { firstRows } from './kv-dense.js';
import type { KvPart } from './kv-parts.js';
import type { KvRows } from './kv-rows.js';
import type { KvRun } from './kv-run.js';

/** What positions count: tokens of the text, or those that the cache keeps. */
export type CachePositions = 'absolute' | 'cache';

const positionKinds: readonly CachePositions[] = ['absolute', 'cache'];

export interface RotarySettings {
  readonly options: RotaryOptions;
  /** What the options say. */
  readonly turns: Frequencies;
  readonly isByRank: boolean;
}

export function readRotary(
  rotary: RotaryOptions | undefined,
  positions: CachePositions | undefined,
  headDim: number,
  forgets: boolean,
): RotarySettings | undefined {
  const isByRank = positions !== undefined && checkOneOf('positions', positions, positionKinds) === 'cache';
  if (isByRank && (rotary === undefined || !forgets)) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      "`positions` 'cache' needs `rotary` and `recentTokens` next to it: ranks act through the rotation, once tokens are let go of",
    );
  }
  if (rotary === undefined) return undefined;
  const options = readRotaryOptions(rotary);
  return { options, turns: readFrequencies(options, headDim), isByRank };
}

/** New rows of runs with their keys turned to the positions that they will have. */
export function turnedKeys(
  rows: KvRows,
  runs: readonly KvRun[],
  layer: number,
  { layout, rotary }: { readonly layout: Layout; readonly rotary: RotarySettings | undefined },
): KvRows {
  if (!rotary) return rows;
  const positions = runs.map((run) => Float64Array.from({ length: rows.tokens }, (_, t) => run.textOf(layer) + t));
  const k = turnSync(rows.k, { ...rotary.options, layout, positions }, rotary.turns) as Tensor;
  return { ...rows, k: readTensor('k', k, floatTypes) };
}

/** Positions of queries, those of the last tokens: a row per batch entry, or one row of all where `lengths` says whose. */
function positionsOf(keyLengths: Int32Array, queries: number, lengths: Int32Array | undefined): Float64Array[] {
  const last = (keys: number, count: number) => Array.from({ length: count }, (_, i) => keys - count + i);
  if (!lengths) return Array.from(keyLengths, (keys) => Float64Array.from(last(keys, queries)));
  return [Float64Array.from(Array.from(keyLengths, (keys, i) => last(keys, lengths[i])).flat())];
}

/** Queries turned to their positions, on the calling thread, as keys are: `q` may change once the call has begun. */
export const turnedQueries = (
  q: View,
  { options, turns }: RotarySettings,
  layout: Layout,
  keyLengths: Int32Array,
  queries: number,
  lengths: Int32Array | undefined,
): Tensor => turnSync(q, { ...options, layout, positions: positionsOf(keyLengths, queries, lengths) }, turns) as Tensor;

/**
 * Counts by rank: once the window has left the sinks behind, they join as extra keys, turned after it.
 * @param keyLengths of the runs, which must be alike
 * @returns the sinks, when they have been turned
 */
export function turnedSinks(
  part: KvPart,
  layout: Layout,
  layer: number,
  keyLengths: Int32Array,
  queries: number,
  rotary: RotarySettings,
): { readonly keys: Tensor; readonly values: Tensor } | undefined {
  const { pool, horizon } = part;
  const [length] = keyLengths;
  if (keyLengths.some((other) => other !== length)) {
    throw mismatch("With `positions` 'cache' all sequences of a batch must have the same length");
  }
  const moved = horizon ? length - horizon.recentTokens - horizon.sinkTokens : 0;
  if (!horizon || moved <= 0) return undefined;
  if (queries > 1) {
    throw mismatch(
      `With \`positions\` 'cache' \`q\` must have one query once tokens are let go of, not ${queries}: each counts its own`,
    );
  }
  const { sinkTokens } = horizon;
  if (sinkTokens === 0) return undefined;
  const isHeadsFirst = layout === 'bhnd';
  const keys = firstRows(part, sinkTokens, pool.keysOf(layer), isHeadsFirst);
  const values = firstRows(part, sinkTokens, pool.valuesOf(layer), isHeadsFirst);
  const { headDim } = pool.sizes;
  rotateSync(keys, {
    // Their numbers have been multiplied by what `scaling` says when they came.
    frequencies: rotary.turns.frequencies,
    dims: readDims(rotary.options.dims, headDim),
    interleaved: rotary.options.interleaved ?? false,
    layout,
    positions: Float64Array.from({ length: sinkTokens }, () => moved),
    out: keys,
  });
  return { keys, values };
}
