// linearAttention(): attention without softmax, whose keys become one state of features x valueDim that decays.
// Reader: someone who runs Lightning Attention, RetNet, BASED or another linear layer. core/op/linear.h has the rule,
// problem.ts what fits; a decode loop keeps its state in caches/linear-state.ts.

import { fly, refuseSignal } from '../../call/flight.js';
import { onDevice } from '../../call/placement.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { TypedAs } from '../../tensor/typed.js';
import type { ElementOf, TensorLike } from '../../tensor/types.js';
import { type LinearAttentionOptions, type LinearSettings, readLinearOptions } from './options.js';
import { type LinearCall, linearOp, prepareLinear } from './problem.js';

/** What linearAttention() returns for queries of type `Q`, of the class of `T`. */
export interface LinearAttentionResult<Q, T> {
  /** [batch, tokens, heads, valueDim], or as `layout` says. */
  out: TypedAs<T, ElementOf<Q>>;
  /** With `returnState`: the state after the last token, [sequences, kvHeads, features, valueDim] float32. */
  state?: TypedAs<T, 'float32'>;
  /** With `returnState` and `normalize: 'sum'`: [sequences, kvHeads, features] float32. */
  normalizer?: TypedAs<T, 'float32'>;
}

/**
 * Linear attention with decay. Per KV head S_t = exp(decay_t) S_(t-1) + k_t v_t^T, and every query head of its group gives
 * out_t = scale q_t S_t: the token itself counts in full. Keys are never compared one by one, so time and memory per token do
 * not grow with the length. Semantics: RetNet (arXiv 2307.08621), Lightning Attention-2 (arXiv 2401.04658), BASED (arXiv
 * 2402.18668), the linear transformer (arXiv 2006.16236).
 * @param q [batch, tokens, heads, headDim] or as `layout` says, without the batch [tokens, heads, headDim]; float32, float16 or
 *   bfloat16, any strides; headDim up to 4096
 * @param k [batch, tokens, kvHeads, headDim], the type of q; kvHeads divide the heads of q
 * @param v [batch, tokens, kvHeads, valueDim], the type of q; valueDim up to 4096
 * @param options see LinearAttentionOptions
 * @returns `{ out }`, with `returnState` the state too; rejects with TypeError or RangeError
 *   (ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_SHAPE_MISMATCH,
 *   ERR_TILEWISE_DTYPE, ERR_TILEWISE_OVERLAP) or TilewiseError (ERR_TILEWISE_UNSUPPORTED on a GPU)
 */
export async function linearAttention<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: LinearAttentionOptions<T> = {},
): Promise<LinearAttentionResult<Q, T>> {
  const settings = readLinearOptions('linearAttention()', options);
  const call = prepareLinear([q, k, v], settings, options.out);
  await flyLinear(call, settings);
  return resultOf(call);
}

/**
 * linearAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what linearAttention() rejects with
 */
export function linearAttentionSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: LinearAttentionOptions<T> = {},
): LinearAttentionResult<Q, T> {
  const settings = readLinearOptions('linearAttentionSync()', options);
  refuseSignal('linearAttentionSync()', settings.signal);
  const call = prepareLinear([q, k, v], { ...settings, copyInputs: false }, options.out);
  runLinear(call);
  return resultOf(call);
}

/** Runs a call on the threads of its device. */
export async function flyLinear(
  { request, results, placement }: LinearCall,
  { signal }: LinearSettings,
): Promise<void> {
  try {
    await fly(placement, (device) => linearOp.submit(device, request), results.lent, signal);
  } catch (error) {
    results.discard();
    throw error;
  }
}

/** Runs a call on this thread. */
export function runLinear({ request, results, placement }: LinearCall): void {
  try {
    onDevice(placement, (device) => linearOp.run(device, request));
  } catch (error) {
    results.discard();
    throw error;
  }
}

const resultOf = <Q, T>({ results, states }: LinearCall): LinearAttentionResult<Q, T> =>
  ({ ...results.wrap(), ...states }) as LinearAttentionResult<Q, T>;
