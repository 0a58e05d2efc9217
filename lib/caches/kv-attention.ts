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
import { floatTypes, readTensor, type View } from '../tensor/views.js';
import { swapped, tensorOf } from './kv-dense.js';
import type { KvPages } from './kv-pages.js';
import { putRanks, type RotarySettings, turnedQueries } from './kv-rotary.js';
import type { Horizon, KvRun } from './kv-run.js';

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
  /** Queries of each sequence, where they follow each other without a batch axis. */
  readonly queryLengths?: Int32Array;
  readonly horizon: Horizon | undefined;
  readonly rotary: RotarySettings | undefined;
}

/** The call of attention() that one of a cache is. */
interface Call {
  readonly q: TensorLike;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly options: AttentionOptions<unknown>;
  /** Tensors that were made for it. */
  readonly own: readonly Tensor[];
}

/** What a call reads. */
export interface Reading {
  readonly pool: KvPages;
  readonly runs: readonly KvRun[];
  readonly layer: number;
}

/** Holds the pages that it reads until it is done. */
export async function attendTo(
  where: string,
  reading: Reading,
  query: TensorLike,
  told: CacheAttentionOptions<unknown>,
  settings: CallSettings,
): Promise<unknown> {
  const { q, k, v, options, own } = callOf(where, reading, query, told, settings);
  const ends = reading.runs.map((run) => run.read(reading.layer));
  try {
    return await runAttention(where, q, k, v, options);
  } finally {
    for (const end of ends) end();
    for (const tensor of own) tensor.dispose();
  }
}

export function attendToSync(
  where: string,
  reading: Reading,
  query: TensorLike,
  told: CacheAttentionOptions<unknown>,
  settings: CallSettings,
): unknown {
  const { q, k, v, options, own } = callOf(where, reading, query, told, settings);
  try {
    return runAttentionSync(where, q, k, v, options);
  } finally {
    for (const tensor of own) tensor.dispose();
  }
}

function callOf(
  where: string,
  { pool, runs, layer }: Reading,
  q: TensorLike,
  given: CacheAttentionOptions<unknown>,
  settings: CallSettings,
): Call {
  checkNames(where, given, names);
  const { layout, queryLengths, rotary, horizon } = settings;
  const { pageSize } = pool.sizes;
  const keyLengths = new Int32Array(runs.length);
  let most = 0;
  for (let i = 0; i < runs.length; ++i) {
    keyLengths[i] = runs[i].lengthOf(layer);
    most = Math.max(most, keyLengths[i]);
  }
  const perSequence = Math.max(1, Math.ceil(most / pageSize));
  const table = new Int32Array(runs.length * perSequence).fill(-1);
  for (let i = 0; i < runs.length; ++i) runs[i].writeTable(layer, table, i * perSequence);
  // Written one by one: a call of one token takes about as long as spreading them.
  const options: { -readonly [name in keyof AttentionOptions]: AttentionOptions<unknown>[name] } = { ...given };
  options.layout = layout;
  options.keyLengths = keyLengths;
  options.pages = { table: { type: 'int32', data: table, dims: [runs.length, perSequence] }, pageSize };
  limitSight(options, settings);
  let queries: number;
  if (queryLengths) {
    options.cuSeqlensQ = totalsOf(queryLengths);
    queries = checkRaggedQueries(q, pool, keyLengths, queryLengths, layout, options.causal);
  } else {
    queries = checkQueries(q, pool, keyLengths, most, layout, options.causal);
  }
  const own: Tensor[] = [];
  if (rotary?.isByRank && horizon) {
    own.push(...putRanks(options, pool, runs, layer, keyLengths, queries, horizon, rotary));
  }
  const turned = rotary && turnedQueries(q, rotary, layout, keyLengths, queries, queryLengths);
  if (turned) own.push(turned);
  const [k, v] = [pool.keysOf(layer), pool.valuesOf(layer)].map((pages) => tensorAs(layout, pages));
  return { q: turned ?? q, k, v, options, own };
}

/** Tensors of views that stay until a pool grows: made once. */
const tensors = { bnhd: new WeakMap<View, Tensor>(), bhnd: new WeakMap<View, Tensor>() };

function tensorAs(layout: Layout, pages: View): Tensor {
  const made = tensors[layout].get(pages);
  if (made) return made;
  const tensor = tensorOf(layout === 'bhnd' ? swapped(pages) : pages);
  tensors[layout].set(pages, tensor);
  return tensor;
}

/** Running totals, from 0. */
function totalsOf(lengths: ArrayLike<number>): Int32Array {
  const totals = new Int32Array(lengths.length + 1);
  for (let i = 0; i < lengths.length; ++i) totals[i + 1] = totals[i] + lengths[i];
  return totals;
}

/** Says which tokens a query sees. */
function limitSight(
  options: Pick<AttentionOptions, 'causal' | 'window' | 'sinkTokens'>,
  { isReadOnly, horizon }: CallSettings,
): void {
  options.causal = options.causal === undefined ? !isReadOnly : checkBoolean('causal', options.causal);
  if (!horizon) return;
  const named = (['window', 'sinkTokens'] as const).find((name) => options[name] !== undefined);
  if (named || !options.causal) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${named ?? 'causal'}\` does not go with a cache of \`recentTokens\`, which says what a query sees; leave it out`,
    );
  }
  options.window = [horizon.recentTokens - 1, 0];
  options.sinkTokens = horizon.sinkTokens;
}

/** Queries are those of the last tokens, so a causal call has no more of them than tokens. */
function checkQueries(
  q: TensorLike,
  pool: KvPages,
  keyLengths: Int32Array,
  most: number,
  layout: Layout,
  isCausal: boolean | undefined,
): number {
  const { dims } = readTensor('q', q, floatTypes);
  const { headDim } = pool.sizes;
  const axes = axesOf(4, layout === 'bhnd');
  if (dims.length !== 4 || dims[axes.batch] !== keyLengths.length || dims[axes.dim] !== headDim) {
    throw mismatch(
      `\`q\` must have dims ${layoutWords(4, layout === 'bhnd')} with a batch of ${keyLengths.length} and a dim of ` +
        `${headDim}, as the cache has them, not ${showDims(dims)}`,
    );
  }
  const queries = dims[axes.token];
  if (!isCausal || queries <= most) return queries;
  throw mismatch(
    `\`q\` must have at most ${most} queries, those of the last tokens that were appended, not ${queries}`,
  );
}

/** The same of the queries of sequences one after the other. */
function checkRaggedQueries(
  q: TensorLike,
  pool: KvPages,
  keyLengths: Int32Array,
  queryLengths: Int32Array,
  layout: Layout,
  isCausal: boolean | undefined,
): number {
  const { dims } = readTensor('q', q, floatTypes);
  const { headDim } = pool.sizes;
  const axes = axesOf(3, layout === 'bhnd');
  const total = queryLengths.reduce((sum, length) => sum + length, 0);
  if (dims.length !== 3 || dims[axes.token] !== total || dims[axes.dim] !== headDim) {
    throw mismatch(
      `\`q\` must have dims ${layoutWords(3, layout === 'bhnd')} with ${total} tokens, as \`queryLengths\` says, and a dim of ` +
        `${headDim}, not ${showDims(dims)}`,
    );
  }
  if (!isCausal) return total;
  const long = queryLengths.findIndex((length, i) => length > keyLengths[i]);
  if (long < 0) return total;
  throw mismatch(
    `\`queryLengths[${long}]\` must be at most ${keyLengths[long]}, the tokens of its sequence, not ${queryLengths[long]}`,
  );
}
