// attentionStats(): numbers about the attention matrix that are found without storing it. Reader: someone who selects keys,
// looks for retrieval heads, or runs a pointer network. core/op/stats.h has the rules, problem.ts what fits.

import { fly, refuseSignal } from '../../call/flight.js';
import { onDevice } from '../../call/placement.js';
import { invalid } from '../../check/validate.js';
import { KeyPages } from '../../stores/key-pages.js';
import type { TensorLike } from '../../tensor/types.js';
import { type AttentionStatsOptions, readStatsOptions } from './options.js';
import { type AttentionStats, prepareStats, type StatsCall, statsOp } from './problem.js';

/**
 * Statistics of P = exp(scale * q.k - lse), the probabilities that attention() multiplies values by: sums over queries, heads,
 * blocks and diagonals, the largest of each row, or all of them. Computed tile by tile; nothing of queries times keys is
 * stored unless `want` has 'probs' or 'scores'. The same bits for any number of threads. Semantics: retrieval heads (arXiv
 * 2404.15574), pointer networks (1506.03134), MInference (2407.02490), SnapKV (2404.14469), DELTA (2510.09883).
 * @param q [batch, queries, heads, headDim] or as `layout` says; float32, float16 or bfloat16, any strides; headDim up to 8192
 * @param k [batch, keys, kvHeads, headDim], the type of q, or any float type under float32; kvHeads divide the heads of q; or
 *   keyPages() of a cache
 * @param options see AttentionStatsOptions; `want` is needed
 * @returns see AttentionStats; rejects with TypeError or RangeError (ERR_TILEWISE_UNKNOWN_OPTION,
 *   ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_SHAPE_MISMATCH, ERR_TILEWISE_DTYPE) or
 *   TilewiseError (ERR_TILEWISE_UNSUPPORTED)
 */
export async function attentionStats(
  q: TensorLike,
  k: TensorLike | KeyPages,
  options: AttentionStatsOptions,
): Promise<AttentionStats> {
  const { keys, told } = readKeys(k, options);
  const settings = readStatsOptions('attentionStats()', told);
  const call = prepareStats(q, keys, settings);
  const end = k instanceof KeyPages ? k.hold() : undefined;
  try {
    return await flyStats(call, settings.signal);
  } finally {
    end?.();
  }
}

/**
 * attentionStats() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what attentionStats() rejects with
 */
export function attentionStatsSync(
  q: TensorLike,
  k: TensorLike | KeyPages,
  options: AttentionStatsOptions,
): AttentionStats {
  const { keys, told } = readKeys(k, options);
  const settings = readStatsOptions('attentionStatsSync()', told);
  refuseSignal('attentionStatsSync()', settings.signal);
  return runStats(prepareStats(q, keys, { ...settings, copyInputs: false }));
}

/** Keys of a cache are on pages, whose table and lengths it has. */
function readKeys(k: TensorLike | KeyPages, options: AttentionStatsOptions) {
  if (!(k instanceof KeyPages)) return { keys: k, told: options };
  const own = (['pages', 'keyLengths'] as const).find((name) => options?.[name] !== undefined);
  if (own) throw invalid(own, 'left out next to keys of a cache', options[own]);
  return { keys: k.keysAs(options?.layout) as TensorLike, told: { ...options, ...k.told } };
}

/** Runs a call on the threads of its device. */
export async function flyStats(
  { request, placement, results }: StatsCall,
  signal: AbortSignal | undefined,
): Promise<AttentionStats> {
  await fly(placement, (device) => statsOp.submit(device, request), undefined, signal);
  return results;
}

/** Runs a call on this thread. */
export function runStats({ request, placement, results }: StatsCall): AttentionStats {
  onDevice(placement, (device) => statsOp.run(device, request));
  return results;
}
