// questPageScores(): pages whose keys may have the largest products with a query, by the bounds of their channels. Reader: someone
// who generates with Quest (arXiv 2406.10774). A step reads the bounds of pages, not their keys.

import { refuseSignal } from '../../call/flight.js';
import { checkNames, invalid, namesOf } from '../../check/validate.js';
import type { KeyPages } from '../../stores/key-pages.js';
import type { PageLists } from '../../stores/page-lists.js';
import { axesOf } from '../../tensor/axes.js';
import { converted } from '../../tensor/convert.js';
import { Tensor } from '../../tensor/tensor.js';
import type { TensorLike } from '../../tensor/types.js';
import { allocate, type HostView, isOnHost, type View } from '../../tensor/views.js';
import { blockRuns, summaryRows } from '../summary.js';
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
 *   ERR_TILEWISE_SHAPE_MISMATCH) or TilewiseError (ERR_TILEWISE_UNSUPPORTED on a GPU)
 */
export async function questPageScores(
  q: TensorLike,
  k: TensorLike | KeyPages,
  options: PageSelectorOptions,
): Promise<SelectedPages> {
  checkNames('questPageScores()', options, names);
  const selection = readPageSelection(q, k, options, 1);
  return inTurn(select(selection), selection.signal);
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
  const { batch, queryHeads, kvHeads, headDim } = s;
  const counts = Int32Array.from({ length: batch }, (_, b) => pagesOf(s, b));
  const most = Math.max(0, ...counts);
  const { bounds, told } = yield* boundsOf(s, counts, most);
  const parts = signedParts(s);
  const stats = yield* statsOf(
    { type: 'float32', data: parts, dims: [batch, 1, queryHeads, 2 * headDim] },
    bounds,
    { want: ['scores'], scale: 1, maxElements: 2 ** 31 - 1, keyLengths: counts, ...told },
    { ...s, isHeadsFirst: false },
  );
  const ofHeads = (stats.scores as Tensor<'float32'>).data;
  const columns = ofHeads.length / Math.max(1, batch * queryHeads);
  const group = queryHeads / kvHeads;
  const scores = allocate('float32', batch * kvHeads * most);
  const lists = Array.from({ length: batch }, (_, b) =>
    Array.from({ length: kvHeads }, (_, head) => {
      const at = (b * kvHeads + head) * most;
      for (let page = 0; page < most; ++page) {
        let sum = 0;
        for (let i = 0; i < group; ++i) sum += ofHeads[(b * queryHeads + head * group + i) * columns + page];
        scores[at + page] = sum;
      }
      return pageList(scores.subarray(at, at + most), counts[b], s);
    }),
  );
  return { scores: new Tensor('float32', scores, [batch, kvHeads, most]), lists };
}

/** The bounds of pages as keys of twice the dim, with what attentionStats() is told of them. */
function* boundsOf(
  s: PageSelection,
  counts: Int32Array,
  most: number,
): Steps<{ bounds: TensorLike; told: { pages?: { table: TensorLike; pageSize: number } } }> {
  const { cache, batch, kvHeads, headDim, pageSize, keyLengths } = s;
  if (cache) {
    if (!cache.summaries) throw invalid('k', 'keys of a cache that was made with `pageSummaries`', undefined);
    return { bounds: cache.summaries.bounds, told: { pages: { table: cache.table as TensorLike, pageSize: 1 } } };
  }
  const runs = blockRuns(keyLengths, pageSize, most);
  const rows = summaryRows(batch * most, kvHeads, headDim, 'bounds');
  if (counts.some((count) => count > 0)) yield* summaryOf('k', s.k as View, runs, [batch * most, rows], s);
  const bounds: TensorLike = {
    type: 'float32',
    data: rows.bounds as Float32Array,
    dims: [batch, most, kvHeads, 2 * headDim],
  };
  return { bounds, told: {} };
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
