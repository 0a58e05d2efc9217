// gatedDelta(): a linear attention whose tokens correct what the state says of their keys. Reader: someone who runs Qwen3-Next,
// Kimi's or another gated delta layer. core/op/delta.h has the rule, problem.ts what fits.

import { fly, refuseSignal } from '../../call/flight.js';
import { onDevice } from '../../call/placement.js';
import { lend } from '../../tensor/leases.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { TypedAs } from '../../tensor/typed.js';
import type { ElementOf, TensorLike } from '../../tensor/types.js';
import { type GatedDeltaOptions, readDeltaOptions } from './options.js';
import { type DeltaCall, deltaOp, prepareDelta } from './problem.js';

/** What gatedDelta() returns for queries of type `Q`, of the class of `T`. */
export interface GatedDeltaResult<Q, T> {
  /** [batch, tokens, heads, valueDim], or as `layout` says; as many heads as the larger of q's and v's numbers. */
  out: TypedAs<T, ElementOf<Q>>;
  /** With `returnState`: the state after the last token, [sequences, valueHeads, headDim, valueDim] float32. */
  state?: TypedAs<T, 'float32'>;
}

/**
 * The gated delta rule. Per value head a state S first decays, S = exp(decay_t) S, then each token replaces beta_t of what its key
 * leads to by its value, S_t = S + k_t (beta_t (v_t - k_t S))^T, and gives out_t = scale q_t S_t. Semantics: Gated DeltaNet (arXiv
 * 2412.06464), DeltaNet (arXiv 2406.06484) without `decay`; heads as in Qwen3-Next, whose q and k have fewer heads than v.
 * @param q [batch, tokens, heads, headDim] or as `layout` says, without the batch [tokens, heads, headDim]; float32, float16 or
 *   bfloat16, any strides; of its heads and those of v one number divides the other; headDim up to 4096
 * @param k [batch, tokens, keyHeads, headDim], the type of q; keyHeads divide the heads of v. Rows of length 1 or less keep the
 *   state bounded: see `qkL2norm`
 * @param v [batch, tokens, valueHeads, valueDim], the type of q; valueDim up to 4096
 * @param options see GatedDeltaOptions
 * @returns `{ out }`, with `returnState` the state too; rejects with TypeError or RangeError
 *   (ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_SHAPE_MISMATCH,
 *   ERR_TILEWISE_DTYPE, ERR_TILEWISE_OVERLAP) or TilewiseError (ERR_TILEWISE_UNSUPPORTED on a GPU)
 */
export async function gatedDelta<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: GatedDeltaOptions<T>,
): Promise<GatedDeltaResult<Q, T>> {
  const settings = readDeltaOptions('gatedDelta()', options);
  const call = prepareDelta([q, k, v], settings, options.out);
  const { request, results, placement, updated } = call;
  try {
    await lend(updated, () =>
      fly(placement, (device) => deltaOp.submit(device, request), results.lent, settings.signal),
    );
  } catch (error) {
    results.discard();
    throw error;
  }
  return resultOf(call);
}

/**
 * gatedDelta() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what gatedDelta() rejects with
 */
export function gatedDeltaSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: GatedDeltaOptions<T>,
): GatedDeltaResult<Q, T> {
  const settings = readDeltaOptions('gatedDeltaSync()', options);
  refuseSignal('gatedDeltaSync()', settings.signal);
  const call = prepareDelta([q, k, v], { ...settings, copyInputs: false }, options.out);
  try {
    onDevice(call.placement, (device) => deltaOp.run(device, call.request));
  } catch (error) {
    call.results.discard();
    throw error;
  }
  return resultOf(call);
}

const resultOf = <Q, T>({ results, state }: DeltaCall): GatedDeltaResult<Q, T> =>
  ({ ...results.wrap(), ...(state && { state }) }) as GatedDeltaResult<Q, T>;
