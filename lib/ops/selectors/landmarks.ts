// landmarkTopK(): the earlier blocks whose landmarks have the largest products with a query. Reader: someone who retrieves
// blocks for landmarkAttention() (arXiv 2305.16300).

import { refuseSignal } from '../../call/flight.js';
import { checkInteger, checkNames, maxTokens, namesOf } from '../../check/validate.js';
import { topList } from '../../selectors/top-list.js';
import { axesOf } from '../../tensor/axes.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { TensorLike } from '../../tensor/types.js';
import { floatTypes, readTensor } from '../../tensor/views.js';
import { refusePages } from './block-means.js';
import { inTurn, inTurnSync, type SelectorOptions, type Steps, selectorNames, statsOf } from './steps.js';
import { readTokenSelection, type TokenSelection } from './tokens.js';

/** Options of landmarkTopK(). */
export interface LandmarkTopKOptions extends SelectorOptions {
  /** Tokens of a block, from 2; its last token is its landmark. */
  blockSize: number;
  /** Earlier blocks of a list, from 1; a query's own block is not counted. */
  topK: number;
}

/** What landmarkTopK() returns. */
export interface SelectedLandmarks {
  /** [batch, heads, queries, blocks], q.k of the landmark of every complete block. */
  readonly scores: Tensor<'float32'>;
  /** The earlier blocks of each batch entry, head and query, ascending; of one query those of a head: `blocks` of landmarkAttention(). */
  readonly lists: readonly (readonly (readonly (readonly number[])[])[])[];
}

const names = namesOf<LandmarkTopKOptions>({ ...selectorNames, blockSize: 1, topK: 1 });

/**
 * Chooses, for each head and query, the blocks before its own whose landmark has the largest product with it. Landmark attention,
 * arXiv 2305.16300. With as many as there are, landmarkAttention() over them is that over all blocks.
 * @param q [batch, queries, heads, headDim] or as `layout` says, at the end of the keys
 * @param k [batch, keys, kvHeads, headDim]
 * @param options `blockSize` and `topK` are needed
 * @returns see SelectedLandmarks; rejects as questPageScores() does
 */
export async function landmarkTopK(
  q: TensorLike,
  k: TensorLike,
  options: LandmarkTopKOptions,
): Promise<SelectedLandmarks> {
  checkNames('landmarkTopK()', options, names);
  const selection = readTokenSelection(q, refusePages(k), options);
  return inTurn(select(selection, options), selection.signal, k);
}

/**
 * landmarkTopK() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what landmarkTopK() rejects with
 */
export function landmarkTopKSync(q: TensorLike, k: TensorLike, options: LandmarkTopKOptions): SelectedLandmarks {
  checkNames('landmarkTopKSync()', options, names);
  const selection = readTokenSelection(q, refusePages(k), options);
  refuseSignal('landmarkTopKSync()', selection.signal);
  return inTurnSync(select({ ...selection, copyInputs: false }, options));
}

function select(s: TokenSelection, o: LandmarkTopKOptions): Steps<SelectedLandmarks> {
  const blockSize = checkInteger('blockSize', o.blockSize, 2, maxTokens);
  return steps(s, blockSize, checkInteger('topK', o.topK, 1, maxTokens));
}

function* steps(s: TokenSelection, blockSize: number, topK: number): Steps<SelectedLandmarks> {
  const { batch, queryHeads, queries, keys } = s;
  const blocks = Math.floor(keys / blockSize);
  const { token } = axesOf(4, s.isHeadsFirst);
  const k = readTensor('k', s.k, floatTypes);
  const landmarks = {
    ...k,
    dims: k.dims.with(token, blocks),
    strides: k.strides.with(token, k.strides[token] * blockSize),
    offset: blocks === 0 ? k.offset : k.offset + (blockSize - 1) * k.strides[token],
  };
  const stats = yield* statsOf(
    s.q as TensorLike,
    landmarks as TensorLike,
    { want: ['scores'], scale: 1, maxElements: 2 ** 31 - 1 },
    s,
  );
  const scores = stats.scores as Tensor<'float32'>;
  const listOf = (row: number, query: number) => {
    const earlier = Math.max(0, Math.floor((query + keys - queries) / blockSize));
    const ofRow = scores.data.subarray(row * blocks, row * blocks + Math.min(blocks, earlier));
    return Array.from(topList(ofRow, topK));
  };
  const lists = Array.from({ length: batch }, (_, b) =>
    Array.from({ length: queryHeads }, (_, head) =>
      Array.from({ length: queries }, (_, query) => listOf((b * queryHeads + head) * queries + query, query)),
    ),
  );
  return { scores, lists };
}
