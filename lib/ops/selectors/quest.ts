// questPageScores(): pages whose keys may have the largest products with a query, by the bounds of their channels. Reader: someone
// who generates with Quest (arXiv 2406.10774). A step reads the bounds of pages, not their keys.

import { refuseSignal } from '../../call/flight.js';
import { checkNames, invalid, namesOf } from '../../check/validate.js';
import type { KeyPages } from '../../stores/key-pages.js';
import type { PageLists } from '../../stores/page-lists.js';
import { axesOf } from '../../tensor/axes.js';
import { converted } from '../../tensor/convert.js';
import { Tensor } from '../../tensor/tensor.js';
import type { FloatType, TensorLike } from '../../tensor/types.js';
import { allocate, type HostView, isOnHost, type View } from '../../tensor/views.js';
import type { AttentionStatsOptions } from '../stats/options.js';
import { blockRuns, boundsRows } from '../summary.js';
import {
  type PageSelection,
  type PageSelectorOptions,
  pageList,
  pageNames,
  pagesOf,
  readPageSelection,
} from './pages.js';
import { inTurn, inTurnSync, type Steps, selectorNames, statsOf, summaryOf } from './steps.js';

/** What selectors of pages return. */
export interface SelectedPages {
  /** What pages were chosen by; -Infinity behind a sequence's last page. */
  readonly scores: Tensor<'float32'>;
  /** The pages, ascending: `pageLists` of attention() and of caches. */
  readonly lists: PageLists;
}

const names = namesOf<PageSelectorOptions>({ ...pageNames, ...selectorNames });

/**
 * Chooses, for each KV head, the pages whose keys may have the largest products with a query: score = the sum over channels of
 * max(q * smallest, q * largest), summed over the query heads of the KV head. Quest, arXiv 2406.10774. Of a cache with
 * `pageSummaries` the bounds are there, and a call reads O(pages); of a tensor they are found first.
 * @param q [batch, 1, heads, headDim] or as `layout` says, one query of each sequence; of a pool also [sequences, heads, headDim]
 * @param k [batch, keys, kvHeads, headDim], or keyPages() of a cache
 * @param options `pages` is the budget; `pageSize` is needed for a tensor; `lastPages` is 1 by default
 * @returns `scores` [batch, kvHeads, pages], and `lists` with a list for each sequence and KV head; rejects with TypeError or
 *   RangeError (ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_INVALID_TENSOR,
 *   ERR_TILEWISE_SHAPE_MISMATCH) or TilewiseError (ERR_TILEWISE_UNSUPPORTED)
 */
export async function questPageScores(
  q: TensorLike,
  k: TensorLike | KeyPages,
  options: PageSelectorOptions,
): Promise<SelectedPages> {
  checkNames('questPageScores()', options, names);
  const selection = readPageSelection(q, k, options, 1);
  return inTurn(select(selection), selection.signal, k);
}

/**
 * questPageScores() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what questPageScores() rejects with
 */
export function questPageScoresSync(
  q: TensorLike,
  k: TensorLike | KeyPages,
  options: PageSelectorOptions,
): SelectedPages {
  checkNames('questPageScoresSync()', options, names);
  const selection = readPageSelection(q, k, options, 1);
  refuseSignal('questPageScoresSync()', selection.signal);
  return inTurnSync(select({ ...selection, copyInputs: false }));
}

function* select(s: PageSelection): Steps<SelectedPages> {
  const { batch, queryHeads, kvHeads } = s;
  const counts = Int32Array.from({ length: batch }, (_, b) => pagesOf(s, b));
  const most = Math.max(0, ...counts);
  const ofHeads = s.cache ? yield* scoresOfCache(s, s.cache, most) : yield* scoresOfTensor(s, counts, most);
  const scores = sumsOfGroups(ofHeads, queryHeads / kvHeads, most);
  const lists = Array.from({ length: batch }, (_, b) =>
    Array.from({ length: kvHeads }, (_, head) => {
      const at = (b * kvHeads + head) * most;
      return pageList(scores.subarray(at, at + most), counts[b], s);
    }),
  );
  return { scores: new Tensor('float32', scores, [batch, kvHeads, most]), lists };
}

/** Rows of `count` scores, those of each `group` heads together. */
function sumsOfGroups(rows: Float32Array, group: number, count: number): Float32Array {
  if (group === 1) return rows;
  const sums = allocate('float32', rows.length / group);
  for (let row = 0; row * count < sums.length; ++row) {
    for (let i = 0; i < count; ++i) {
      let sum = 0;
      for (let head = row * group; head < (row + 1) * group; ++head) sum += rows[head * count + i];
      sums[row * count + i] = sum;
    }
  }
  return sums;
}

/** Scores of query heads, [batch, heads, pages], by bounds that are keys of twice the dim. */
function* scoresBy(s: PageSelection, bounds: TensorLike, told: Partial<AttentionStatsOptions>): Steps<Float32Array> {
  const { batch, queryHeads, headDim } = s;
  const parts: TensorLike = { type: 'float32', data: signedParts(s), dims: [batch, 1, queryHeads, 2 * headDim] };
  const options = { want: ['scores'] as const, scale: 1, maxElements: 2 ** 31 - 1, ...told };
  const { scores } = yield* statsOf(parts, bounds, options, { ...s, isHeadsFirst: false });
  return (scores as Tensor<'float32'>).data;
}

/** Bounds of runs of keys, [batch, blocks, kvHeads, 2 * headDim]. */
function* boundsOf(s: PageSelection, k: View, runs: Int32Array, blocks: number): Steps<TensorLike> {
  const { batch, kvHeads, headDim } = s;
  const rows = boundsRows(batch * blocks, kvHeads, headDim, k.type as FloatType);
  if (runs.length > 0) yield* summaryOf('k', k, runs, [batch * blocks, rows], s);
  return { type: k.type, data: rows.bounds, dims: [batch, blocks, kvHeads, 2 * headDim] } as TensorLike;
}

function* scoresOfTensor(s: PageSelection, counts: Int32Array, most: number): Steps<Float32Array> {
  const bounds = yield* boundsOf(s, s.k as View, blockRuns(s.keyLengths, s.pageSize, most), most);
  return yield* scoresBy(s, bounds, { keyLengths: counts });
}

/** Full pages have their bounds; those of a sequence's last page, if it is not full, are found here. */
function* scoresOfCache(s: PageSelection, cache: KeyPages, most: number): Steps<Float32Array> {
  const { batch, queryHeads, pageSize, keyLengths } = s;
  if (!cache.summaries) throw invalid('k', 'keys of a cache that was made with `pageSummaries`', undefined);
  const full = keyLengths.map((length) => Math.floor(length / pageSize));
  const pages = { table: cache.summaries.table, pageSize: 1 };
  const scores = yield* scoresBy(s, cache.summaries.bounds, { pages, keyLengths: full });
  const rests = keyLengths.map((length) => length % pageSize);
  if (rests.every((rest) => rest === 0)) return scores;
  const runs = Array.from(rests).flatMap((rest, b) =>
    rest > 0 ? [cache.table.data[b * cache.table.dims[1] + full[b]] as number, 0, rest, b] : [],
  );
  const bounds = yield* boundsOf({ ...s, isHeadsFirst: false }, cache.keysAs('bnhd'), Int32Array.from(runs), 1);
  const ofLast = yield* scoresBy(s, bounds, {});
  for (let b = 0; b < batch; ++b) {
    for (let head = b * queryHeads; rests[b] > 0 && head < (b + 1) * queryHeads; ++head) {
      scores[head * most + full[b]] = ofLast[head];
    }
  }
  return scores;
}

/** Each query's positive parts, then its negative ones: their product with a page's bounds is its score. */
function signedParts({ q, batch, queryHeads, headDim, isHeadsFirst }: PageSelection): Float32Array {
  if (!isOnHost(q)) throw invalid('q', "a tensor in 'cpu' memory", undefined);
  const { data, strides } = converted(q as HostView, 'float32');
  const { batch: b, head: h, dim } = axesOf(4, isHeadsFirst);
  const parts = allocate('float32', batch * queryHeads * 2 * headDim);
  for (let entry = 0; entry < batch; ++entry) {
    for (let head = 0; head < queryHeads; ++head) {
      const from = entry * strides[b] + head * strides[h];
      const to = (entry * queryHeads + head) * 2 * headDim;
      for (let d = 0; d < headDim; ++d) {
        const x = data[from + d * strides[dim]] as number;
        parts[to + d] = x > 0 ? x : 0;
        parts[to + headDim + d] = x > 0 ? 0 : x;
      }
    }
  }
  return parts;
}
