// attention(): the op that everything else is a pattern of.
// Reader: someone who calls it, or follows a call from arguments to native code and back.

import type { Tensor } from '../../tensor/tensor.js';
import type { TypedAs } from '../../tensor/typed.js';
import type { ElementOf, FloatType, TensorLike } from '../../tensor/types.js';
import { type AttentionOptions, readOptions, readSyncOptions } from './options.js';
import { type Internals, type Operands, prepare, readOperands } from './problem.js';
import { isRaggedSelection, runSelections, runSelectionsSync } from './ragged-selection.js';
import { complete, completeSync } from './run.js';
import type { Settings } from './settings.js';

/** What attention() returns: tensors of the class that `Tensor` names, or the `out` that was passed. */
export interface AttentionResult<Out = Tensor<FloatType>, Lse = Tensor<'float32'>> {
  /**
   * [batch, queries, heads, valueDim] or the order that `layout` says, a grid's tokens as in q, with `queryHeads` heads and
   * dim as one axis; the type of q.
   */
  readonly out: Out;
  /** With `returnLse`: natural log of each row's sum of exp(score), [batch, heads, queries], float32. */
  readonly lse?: Lse;
}

/** The results for queries of type `Q`, of the class of `T`. */
export type ResultOf<Q, T = Tensor> = AttentionResult<TypedAs<T, ElementOf<Q>>, TypedAs<T, 'float32'>>;

/**
 * Scaled dot-product attention, softmax(scale * q kᵀ) v, fused: memory beyond inputs and output does not grow with the
 * number of tokens, and keys that the pattern hides are never read. FlashAttention (arXiv 2205.14135).
 *
 * Runs outside the event loop and outside libuv's thread pool; on the CPU a call of some microseconds, such as one query over a
 * hundred keys, runs at once, and its promise settles in the next turn of the event loop. Until the promise settles the inputs must not be written or
 * transferred (`copyInputs` lifts that, for small inputs it does so by itself) and `out` must be left alone, by other threads
 * as well.
 *
 * A query that sees no key gets output 0 and lse -Infinity. Results are the same bits for any number of threads.
 *
 * @param q queries, [batch, queries, heads, headDim]; float32, float16 or bfloat16; headDim up to 4096
 * @param k keys, [batch, keys, kvHeads, headDim], the type of q, with float32 queries any float type; heads % kvHeads == 0
 *   (GQA, MQA), with `pairing` the reverse
 * @param v values, [batch, keys, kvHeads, valueDim], the type of k; valueDim up to 4096
 * @param options see AttentionOptions; with `layout: 'bhnd'` heads come before tokens, with `queryHeads` heads
 *   and dim are one axis, with `cuSeqlensQ` and `cuSeqlensK` the batch axis is 1 or absent; with a neighborhood there are one to three axes of tokens
 * @returns rejects with TypeError (wrong kind), RangeError (wrong size or value) or TilewiseError, each with a `code`;
 *   with `signal.reason` when aborted
 */
export function attention<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: AttentionOptions<T> & { returnLse: true },
): Promise<Required<ResultOf<Q, T>>>;
export function attention<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options?: AttentionOptions<T>,
): Promise<ResultOf<Q, T>>;
export async function attention(
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: AttentionOptions<unknown> = {},
): Promise<AttentionResult<unknown, unknown>> {
  return runAttention('attention()', q, k, v, options);
}

/**
 * attention() on the calling thread (and the pool's), for scripts, workers and problems too small to wait for.
 * @throws {TypeError | RangeError | TilewiseError} what attention() rejects with
 */
export function attentionSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: AttentionOptions<T> & { returnLse: true },
): Required<ResultOf<Q, T>>;
export function attentionSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options?: AttentionOptions<T>,
): ResultOf<Q, T>;
export function attentionSync(
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: AttentionOptions<unknown> = {},
): AttentionResult<unknown, unknown> {
  return runAttentionSync('attentionSync()', q, k, v, options);
}

/** attention() under another name, for the ops that are a pattern of it. */
export async function runAttention(
  where: string,
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: AttentionOptions<unknown>,
  internals?: Internals,
): Promise<AttentionResult<unknown, unknown>> {
  const settings = readOptions(where, options);
  return attend(readOperands(q, k, v, options.out, settings, internals), settings, internals);
}

/** The same of tensors and options that have been read. */
export async function attend(
  operands: Operands,
  settings: Settings,
  internals?: Internals,
): Promise<AttentionResult<unknown, unknown>> {
  if (isRaggedSelection(settings)) return runSelections(operands, settings, internals);
  return complete(prepare(operands, settings, internals, true), settings.signal);
}

/** attentionSync() under another name. */
export function runAttentionSync(
  where: string,
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: AttentionOptions<unknown>,
  internals?: Internals,
): AttentionResult<unknown, unknown> {
  const settings = readSyncOptions(where, options);
  return attendSync(readOperands(q, k, v, options.out, settings, internals), settings, internals);
}

/** attend() on the calling thread. */
export function attendSync(
  operands: Operands,
  settings: Settings,
  internals?: Internals,
): AttentionResult<unknown, unknown> {
  if (isRaggedSelection(settings)) return runSelectionsSync(operands, settings, internals);
  return completeSync(prepare(operands, settings, internals));
}
