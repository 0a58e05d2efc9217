// s2Attention(): sparsely-sharded attention, the pattern of Phi-3-small.
// Reader: someone who comes from dkernel or vLLM. caches/s2-layout.ts plans the same pattern, caches/s2-cache.ts keeps
// only the keys that it needs.

import { type StridedShardsOptions, stridedShards, stridedShardsNames } from '../patterns/strided-shards.js';
import { asPattern, namedOps } from './named.js';

const ops = namedOps<StridedShardsOptions>('s2Attention', asPattern(stridedShardsNames, stridedShards));

/**
 * S2-Attention (arXiv 2407.17678): causal attention to a local window of blocks and to one of every `vertStride` older ones,
 * another one for each head. The same as attention() with `pattern: stridedShards(options)`. Queries may begin anywhere: a
 * chunk of a prompt or one decoded token gives the rows of the whole. Models must be trained with the pattern.
 *
 * @param q queries, [batch, queries, heads, headDim]
 * @param k keys, [batch, keys, kvHeads, headDim]
 * @param v values, [batch, keys, kvHeads, valueDim]
 * @param options `blockSize`, `localBlocks`, `vertStride`, or those and a `preset`; how heads find their blocks
 *   (`layoutPer`, `headStep`, `headOffset`, `headBase`, `numDenseHeads`, `homoHead`); `requireFullCoverage`; and what
 *   attention() takes
 * @returns as attention(); rejects as it does, with RangeError ERR_TILEWISE_INVALID_OPTION when `requireFullCoverage` is
 *   not met. Layouts chosen by hand or by a preset that miss a part of the context cause one process warning,
 *   TILEWISE_PARTIAL_COVERAGE, unless that option says whether it is meant
 */
export const s2Attention = ops.promised;

/**
 * s2Attention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what s2Attention() rejects with
 */
export const s2AttentionSync = ops.sync;
