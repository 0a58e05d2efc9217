// deltaPageScores(): pages by the probabilities that a full layer gives them. Reader: someone who generates with DELTA (arXiv
// 2510.09883): some layers attend to all keys and choose pages, which the layers up to the next such layer read.

import { refuseSignal } from '../../call/flight.js';
import { checkNames, namesOf } from '../../check/validate.js';
import type { KeyPages } from '../../stores/key-pages.js';
import type { FloatArray } from '../../tensor/floats.js';
import { Tensor } from '../../tensor/tensor.js';
import type { TensorLike } from '../../tensor/types.js';
import { allocate } from '../../tensor/views.js';
import { checkScale } from '../stats/options.js';
import {
  type PageSelection,
  type PageSelectorOptions,
  pageList,
  pageNames,
  pagesOf,
  readPageSelection,
} from './pages.js';
import type { SelectedPages } from './quest.js';
import { inTurn, inTurnSync, type Steps, selectorNames, statsOf } from './steps.js';

/** Options of deltaPageScores(). */
export interface DeltaPageOptions extends PageSelectorOptions {
  /** Factor on q.k; default headDim^-0.5. */
  scale?: number;
  /** The lse that attention() of this layer has returned, [batch, heads, 1]; saves computing it. */
  lse?: FloatArray;
}

const names = namesOf<DeltaPageOptions>({ ...pageNames, ...selectorNames, scale: 1, lse: 1 });

/** Last pages that are forced unless the caller says otherwise, as DELTA's code has it. */
const usualLastPages = 8;

/**
 * Chooses pages by the probabilities of one query: score = the sum over a page's keys of the largest probability over heads.
 * There is one list for all heads, so that the layers up to the next full one may attend to it: pass the same `pageLists` to each
 * of them. DELTA, arXiv 2510.09883. Reads all keys of the layer.
 * @param q [batch, 1, heads, headDim] or as `layout` says; of a pool also [sequences, heads, headDim]
 * @param k [batch, keys, kvHeads, headDim], or keyPages() of a cache
 * @param options `pages` is the budget; `pageSize` is needed for a tensor; `lastPages` is 8 by default
 * @returns `scores` [batch, pages], and `lists` with a list for each sequence; rejects as questPageScores() does
 */
export async function deltaPageScores(
  q: TensorLike,
  k: TensorLike | KeyPages,
  options: DeltaPageOptions,
): Promise<SelectedPages> {
  checkNames('deltaPageScores()', options, names);
  const selection = readPageSelection(q, k, options, usualLastPages);
  return inTurn(select(selection, k, options), selection.signal, k);
}

/**
 * deltaPageScores() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what deltaPageScores() rejects with
 */
export function deltaPageScoresSync(q: TensorLike, k: TensorLike | KeyPages, options: DeltaPageOptions): SelectedPages {
  checkNames('deltaPageScoresSync()', options, names);
  const selection = readPageSelection(q, k, options, usualLastPages);
  refuseSignal('deltaPageScoresSync()', selection.signal);
  return inTurnSync(select({ ...selection, copyInputs: false }, k, options));
}

function* select(s: PageSelection, k: TensorLike | KeyPages, { scale, lse }: DeltaPageOptions): Steps<SelectedPages> {
  const { batch, pageSize, keyLengths } = s;
  if (scale !== undefined) checkScale(scale);
  const lengths = s.cache ? {} : { keyLengths };
  const stats = yield* statsOf(s.q as TensorLike, k, { want: ['keyMaxOverHeads'], scale, lse, ...lengths }, s);
  const ofKeys = (stats.keyMaxOverHeads as Tensor<'float32'>).data;
  const columns = ofKeys.length / Math.max(1, batch);
  const most = Math.max(0, ...Array.from(keyLengths, (_, b) => pagesOf(s, b)));
  const shown = s.cache ? most : Math.ceil(s.keys / pageSize);
  const scores = allocate('float32', batch * shown).fill(-Infinity);
  const lists = Array.from({ length: batch }, (_, b) => {
    const row = scores.subarray(b * shown, (b + 1) * shown);
    for (let page = 0; page < pagesOf(s, b); ++page) {
      let sum = 0;
      const end = Math.min(keyLengths[b], (page + 1) * pageSize);
      for (let key = page * pageSize; key < end; ++key) sum += ofKeys[b * columns + key];
      row[page] = sum;
    }
    return pageList(row, pagesOf(s, b), s);
  });
  return { scores: new Tensor('float32', scores, [batch, shown]), lists };
}
