// hipAttention() and hipSelect(): attention to selected keys, and the selection by itself.
// Reader: someone with more context than dense attention is affordable for. patterns/hierarchical.ts has the pattern and
// says what it approximates, selectors/ the selection; attention() with hierarchical() is the same without a state.

import { placementOf } from '../call/placement.js';
import { copiesInputs } from '../call/request.js';
import { checkHeads, checkOneLayout, checkTypes, mismatch, readShape } from '../call/shape.js';
import { showDims, TilewiseTypeError } from '../check/errors.js';
import { checkNames, invalid } from '../check/validate.js';
import {
  type HierarchicalOptions,
  type HierarchicalPattern,
  type HierarchicalPreset,
  hierarchical,
  hierarchicalNames,
} from '../patterns/hierarchical.js';
import { type PreparedSelection, prepareSelection, type SelectionSettings } from '../selectors/hierarchical.js';
import { checkRefresh, type HipLists, HipState, type Refresh, toHipLists } from '../selectors/hip-state.js';
import { checkPages, keysOnPages } from '../stores/pages.js';
import { type Axes, axesOf, layoutWords } from '../tensor/axes.js';
import { checkOverlaps } from '../tensor/leases.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import type { View } from '../tensor/views.js';
import type { ResultOf } from './attention/attention.js';
import { checkKeyLengths } from './attention/modifiers.js';
import { type AttentionOptions, readOptions, readSyncOptions } from './attention/options.js';
import { readOperand } from './attention/problem.js';
import type { Settings } from './attention/settings.js';
import { type CommonOptions, type Meaning, namedOps, splitOptions } from './named.js';

/** The options of hipAttention() that attention() has not: those of hierarchical(), and for decoding a state. */
export interface HipOptions extends HierarchicalOptions {
  /** Lists kept from step to step; one per layer and sequence. */
  state?: HipState;
  /** Steps between selections, as in HipState; set on `state` when the call is done. */
  refresh?: Refresh;
}

const hipNames: ReadonlySet<string> = new Set([...hierarchicalNames, 'state', 'refresh']);

interface HipAttention<Result extends 'promised' | 'sync'> {
  <const Q extends TensorLike, T = Tensor>(
    q: Q,
    k: TensorLike,
    v: TensorLike,
    options: HipOptions & CommonOptions<T> & { returnLse: true },
  ): Result extends 'sync' ? Required<ResultOf<Q, T>> : Promise<Required<ResultOf<Q, T>>>;
  <const Q extends TensorLike, T = Tensor>(
    q: Q,
    k: TensorLike,
    v: TensorLike,
    options?: HipOptions & CommonOptions<T>,
  ): Result extends 'sync' ? ResultOf<Q, T> : Promise<ResultOf<Q, T>>;
}

function mean(where: string, options: unknown = {}): Meaning {
  const { own, common } = splitOptions(where, options, hipNames);
  const { state, refresh, ...pattern } = own;
  if (state !== undefined && !(state instanceof HipState)) throw invalid('state', 'a HipState', state);
  if (refresh !== undefined && state === undefined) {
    throw new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', '`refresh` needs a `state` to keep lists in');
  }
  const kept = state && { kept: state, refresh: refresh === undefined ? undefined : checkRefresh(refresh) };
  return { options: { ...common, pattern: hierarchical(pattern) }, internals: { state: kept } };
}

const ops = namedOps<HipOptions>('hipAttention', mean);

/**
 * Attention to the first `sink` keys, the last `window`, and the keys that were selected between: see hierarchical().
 * Selects, then attends. Give a `state` when generating token by token: lists are then selected every few steps only.
 * @param q queries, [batch, queries, heads, headDim] or as `layout` says, at the end of the keys
 * @param k keys, at least as many as queries
 * @param v values
 * @param options hierarchical()'s and attention()'s, `state` and `refresh`
 * @returns as attention() does
 */
export const hipAttention = ops.promised as HipAttention<'promised'>;

/**
 * hipAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what hipAttention() rejects with
 */
export const hipAttentionSync = ops.sync as HipAttention<'sync'>;

/** The options of hipSelect(): hierarchical()'s, and some of attention()'s. */
export type HipSelectOptions = HierarchicalOptions &
  Pick<
    AttentionOptions,
    'layout' | 'queryHeads' | 'kvHeads' | 'keyLengths' | 'pages' | 'pairing' | 'signal' | 'device' | 'copyInputs'
  >;

/** A selection: what the last stage kept, and what every stage did. */
export interface HipSelection {
  readonly blocks: HipLists;
  readonly stages: readonly HipLists[];
}

const selectNames: ReadonlySet<string> = new Set([
  ...hierarchicalNames,
  'layout',
  'queryHeads',
  'kvHeads',
  'keyLengths',
  'pages',
  'pairing',
  'signal',
  'device',
  'copyInputs',
]);

/**
 * The keys between sink and window that hipAttention() would attend to: for a look, or to fetch what a key store has
 * elsewhere.
 * @param q queries, as in hipAttention()
 * @param k keys
 * @param options a preset's name, or hierarchical()'s options and some of attention()'s
 * @returns lists by [batch, lists, queryBlocks]; a list belongs to one head, KV head or layer, as `scope` says
 */
export async function hipSelect(
  q: TensorLike,
  k: TensorLike,
  options: HipSelectOptions | HierarchicalPreset = {},
): Promise<HipSelection> {
  const { pattern, settings } = readSelect('hipSelect()', options);
  const selection = prepareSelect(pattern, q, k, settings);
  try {
    await selection.run(settings.signal);
    return selectionOf(selection);
  } finally {
    selection.end();
  }
}

/**
 * hipSelect() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what hipSelect() rejects with
 */
export function hipSelectSync(
  q: TensorLike,
  k: TensorLike,
  options: HipSelectOptions | HierarchicalPreset = {},
): HipSelection {
  const { pattern, settings } = readSelect('hipSelectSync()', options, readSyncOptions);
  const selection = prepareSelect(pattern, q, k, settings);
  try {
    selection.runSync();
    return selectionOf(selection);
  } finally {
    selection.end();
  }
}

const selectionOf = ({ lists }: PreparedSelection): HipSelection => {
  const stages = lists.map(toHipLists);
  return { blocks: stages[stages.length - 1], stages };
};

function readSelect(where: string, options: HipSelectOptions | HierarchicalPreset, read = readOptions) {
  const given = typeof options === 'string' ? { preset: options } : options;
  checkNames(where, given, selectNames);
  const { layout, queryHeads, kvHeads, keyLengths, pages, pairing, signal, device, copyInputs, ...own } = given;
  const pattern = hierarchical(own);
  const common = { layout, queryHeads, kvHeads, keyLengths, pages, pairing, signal, device, copyInputs };
  return { pattern, settings: read(where, { pattern, ...common }) };
}

function prepareSelect(
  pattern: HierarchicalPattern,
  qLike: TensorLike,
  kLike: TensorLike,
  settings: Settings,
): PreparedSelection {
  const q = readOperand('q', qLike, 'queryHeads', settings);
  const k = readOperand('k', kLike, 'kvHeads', settings);
  const axes = axesOf(4, settings.isHeadsFirst);
  const pages = settings.pages && { ...settings.pages, keys: keysOnPages(settings.pages) };
  checkShapes(q, k, settings, axes, pages);
  const named = [
    { name: 'q', view: q },
    { name: 'k', view: k },
  ];
  const placement = placementOf(settings.device, named);
  checkOverlaps(named, undefined);
  const copyInputs = copiesInputs(settings.copyInputs, named);
  return prepareSelection(pattern, q, k, axes, { ...settings, copyInputs, pages }, placement);
}

function checkShapes(
  q: View,
  k: View,
  { isHeadsFirst, pairing, keyLengths }: Settings,
  axes: Axes,
  pages: SelectionSettings['pages'],
): void {
  checkTypes(q, k);
  const { batch, dim } = axes;
  const isRank4 = q.dims.length === 4 && k.dims.length === 4;
  if (!isRank4 || (!pages && q.dims[batch] !== k.dims[batch]) || q.dims[dim] !== k.dims[dim]) {
    const shared = pages ? 'the dim, with pages in place of the batch of `k`' : 'the batch and the dim';
    throw mismatch(
      `\`q\` ${showDims(q.dims)} and \`k\` ${showDims(k.dims)} do not fit: both are ${layoutWords(4, isHeadsFirst)} and share ${shared}`,
    );
  }
  const shape = readShape(q, k, k, axes, pages && { axes, keys: pages.keys });
  if (pages) checkPages(pages, k, axes.token, shape);
  if (pairing === undefined) checkOneLayout(q, k, shape, isHeadsFirst);
  checkHeads(shape, pairing);
  if (keyLengths) checkKeyLengths(keyLengths, shape);
}
