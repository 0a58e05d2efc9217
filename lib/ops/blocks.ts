// blockSparseAttention(): attention to the blocks that a caller lists.
// Reader: someone who comes from FlexAttention, dkernel or onnxruntime's SparseAttention.

import { type BlocksOptions, blocks, blocksNames } from '../patterns/blocks.js';
import { asPattern, namedOps } from './named.js';

const ops = namedOps<BlocksOptions>('blockSparseAttention', asPattern(blocksNames, blocks));

/**
 * Attention of every block of queries to the blocks of keys that its list names. The same as attention() with
 * `pattern: blocks(options)`; a pattern that is used again should be made once, since that is where lists are read and
 * where a predicate's answers are kept.
 *
 * @param q queries, [batch, queries, heads, headDim]
 * @param k keys, [batch, keys, kvHeads, headDim]
 * @param v values, [batch, keys, kvHeads, valueDim]
 * @param options `blockQ`, `blockK` and one of `csr`, `lists`, `blockMask`; `predicate`, `causal`, `align`; and what
 *   attention() takes, except for packed sequences
 * @returns as attention(); rejects as it does, with RangeError ERR_TILEWISE_SHAPE_MISMATCH when the lists belong to
 *   another batch, number of heads or number of queries, ERR_TILEWISE_INVALID_OPTION when they name blocks past the keys
 */
export const blockSparseAttention = ops.promised;

/**
 * blockSparseAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what blockSparseAttention() rejects with
 */
export const blockSparseAttentionSync = ops.sync;
