// blockMeanTopK(): blocks of keys whose mean has the largest products with the mean of a block of queries. Reader: someone who
// computes a long prompt with MInference's block-sparse heads (arXiv 2407.02490).

import { refuseSignal } from '../../call/flight.js';
import { checkBoolean, checkInteger, checkNames, invalid, maxTokens, namesOf } from '../../check/validate.js';
import { type BlocksPattern, blocks } from '../../patterns/blocks.js';
import { topList } from '../../selectors/top-list.js';
import { KeyPages } from '../../stores/key-pages.js';
import { Tensor } from '../../tensor/tensor.js';
import type { TensorLike } from '../../tensor/types.js';
import { floatTypes, readTensor } from '../../tensor/views.js';
import { blockRuns, meansRows } from '../summary.js';
import { inTurn, inTurnSync, type SelectorOptions, type Steps, selectorNames, statsOf, summaryOf } from './steps.js';
import { readTokenSelection, type TokenSelection } from './tokens.js';

/** Options of blockMeanTopK(). */
export interface BlockMeanOptions extends SelectorOptions {
  /** Tokens of a block, of queries and of keys, from 1. */
  blockSize: number;
  /** Blocks of a list, from 3: forced ones count. With as many as there are, attention to them is dense. */
  topK: number;
  /** Default true: a list has no block that begins after its queries, and inside blocks attention is causal. */
  causal?: boolean;
}

/** What blockMeanTopK() returns. */
export interface SelectedBlocks {
  /** [batch, heads, blocks of queries, blocks of keys], products of means; -Infinity for blocks that may not be chosen. */
  readonly scores: Tensor<'float32'>;
  /** The blocks, for `pattern` of attention(). */
  readonly lists: BlocksPattern;
}

const names = namesOf<BlockMeanOptions>({ ...selectorNames, blockSize: 1, topK: 1, causal: 1 });

/**
 * Chooses blocks of keys for every block of queries: score = the product of both blocks' means. Block 0, the block of the last
 * query and the one before it are always taken where `causal`. MInference, arXiv 2407.02490.
 * @param q [batch, queries, heads, headDim] or as `layout` says
 * @param k [batch, keys, kvHeads, headDim]
 * @param options `blockSize` and `topK` are needed
 * @returns see SelectedBlocks; rejects as questPageScores() does
 */
export async function blockMeanTopK(q: TensorLike, k: TensorLike, options: BlockMeanOptions): Promise<SelectedBlocks> {
  checkNames('blockMeanTopK()', options, names);
  const selection = readTokenSelection(q, refusePages(k), options);
  return inTurn(select(selection, options), selection.signal, k);
}

/**
 * blockMeanTopK() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what blockMeanTopK() rejects with
 */
export function blockMeanTopKSync(q: TensorLike, k: TensorLike, options: BlockMeanOptions): SelectedBlocks {
  checkNames('blockMeanTopKSync()', options, names);
  const selection = readTokenSelection(q, refusePages(k), options);
  refuseSignal('blockMeanTopKSync()', selection.signal);
  return inTurnSync(select({ ...selection, copyInputs: false }, options));
}

/** Blocks of queries are of a prompt, which is at hand. */
export function refusePages(k: TensorLike): TensorLike {
  if (k instanceof KeyPages) throw invalid('k', 'a tensor, not the keys of a cache', k);
  return k;
}

function select(s: TokenSelection, o: BlockMeanOptions): Steps<SelectedBlocks> {
  const blockSize = checkInteger('blockSize', o.blockSize, 1, maxTokens);
  const topK = checkInteger('topK', o.topK, 3, maxTokens);
  const isCausal = o.causal === undefined || checkBoolean('causal', o.causal);
  return steps(s, blockSize, topK, isCausal);
}

function* steps(s: TokenSelection, blockSize: number, topK: number, isCausal: boolean): Steps<SelectedBlocks> {
  const { batch, queryHeads, kvHeads, queries, keys } = s;
  const [rows, columns] = [Math.ceil(queries / blockSize), Math.ceil(keys / blockSize)];
  const q = yield* meansOf(s, 'q', s.q as TensorLike, [queries, queryHeads], blockSize);
  const k = yield* meansOf(s, 'k', s.k as TensorLike, [keys, kvHeads], blockSize);
  const stats = yield* statsOf(
    q,
    k,
    { want: ['scores'], scale: 1, maxElements: 2 ** 31 - 1 },
    { ...s, isHeadsFirst: false },
  );
  const scores = stats.scores as Tensor<'float32'>;
  const heads = batch * queryHeads;
  const offsets = new Int32Array(heads * (rows + 1));
  const lists: Int32Array[] = [];
  const forced = isCausal ? { first: 1, last: 2 } : undefined;
  for (let head = 0; head < heads; ++head) {
    let total = 0;
    for (let row = 0; row < rows; ++row) {
      const last = Math.min((row + 1) * blockSize, queries) - 1 + keys - queries;
      const own = isCausal ? Math.floor(last / blockSize) : columns - 1;
      const at = (head * rows + row) * columns;
      const ofRow = scores.data.subarray(at, at + columns);
      if (isCausal) ofRow.fill(-Infinity, Math.max(0, own + 1));
      const list = topList(ofRow.subarray(0, Math.max(0, own + 1)), topK, forced);
      lists.push(list);
      total += list.length;
      offsets[head * (rows + 1) + row + 1] = total;
    }
  }
  const pattern = blocks({
    blockQ: blockSize,
    blockK: blockSize,
    causal: isCausal,
    csr: padded(offsets, lists, [batch, queryHeads, rows]),
  });
  return { scores, lists: pattern };
}

/** Means of the blocks of all heads, [batch, blocks, heads, headDim]. */
function* meansOf(
  s: TokenSelection,
  name: string,
  tensor: TensorLike,
  [tokens, heads]: readonly [number, number],
  blockSize: number,
): Steps<TensorLike> {
  const { batch, headDim } = s;
  const count = Math.ceil(tokens / blockSize);
  const rows = meansRows(batch * count, heads, headDim);
  const runs = blockRuns(new Array<number>(batch).fill(tokens), blockSize, count);
  if (runs.length > 0) yield* summaryOf(name, readTensor(name, tensor, floatTypes), runs, [batch * count, rows], s);
  return { type: 'float32', data: rows.means as Float32Array, dims: [batch, count, heads, headDim] };
}

/** Lists as CSR whose heads have rows of one length. */
function padded(offsets: Int32Array, lists: readonly Int32Array[], dims: readonly [number, number, number]) {
  const [batch, heads, rows] = dims;
  let most = 0;
  for (let head = 1; head <= batch * heads; ++head) most = Math.max(most, offsets[head * (rows + 1) - 1]);
  const columns = new Int32Array(batch * heads * most);
  lists.forEach((list, i) => {
    const head = Math.floor(i / rows);
    columns.set(list, head * most + offsets[head * (rows + 1) + (i % rows)]);
  });
  return {
    rowOffsets: new Tensor('int32', offsets, [batch, heads, rows + 1]),
    columns: new Tensor('int32', columns, [batch, heads, most]),
  };
}
