// landmarkAttention(): a block's tokens share the weight of its landmark.
// Reader: someone with a landmark model (arXiv 2305.16300). A block's own softmax gives its output; the landmark's score is what
// that output counts for, as an lse is in mergeAttention(). So everything is other ops: attention of chunks of queries to blocks, and merges.

import { checkHeads, checkSame, mismatch, readShape, type Shape } from '../call/shape.js';
import { showDims, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, invalid, maxTokens, namesOf, readEach } from '../check/validate.js';
import { axesOf } from '../tensor/axes.js';
import { backendName, cpu, type Location } from '../tensor/devices.js';
import { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import { deviceOf, floatTypes, readTensor } from '../tensor/views.js';
import type { ResultOf } from './attention/attention.js';
import { type AttentionOptions, layouts } from './attention/options.js';
import { inTurn, inTurnSync } from './calls.js';
import { type BlockCalls, chunksOf, type LandmarkSizes } from './landmark-calls.js';
import { mergeAttention, mergeAttentionSync } from './merge.js';

export interface LandmarkOptions<T = Tensor>
  extends Pick<AttentionOptions<T>, 'layout' | 'scale' | 'out' | 'Tensor' | 'signal' | 'device'> {
  /** Tokens of a block, its landmark included, which is the last one; from 2. */
  blockSize: number;
  /**
   * For each query head the earlier blocks that take part, ascending; default all. Of these a query sees the ones before its own
   * block, which always takes part.
   */
  blocks?: readonly (readonly number[])[];
  /** Landmark attention is causal; may be said. */
  causal?: true;
}

const optionNames = namesOf<LandmarkOptions>({
  blockSize: 1,
  blocks: 1,
  causal: 1,
  layout: 1,
  scale: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  device: 1,
});

/**
 * Landmark attention (arXiv 2305.16300): causal attention in which a query weighs the tokens of its own block and the landmarks of
 * earlier blocks in one softmax, and the tokens of an earlier block share the weight of its landmark by a softmax of their own.
 * Landmarks themselves have weight 0. The last query is at the last key: queries may be a chunk, or the one that is decoded.
 *
 * Time grows as that of causal attention, some times as long, with `blocks` as they are fewer; memory with the tokens. Outputs of blocks
 * are rounded to the type of q before they are merged. There is no lse.
 *
 * @param q queries, [batch, queries, heads, headDim]
 * @param k keys, [batch, keys, kvHeads, headDim]
 * @param v values, [batch, keys, kvHeads, valueDim]
 * @param options see LandmarkOptions; `blockSize` is needed
 * @returns `{ out }`; rejects as attention() does, with RangeError ERR_TILEWISE_INVALID_OPTION when `blocks` name one that is
 *   not before the block of the last query
 */
export async function landmarkAttention<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: LandmarkOptions<T>,
): Promise<ResultOf<Q, T>> {
  const call = readLandmark('landmarkAttention()', q, k, v, options);
  const { signal } = options;
  for (const { calls, out } of call.chunks) {
    const parts = await inTurn(calls, signal);
    await mergeAttention(parts, { layout: 'bhnd', out, signal });
  }
  return call.wrap() as ResultOf<Q, T>;
}

/**
 * landmarkAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what landmarkAttention() rejects with
 */
export function landmarkAttentionSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: LandmarkOptions<T>,
): ResultOf<Q, T> {
  const call = readLandmark('landmarkAttentionSync()', q, k, v, options);
  const { signal } = options;
  for (const { calls, out } of call.chunks) {
    const parts = inTurnSync(calls, signal);
    mergeAttentionSync(parts, { layout: 'bhnd', out, signal });
  }
  return call.wrap() as ResultOf<Q, T>;
}

function readLandmark(
  where: string,
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: LandmarkOptions<unknown>,
): { chunks: Iterable<{ calls: BlockCalls; out: Tensor }>; wrap: () => unknown } {
  checkNames(where, options, optionNames);
  const { scale, device, causal } = options;
  const blockSize = checkInteger('blockSize', options.blockSize, 2, maxTokens);
  if (causal !== undefined && (causal as unknown) !== true) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      '`causal` must be true or left out: landmark attention is causal',
    );
  }
  const isHeadsFirst = options.layout !== undefined && checkOneOf('layout', options.layout, layouts) === 'bhnd';
  const views = [readTensor('q', q, floatTypes), readTensor('k', k, floatTypes), readTensor('v', v, floatTypes)];
  const [query] = views;
  if (query.dims.length !== 4) throw mismatch(`\`q\` must have 4 dims, not ${showDims(query.dims)}`);
  const shape = readShape(query, views[1], views[2], axesOf(4, isHeadsFirst));
  checkHeads(shape, undefined);
  const sizes: LandmarkSizes = { ...shape, blockSize, blocks: readBlocks(options.blocks, shape, blockSize) };

  const headsFirst = (tensor: Tensor) => (isHeadsFirst ? tensor : tensor.transpose([0, 2, 1, 3]));
  const out =
    options.out === undefined
      ? newOut(shape, isHeadsFirst, deviceOf(query))
      : checkOut(options.out, shape, isHeadsFirst);
  const operands = [q, k, v].map((one) => headsFirst(Tensor.from(one) as Tensor));
  const chunks = chunksOf(operands, headsFirst(out), sizes, { scale, device });
  const { Tensor: Class } = options;
  const wrap = () => {
    if (options.out !== undefined) return { out: options.out };
    return {
      out: Class && Class !== (Tensor as unknown) ? new (Class as typeof Tensor)(out.type, out.data, out.dims) : out,
    };
  };
  return { chunks, wrap };
}

function outDims({ batch, queries, queryHeads, valueDim }: Shape, isHeadsFirst: boolean): number[] {
  return [batch, ...(isHeadsFirst ? [queryHeads, queries] : [queries, queryHeads]), valueDim];
}

function newOut(shape: Shape, isHeadsFirst: boolean, device: number): Tensor {
  const out = Tensor.zeros(shape.type, outDims(shape, isHeadsFirst));
  return device === cpu ? out : out.toSync(backendName(device) as Location);
}

function checkOut(given: TensorLike, shape: Shape, isHeadsFirst: boolean): Tensor {
  checkSame('out', readTensor('out', given, floatTypes), shape.type, outDims(shape, isHeadsFirst));
  return Tensor.from(given) as Tensor;
}

function readBlocks(value: unknown, { queryHeads, keys }: Shape, blockSize: number): readonly Int32Array[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw invalid('blocks', 'an array with a list of blocks for each query head', value);
  if (value.length !== queryHeads) {
    throw mismatch(`\`blocks\` must have a list for each of ${queryHeads} query heads, not ${value.length}`);
  }
  const own = Math.floor((keys - 1) / blockSize);
  return readEach(value, (list, head) => {
    if (!Array.isArray(list)) throw invalid(`blocks[${head}]`, 'an array of blocks', list);
    const read = readEach(list, (block, i) => {
      const name = `blocks[${head}][${i}]`;
      const last = checkInteger(name, block, 0, maxTokens);
      if (last < own && (i === 0 || last > (list[i - 1] as number))) return last;
      throw new TilewiseRangeError(
        'ERR_TILEWISE_INVALID_OPTION',
        `\`${name}\` must be above the entry before it and below ${own}, the block of the last query, not ${last}`,
      );
    });
    return Int32Array.from(read);
  });
}
