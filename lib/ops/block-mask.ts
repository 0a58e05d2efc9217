// createBlockMask(): a predicate's mask by blocks: those it shows whole, those it cuts, and none of the others.
// Assumes nothing but the predicate: no tensors are needed. Reader: someone who comes from FlexAttention's
// create_block_mask; the four tensors are its.

import { refuseSignal } from '../call/flight.js';
import { allocating, TilewiseRangeError } from '../check/errors.js';
import { checkInteger, checkNames, invalid, maxTokens, namesOf } from '../check/validate.js';
import { type Asking, askingOf, type CutTable, clippedSizes, keepAnswers } from '../patterns/asking.js';
import type { FlexBlockMask } from '../patterns/block-formats.js';
import { type BlockTable, listIn } from '../patterns/block-table.js';
import {
  type AskingProgress,
  checkPredicate,
  checkProgress,
  type MaskPredicate,
  type PredicateAxis,
} from '../patterns/predicate.js';
import { whole } from '../patterns/token-masks.js';
import { Tensor } from '../tensor/tensor.js';
import { checkSignal } from './attention/options.js';

export interface BlockMaskOptions {
  /** Batch entries that the predicate tells apart; default 1, one mask for all: it is asked as batch 0. */
  batch?: number;
  /** Heads that it tells apart, those of the output; default 1, one mask for all: it is asked as head 0. */
  heads?: number;
  queries: number;
  keys: number;
  /** Queries per block; default 128. */
  blockQ?: number;
  /** Keys per block; default 128. */
  blockK?: number;
  /** createBlockMask() alone: stops the asking between two slices; what has been asked is kept for the next try. */
  signal?: AbortSignal;
  /** createBlockMask() alone: told after every slice how many pairs have been asked about, and of how many. */
  onProgress?: AskingProgress;
}

/** FlexAttention's BlockMask as createBlockMask() makes it: `blockMask` of blockSparseAttention() and blocks(). */
export interface BlockMask extends FlexBlockMask {
  /** How many blocks the predicate cuts, int32 [batch, heads, queryBlocks]. */
  readonly kvNumBlocks: Tensor<'int32'>;
  /** Their numbers, ascending, int32 [batch, heads, queryBlocks, most]. */
  readonly kvIndices: Tensor<'int32'>;
  /** How many blocks are visible whole, likewise. */
  readonly fullKvNumBlocks: Tensor<'int32'>;
  readonly fullKvIndices: Tensor<'int32'>;
  readonly blockSize: readonly [queries: number, keys: number];
  readonly seqLengths: readonly [queries: number, keys: number];
  readonly predicate: MaskPredicate;
  /** The axes that are 1. */
  readonly predicateIgnores: readonly PredicateAxis[];
}

const maskNames = namesOf<BlockMaskOptions>({
  batch: 1,
  heads: 1,
  queries: 1,
  keys: 1,
  blockQ: 1,
  blockK: 1,
  signal: 1,
  onProgress: 1,
});

/**
 * Asks a predicate about every pair of a query and a key, in slices of at most 10 ms between which the event loop has its
 * turns, and sums the answers up by blocks. The mask serves any number of calls of these lengths, and they ask nothing
 * again.
 * @param predicate FlexAttention's mask_mod; must always answer the same
 * @param options see BlockMaskOptions: `queries` and `keys` are needed
 * @returns rejects with TypeError or RangeError: ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION (a predicate that
 *   returns anything but true or false); with `signal.reason` when aborted
 */
export async function createBlockMask(predicate: MaskPredicate, options: BlockMaskOptions): Promise<BlockMask> {
  const { asking, maskOf, signal, onProgress } = prepare('createBlockMask()', predicate, options);
  return maskOf(await asking.finishInSlices(signal, onProgress));
}

/**
 * createBlockMask() at once, on the calling thread.
 * @throws {TypeError | RangeError} what createBlockMask() rejects with
 */
export function createBlockMaskSync(predicate: MaskPredicate, options: BlockMaskOptions): BlockMask {
  const { asking, maskOf, signal } = prepare('createBlockMaskSync()', predicate, options);
  refuseSignal('createBlockMaskSync()', signal);
  return maskOf(asking.finish());
}

interface Prepared {
  readonly asking: Asking;
  maskOf(answers: CutTable): BlockMask;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: AskingProgress | undefined;
}

function prepare(where: string, predicate: unknown, options: BlockMaskOptions): Prepared {
  const asked = checkPredicate('predicate', predicate);
  if (!asked) throw invalid('predicate', 'a function (batch, head, query, key) => boolean', predicate);
  checkNames(where, options, maskNames);
  const { batch = 1, heads = 1, queries, keys, blockQ = 128, blockK = 128, signal, onProgress } = options;
  const sizes = {
    batch: checkInteger('batch', batch, 1, maxTokens),
    heads: checkInteger('heads', heads, 1, maxTokens),
    queries: checkInteger('queries', queries, 0, maxTokens),
    keys: checkInteger('keys', keys, 0, maxTokens),
    blockQ: checkInteger('blockQ', blockQ, 1, maxTokens),
    blockK: checkInteger('blockK', blockK, 1, maxTokens),
  };
  const question = { predicate: asked, ...sizes, ...clippedSizes(sizes, sizes) };
  return {
    signal: signal === undefined ? undefined : checkSignal('signal', signal),
    onProgress: checkProgress('onProgress', onProgress),
    asking: askingOf({ ...question, listed: everyBlock(sizes) }),
    maskOf(answers) {
      const [full, cut] = [blocksOf(answers, true), blocksOf(answers, false)];
      keepAnswers({ ...question, listed: cut }, cut);
      return Object.freeze({
        kvNumBlocks: counts(cut),
        kvIndices: padded(cut),
        fullKvNumBlocks: counts(full),
        fullKvIndices: padded(full),
        blockSize: Object.freeze([blockQ, blockK] as const),
        seqLengths: Object.freeze([queries, keys] as const),
        predicate: asked,
        predicateIgnores: Object.freeze([
          ...(batch === 1 ? (['batch'] as const) : []),
          ...(heads === 1 ? (['head'] as const) : []),
        ]),
      });
    },
  };
}

/** Every block of keys for every block of queries. */
function everyBlock({ queries, keys, blockQ, blockK }: Record<'queries' | 'keys' | 'blockQ' | 'blockK', number>) {
  const [rows, most] = [Math.ceil(queries / blockQ), Math.ceil(keys / blockK)];
  if (rows * most > 2 ** 31 - 1) {
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `${rows} by ${most} blocks are more than ${2 ** 31 - 1}; make \`blockQ\` and \`blockK\` larger`,
    );
  }
  const table: BlockTable = {
    dims: [1, 1, rows],
    offsets: Int32Array.from({ length: rows + 1 }, (_, row) => row * most),
    columns: allocating(() => new Int32Array(rows * most)).map((_, i) => i % most),
  };
  return table;
}

/** The blocks that are visible whole, or those that are not. */
function blocksOf(table: CutTable, isWhole: boolean): CutTable {
  const isWanted = (at: number) => (table.masks[at] === whole) === isWhole;
  const offsets = allocating(() => new Int32Array(table.offsets.length));
  let wanted = 0;
  for (let list = 0; list + 1 < offsets.length; ++list) {
    for (let at = table.offsets[list]; at < table.offsets[list + 1]; ++at) if (isWanted(at)) ++wanted;
    offsets[list + 1] = wanted;
  }
  const { dims, columns, masks, tokenMasks } = table;
  const chosen = (values: Int32Array) => values.filter((_, at) => isWanted(at));
  return { dims, offsets, columns: chosen(columns), masks: chosen(masks), tokenMasks };
}

const counts = ({ dims, offsets }: BlockTable): Tensor<'int32'> =>
  new Tensor(
    'int32',
    offsets.slice(1).map((end, list) => end - offsets[list]),
    dims,
  );

/** Lists one below the other, each as long as the longest; what is behind its end is 0. */
function padded(table: BlockTable): Tensor<'int32'> {
  const { dims, offsets } = table;
  const lists = offsets.length - 1;
  let most = 0;
  for (let list = 0; list < lists; ++list) most = Math.max(most, listIn(table, list).length);
  const data = allocating(() => new Int32Array(lists * most));
  for (let list = 0; list < lists; ++list) data.set(listIn(table, list), list * most);
  return new Tensor('int32', data, [...dims, most]);
}
