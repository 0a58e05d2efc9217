// neighborhoodAttention(): attention of an image, a feature map or a video to the tokens around each token.
// Reader: someone who comes from NATTEN.

import { type NeighborhoodOptions, neighborhood, neighborhoodNames } from '../patterns/neighborhood.js';
import { asPattern, namedOps } from './named.js';

const ops = namedOps<NeighborhoodOptions>('neighborhoodAttention', asPattern(neighborhoodNames, neighborhood));

/**
 * Neighborhood attention (NATTEN's na1d, na2d, na3d): every token of a grid sees the window of `kernelSize` tokens per axis
 * around it, shifted inward at the edges. The same as attention() with `pattern: neighborhood(options)`.
 *
 * @param q queries, [batch, ...tokens, heads, headDim] with one to three axes of tokens; with `layout: 'bhnd'`
 *   [batch, heads, ...tokens, headDim]
 * @param k keys, the tokens of q, [batch, ...tokens, kvHeads, headDim]
 * @param v values, the tokens of q, [batch, ...tokens, kvHeads, valueDim]
 * @param options `kernelSize`, `stride`, `dilation`, `causal`, each one value or one per axis; `relativeBias`,
 *   `extraKeys`, `extraValues`; and what attention() takes, except for key lengths, packed sequences and ALiBi
 * @returns out like q with valueDim; with `returnLse` lse [batch, heads, ...tokens]. Rejects as attention() does, with
 *   RangeError ERR_TILEWISE_INVALID_OPTION when a window does not fit its axis (kernelSize * dilation above the length)
 */
export const neighborhoodAttention = ops.promised;

/**
 * neighborhoodAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what neighborhoodAttention() rejects with
 */
export const neighborhoodAttentionSync = ops.sync;
