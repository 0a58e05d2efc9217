// Attention over runs of a pool: the call of attention() that a cache's own attention() is.
// Reader: someone who follows one. Where tokens are and how many there are is the cache's; all else is attention()'s.

import { readHeads, readMergedHeads, unmergeable } from '../call/heads.js';
import { mismatch } from '../call/shape.js';
import { showDims } from '../check/errors.js';
import { checkBoolean, checkNames, invalid } from '../check/validate.js';
import { takeIntegers } from '../native/slabs.js';
import { attend, attendSync } from '../ops/attention/attention.js';
import { type AttentionOptions, type Layout, readSyncValues, readValues } from '../ops/attention/options.js';
import {
  completeParts,
  completePartsSync,
  type HeadPart,
  type PreparedParts,
  prepareParts,
  runParts,
  runPartsSync,
} from '../ops/attention/parts.js';
import { type Internals, prepare } from '../ops/attention/problem.js';
import type { Settings } from '../ops/attention/settings.js';
import type { Pattern } from '../patterns/index.js';
import type { WindowPattern } from '../patterns/window.js';
import { HipState } from '../selectors/hip-state.js';
import { OwnPages } from '../stores/pages.js';
import { axesOf, layoutWords } from '../tensor/axes.js';
import { backendName, cpu } from '../tensor/devices.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import { deviceOf, floatTypes, readTensor, type View } from '../tensor/views.js';
import { swapped } from './kv-dense.js';
import type { KvPart } from './kv-parts.js';
import { putLengths, putTable } from './kv-places.js';
import {
  checkCounts,
  longest,
  refuseBesideCodes,
  refuseDistances,
  refuseGone,
  refuseSight,
  wrong,
} from './kv-refusals.js';
import { type CallSettings, canRepeat, type Reading, RepeatedAttention } from './kv-repeated.js';
import { turnedQueries, turnedSinks } from './kv-rotary.js';
import type { Horizon } from './kv-run.js';
import { type CacheAttentionOptions, cacheNames, poolNames, type Told, toldOf } from './kv-told.js';

/** The call of attention() that one of a cache is. */
export interface CacheCall {
  readonly q: View;
  readonly parts: readonly HeadPart[];
  /** Of all parts; with one part its own, too. */
  readonly options: AttentionOptions<unknown>;
  readonly isInParts: boolean;
  /** Tensors that were made for it. */
  readonly own: readonly Tensor[];
}

/** Holds the pages that it reads until it is done. */
export async function attendTo(
  where: string,
  reading: Reading,
  query: TensorLike,
  told: CacheAttentionOptions<unknown>,
  settings: CallSettings,
): Promise<unknown> {
  const canComeAgain = canRepeat(reading, told, settings);
  const again = canComeAgain ? reading.repeated?.[reading.layer]?.run(reading, query, told, settings) : undefined;
  if (again) return held(reading, () => again);
  const call = callOf(where, reading, query, told, settings);
  const { q, parts, options, isInParts, own } = call;
  try {
    return await held(reading, async () => {
      if (canComeAgain) {
        const prepared = prepareCall(where, call, readValues(options));
        const repeated = RepeatedAttention.of(reading, query, q, told, prepared, settings);
        const result = await completeParts(prepared, undefined);
        keep(reading, repeated);
        return result;
      }
      if (isInParts) return runParts(where, q, parts, options);
      const [{ k, v, internals }] = parts;
      return attend({ q, k, v, out: options.out }, readValues(options), internals);
    });
  } finally {
    for (const tensor of own) tensor.dispose();
  }
}

/** A call that can come again, ready to run: no selection and no predicate comes before it. */
function prepareCall(where: string, { q, parts, options, isInParts }: CacheCall, values: Settings): PreparedParts {
  if (isInParts) return prepareParts(where, q, parts, options, values);
  const [{ k, v, internals }] = parts;
  const prepared = prepare({ q, k, v, out: options.out }, values, internals);
  return { calls: [prepared], results: prepared.results };
}

/** Keeps a call of a layer for the next token. */
function keep({ repeated, layer }: Reading, call: RepeatedAttention | undefined): void {
  if (repeated) repeated[layer] = call;
}

/** Holds the pages of a call while it runs. */
async function held<T>({ parts, layer }: Reading, run: () => Promise<T>): Promise<T> {
  const ends: (() => void)[] = [];
  for (const { runs, codes } of parts) {
    for (const run of runs) ends.push(run.read(layer));
    if (codes) ends.push(codes.read());
  }
  try {
    return await run();
  } finally {
    for (const end of ends) end();
  }
}

export function attendToSync(
  where: string,
  reading: Reading,
  query: TensorLike,
  told: CacheAttentionOptions<unknown>,
  settings: CallSettings,
): unknown {
  const canComeAgain = canRepeat(reading, told, settings);
  const again = canComeAgain ? reading.repeated?.[reading.layer]?.runSync(reading, query, told, settings) : undefined;
  if (again) return again;
  const call = callOf(where, reading, query, told, settings);
  const { q, parts, options, isInParts, own } = call;
  try {
    if (canComeAgain) {
      const prepared = prepareCall(where, call, readSyncValues(where, options));
      const repeated = RepeatedAttention.of(reading, query, q, told, prepared, settings);
      const result = completePartsSync(prepared);
      keep(reading, repeated);
      return result;
    }
    if (isInParts) return runPartsSync(where, q, parts, options);
    const [{ k, v, internals }] = parts;
    return attendSync({ q, k, v, out: options.out }, readSyncValues(where, options), internals);
  } finally {
    for (const tensor of own) tensor.dispose();
  }
}

export function callOf(
  where: string,
  { parts, layer }: Reading,
  q: TensorLike,
  given: CacheAttentionOptions<unknown>,
  settings: CallSettings,
): CacheCall {
  checkNames(where, given, settings.queryLengths ? poolNames : cacheNames);
  const { layout, queryLengths, rotary, isReadOnly } = settings;
  const [{ runs, pool }] = parts;
  const keyLengths = takeIntegers(runs.length);
  putLengths(runs, layer, keyLengths, true);
  const options = toldOf(given, layout);
  if (given.causal !== undefined) options.causal = checkBoolean('causal', given.causal);
  else if (given.pattern === undefined) options.causal = !isReadOnly;
  if (given.queryHeads !== undefined) options.kvHeads = settings.kvHeads;
  if (queryLengths) options.cuSeqlensQ = totalsOf(queryLengths);
  refuseSight(options, parts, rotary);
  refuseDistances(options, parts, layer);
  if (parts[0].codes) refuseBesideCodes(options);
  const view = readQueries(q, options, pool.sizes.headDim, keyLengths, queryLengths);
  // Queries on a device take the call there.
  if (deviceOf(view) === cpu) options.device = backendName(pool.sizes.device);
  const queries = view.dims[axesOf(view.dims.length, layout === 'bhnd').token];
  const isMerged = given.queryHeads !== undefined;
  // Sinks by rank are extra keys that have an axis of heads; those of the caller have none next to `queryHeads`.
  const isInParts = parts.length > 1 || (isMerged && rotary?.isByRank === true);
  const remembered = readStates(given.state, given.pattern, settings, keyLengths);
  const own: Tensor[] = [];
  for (const part of parts) refuseGone(part, layer, queries);
  const calls = parts.map((part) => {
    const told: Told = isInParts ? {} : options;
    const { horizon } = part;
    const keys = putPages(told, part, layer, keyLengths, isOfText(given, horizon));
    const sinks = rotary?.isByRank ? turnedSinks(part, layout, layer, keyLengths, queries, rotary) : undefined;
    if (sinks) {
      own.push(sinks.keys, sinks.values);
      told.extraKeys = sinks.keys;
      told.extraValues = sinks.values;
    }
    const runnable = horizon && windowOf(horizon, sinks ? 0 : horizon.sinkTokens);
    const [k, v] = [pagesAs(layout, part.pool.keysOf(layer)), pagesAs(layout, part.pool.valuesOf(layer))];
    const internals = { keys, runnable, state: remembered?.state, states: remembered?.states };
    return { heads: part.heads, k, v, options: told, internals };
  });
  if (!rotary) return { q: view, parts: calls, options, isInParts, own };
  const texts = Int32Array.from(runs, (run) => run.textOf(layer));
  const turned = turnedQueries(view, rotary, layout, texts, queries, queryLengths);
  own.push(turned);
  return { q: readTensor('q', turned, floatTypes), parts: calls, options, isInParts, own };
}

const pagesAs = (layout: Layout, pages: View): View => (layout === 'bhnd' ? swapped(pages) : pages);

/** Whether tokens that were let go of count: where something has a number for each of them, or for a distance across them. */
const isOfText = (
  { scoreFactor, bias, mask, keyMask, alibiSlopes }: CacheAttentionOptions<unknown>,
  horizon: Horizon | undefined,
): boolean =>
  !horizon ||
  [scoreFactor, bias, mask, keyMask].some((option) => option !== undefined) ||
  (alibiSlopes !== undefined && horizon.sinkTokens > 0);

/**
 * Says where the tokens of a part are. Those that were let go of are left out, unless the call is of the whole text: the
 * others move up to the sinks, which changes no distance inside the window.
 * @returns the keys of the longest sequence
 */
function putPages(
  told: Told,
  { pool, runs, codes }: KvPart,
  layer: number,
  lengths: Int32Array,
  isOfText: boolean,
): number {
  const { pageSize } = pool.sizes;
  const keyLengths = isOfText ? lengths : lengths.map((length, i) => length - runs[i].goneTokens);
  const keys = longest(keyLengths);
  const table = takeIntegers(runs.length * Math.ceil(keys / pageSize)).fill(-1);
  putTable(runs, layer, table, isOfText);
  told.keyLengths = keyLengths;
  told.pages = new OwnPages(table, runs.length, pageSize, codes?.store());
  return keys;
}

/** Which tokens a query sees: with no recent ones, `left` leaves out even its own. */
const windowOf = ({ recentTokens }: Horizon, sinkTokens: number): WindowPattern => ({
  kind: 'window',
  left: recentTokens - 1,
  right: 0,
  sinkTokens,
  align: 'bottom-right',
});

/** What selections remember: one state of a cache's batch, or one of each sequence of a pool. */
function readStates(
  state: HipState | undefined,
  pattern: Pattern | undefined,
  { states }: CallSettings,
  keyLengths: Int32Array,
): Pick<Internals, 'state' | 'states'> | undefined {
  if (state === undefined && states === undefined) return undefined;
  const name = states ? 'states' : 'state';
  if (pattern?.kind !== 'hierarchical') throw wrong(`\`${name}\` needs \`pattern: hierarchical()\` next to it`);
  if (states) return { states: states.map((kept) => ({ kept })) };
  if (!(state instanceof HipState)) throw invalid('state', 'a HipState', state);
  if (keyLengths.some((length) => length !== keyLengths[0])) {
    throw mismatch('With `state` all sequences of a batch must have the same length');
  }
  return { state: { kept: state } };
}

/** Running totals, from 0. */
function totalsOf(lengths: ArrayLike<number>): Int32Array {
  const totals = takeIntegers(lengths.length + 1);
  for (let i = 0; i < lengths.length; ++i) totals[i + 1] = totals[i] + lengths[i];
  return totals;
}

/**
 * Queries, with an axis of heads. They are those of the last tokens, so a causal call has no more of them than tokens.
 * @param queryLengths queries of each sequence, where they follow each other without a batch axis
 */
function readQueries(
  q: TensorLike,
  options: Told,
  headDim: number,
  keyLengths: Int32Array,
  queryLengths: Int32Array | undefined,
): View {
  const given = readTensor('q', q, floatTypes);
  const isHeadsFirst = options.layout === 'bhnd';
  const merged = readMergedHeads(options);
  if (merged && isHeadsFirst) throw unmergeable('queryHeads', "`layout` 'bhnd'");
  const view = merged ? readHeads('q', given, 'queryHeads', merged, queryLengths !== undefined) : given;
  const rank = queryLengths ? 3 : 4;
  const axes = axesOf(rank, isHeadsFirst);
  const { dims } = view;
  const isOne = queryLengths
    ? dims[axes.token] === queryLengths.reduce((sum, length) => sum + length, 0)
    : dims[axes.batch] === keyLengths.length;
  if (dims.length !== rank || !isOne || dims[axes.dim] !== headDim) {
    const of = queryLengths ? 'the tokens of `queryLengths`' : `a batch of ${keyLengths.length}`;
    const words = layoutWords(rank, isHeadsFirst);
    throw mismatch(
      `\`q\` must have dims ${words} with ${of} and a dim of ${headDim}, as the cache has them, not ${showDims(given.dims)}`,
    );
  }
  if (options.causal) checkCounts(dims[axes.token], keyLengths, queryLengths);
  return view;
}
