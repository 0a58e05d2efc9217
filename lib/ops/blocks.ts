// blockSparseAttention(): attention to the blocks that a caller lists.
// Reader: someone who comes from FlexAttention, dkernel or onnxruntime's SparseAttention.

import { type BlocksOptions, blocks, blocksNames } from '../patterns/blocks.js';
import { asPattern, namedOps } from './named.js';

const ops = namedOps<BlocksOptions>('blockSparseAttention', asPattern(blocksNames, blocks));

/**
 * Attention of every block of queries to the blocks of keys that its list names. The same as attention() with
 * `pattern: blocks(options)`; a pattern that is used again should be made once, since that is where lists are read.
 *
 * A predicate is asked in slices of at most 10 ms, each in a turn of the event loop of its own, before the attention
 * starts; `signal` is heard between them. Its answers are kept with the function.
 *
 * @param q queries, [batch, queries, heads, headDim]
 * @param k keys, [batch, keys, kvHeads, headDim]
 * @param v values, [batch, keys, kvHeads, valueDim]
 * @param options see BlocksOptions, and what attention() takes, except for packed sequences
 * @returns as attention(); rejects as it does, with RangeError ERR_TILEWISE_SHAPE_MISMATCH when the lists belong to
 *   another batch, number of heads or number of queries, ERR_TILEWISE_INVALID_OPTION when they name blocks past the keys
 */
export const blockSparseAttention = ops.promised;

/**
 * blockSparseAttention() on the calling thread, where a predicate is asked everything at once.
 * @throws {TypeError | RangeError | TilewiseError} what blockSparseAttention() rejects with
 */
export const blockSparseAttentionSync = ops.sync;
