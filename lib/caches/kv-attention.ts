// Attention over runs of a pool: the call of attention() that a cache's own attention() is.
// Reader: someone who follows one. Where tokens are and how many there are is the cache's; all else is attention()'s.

import { mismatch } from '../call/shape.js';
import { showDims, TilewiseTypeError } from '../check/errors.js';
import { checkBoolean, checkNames, namesOf } from '../check/validate.js';
import { runAttention, runAttentionSync } from '../ops/attention/attention.js';
import type { AttentionOptions, Layout } from '../ops/attention/options.js';
import { axesOf, layoutWords } from '../tensor/axes.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import { floatTypes, readTensor } from '../tensor/views.js';
import { swapped, tensorOf } from './kv-dense.js';
import type { KvPages } from './kv-pages.js';
import type { KvRun } from './kv-run.js';

/** What attention over a cache can be told, as in attention(). */
export type CacheAttentionOptions<T = Tensor> = Pick<
  AttentionOptions<T>,
  | 'causal'
  | 'window'
  | 'sinkTokens'
  | 'scale'
  | 'softcap'
  | 'alibiSlopes'
  | 'sinks'
  | 'bias'
  | 'mask'
  | 'extraKeys'
  | 'extraValues'
  | 'returnLse'
  | 'out'
  | 'Tensor'
  | 'signal'
  | 'copyInputs'
>;

const names = namesOf<CacheAttentionOptions>({
  causal: 1,
  window: 1,
  sinkTokens: 1,
  scale: 1,
  softcap: 1,
  alibiSlopes: 1,
  sinks: 1,
  bias: 1,
  mask: 1,
  extraKeys: 1,
  extraValues: 1,
  returnLse: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  copyInputs: 1,
});

/** What a cache says about every call. */
export interface CallSettings {
  readonly layout: Layout;
  readonly isReadOnly: boolean;
  readonly horizon: { readonly recentTokens: number; readonly sinkTokens: number } | undefined;
}

interface Call {
  readonly k: Tensor;
  readonly v: Tensor;
  readonly options: AttentionOptions<unknown>;
}

/** Holds the pages that it reads until it is done. */
export async function attendTo(
  where: string,
  pool: KvPages,
  runs: readonly KvRun[],
  layer: number,
  q: TensorLike,
  options: CacheAttentionOptions<unknown>,
  settings: CallSettings,
): Promise<unknown> {
  const call = callOf(where, pool, runs, layer, q, options, settings);
  const ends = runs.map((run) => run.read(layer));
  try {
    return await runAttention(where, q, call.k, call.v, call.options);
  } finally {
    for (const end of ends) end();
  }
}

export function attendToSync(
  where: string,
  pool: KvPages,
  runs: readonly KvRun[],
  layer: number,
  q: TensorLike,
  options: CacheAttentionOptions<unknown>,
  settings: CallSettings,
): unknown {
  const call = callOf(where, pool, runs, layer, q, options, settings);
  return runAttentionSync(where, q, call.k, call.v, call.options);
}

function callOf(
  where: string,
  pool: KvPages,
  runs: readonly KvRun[],
  layer: number,
  q: TensorLike,
  given: CacheAttentionOptions<unknown>,
  settings: CallSettings,
): Call {
  checkNames(where, given, names);
  const options = { ...given, ...visibility(given, settings) };
  const keyLengths = Int32Array.from(runs, (run) => run.lengthOf(layer));
  checkQueries(q, pool, keyLengths, settings.layout, options.causal);
  const { pageSize } = pool.sizes;
  const perSequence = Math.max(1, Math.ceil(Math.max(...keyLengths) / pageSize));
  const table = new Int32Array(runs.length * perSequence).fill(-1);
  for (const [i, run] of runs.entries()) run.writeTable(layer, table.subarray(i * perSequence));
  const asGiven = settings.layout === 'bhnd' ? swapped : <V>(view: V): V => view;
  return {
    k: tensorOf(asGiven(pool.keysOf(layer))),
    v: tensorOf(asGiven(pool.valuesOf(layer))),
    options: {
      ...options,
      layout: settings.layout,
      keyLengths,
      pages: { table: { type: 'int32', data: table, dims: [runs.length, perSequence] }, pageSize },
    },
  };
}

/** Which tokens a query sees, as attention() is told it. */
function visibility(
  given: CacheAttentionOptions<unknown>,
  { isReadOnly, horizon }: CallSettings,
): Pick<AttentionOptions, 'causal' | 'window' | 'sinkTokens'> {
  const causal = given.causal === undefined ? !isReadOnly : checkBoolean('causal', given.causal);
  if (!horizon) return { causal };
  const named = (['window', 'sinkTokens'] as const).find((name) => given[name] !== undefined);
  if (named || !causal) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${named ?? 'causal'}\` does not go with a cache of \`recentTokens\`, which says what a query sees; leave it out`,
    );
  }
  const { recentTokens, sinkTokens } = horizon;
  return { causal, window: [recentTokens - 1, 0], sinkTokens };
}

/** Queries are those of the last tokens, so a causal call has no more of them than tokens. */
function checkQueries(
  q: TensorLike,
  pool: KvPages,
  keyLengths: Int32Array,
  layout: Layout,
  isCausal: boolean | undefined,
): void {
  const { dims } = readTensor('q', q, floatTypes);
  const { headDim } = pool.sizes;
  const axes = axesOf(4, layout === 'bhnd');
  if (dims.length !== 4 || dims[axes.batch] !== keyLengths.length || dims[axes.dim] !== headDim) {
    throw mismatch(
      `\`q\` must have dims ${layoutWords(4, layout === 'bhnd')} with a batch of ${keyLengths.length} and a dim of ` +
        `${headDim}, as the cache has them, not ${showDims(dims)}`,
    );
  }
  const most = Math.max(...keyLengths);
  if (!isCausal || dims[axes.token] <= most) return;
  throw mismatch(
    `\`q\` must have at most ${most} queries, those of the last tokens that were appended, not ${dims[axes.token]}`,
  );
}
