// localLinearAttention() and parallaxAttention(): softmax attention with a correction that is linear in the key. Reader: someone
// who runs LLA or Parallax. core/op/local_linear.h has the rule, problem.ts the options and what fits.

import { fly, refuseSignal } from '../../call/flight.js';
import { onDevice } from '../../call/placement.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { TypedAs } from '../../tensor/typed.js';
import type { ElementOf, TensorLike } from '../../tensor/types.js';
import {
  type LocalLinearCall,
  type LocalLinearOptions,
  localLinearOp,
  type ParallaxOptions,
  prepareLocalLinear,
  readLocalLinearOptions,
  readParallaxOptions,
} from './problem.js';

/** What localLinearAttention() and parallaxAttention() return for queries of type `Q`, of the class of `T`. */
export interface LocalLinearResult<Q, T> {
  /** [batch, tokens, heads, valueDim], or as `layout` says. */
  out: TypedAs<T, ElementOf<Q>>;
}

/**
 * Local linear attention (arXiv 2510.01450): the value, at the query, of a line that is fitted to the values near it. With p the
 * softmax weights of a query and kbar = sum of p k, out = sum of p (1 - r.(k - kbar)) v, and r is the solution of (C + lambda I) r =
 * kbar - q, C the covariance of the keys under p. Conjugate gradients find it per query; the keys are read once more in each
 * iteration, and C is never formed. A query that sees no key gives 0.
 * @param q [batch, tokens, heads, headDim] or as `layout` says, without the batch [tokens, heads, headDim]; float32, float16 or
 *   bfloat16, any strides; headDim up to 4096
 * @param k [batch, keys, kvHeads, headDim], the type of q; kvHeads divide the heads of q
 * @param v [batch, keys, kvHeads, valueDim], the type of q; valueDim up to 4096
 * @param options see LocalLinearOptions; `lambda` must be given
 * @returns `{ out }`; rejects with TypeError or RangeError (ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION,
 *   ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_SHAPE_MISMATCH, ERR_TILEWISE_DTYPE, ERR_TILEWISE_OVERLAP) or TilewiseError
 *   (ERR_TILEWISE_NO_DEVICE)
 */
export async function localLinearAttention<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: LocalLinearOptions<T>,
): Promise<LocalLinearResult<Q, T>> {
  const settings = readLocalLinearOptions('localLinearAttention()', options);
  return flown(prepareLocalLinear({ q, k, v }, settings, options.out));
}

/**
 * localLinearAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what localLinearAttention() rejects with
 */
export function localLinearAttentionSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: LocalLinearOptions<T>,
): LocalLinearResult<Q, T> {
  const settings = readLocalLinearOptions('localLinearAttentionSync()', options);
  refuseSignal('localLinearAttentionSync()', settings.signal);
  return ran(prepareLocalLinear({ q, k, v }, { ...settings, copyInputs: false }, options.out));
}

/**
 * Parallax: the same correction with an r that is given, a second stream of queries. With s1 = scale q.k, s2 = r.k, d1 and d2 the sums
 * of e^s1 and e^s1 s2, O1 and O2 those of e^s1 v and e^s1 s2 v: out = O1/d1 (1 + d2/d1) - O2/d1. Semantics: flash-linear-attention's
 * Parallax. A query that sees no key gives 0.
 * @param q as in localLinearAttention()
 * @param r the dims and type of q
 * @param k as in localLinearAttention()
 * @param v as in localLinearAttention()
 * @param options see ParallaxOptions
 * @returns `{ out }`; rejects as localLinearAttention() does
 */
export async function parallaxAttention<const Q extends TensorLike, T = Tensor>(
  q: Q,
  r: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: ParallaxOptions<T> = {},
): Promise<LocalLinearResult<Q, T>> {
  const settings = readParallaxOptions('parallaxAttention()', options);
  return flown(prepareLocalLinear({ q, k, v, r }, settings, options.out));
}

/**
 * parallaxAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what parallaxAttention() rejects with
 */
export function parallaxAttentionSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  r: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: ParallaxOptions<T> = {},
): LocalLinearResult<Q, T> {
  const settings = readParallaxOptions('parallaxAttentionSync()', options);
  refuseSignal('parallaxAttentionSync()', settings.signal);
  return ran(prepareLocalLinear({ q, k, v, r }, { ...settings, copyInputs: false }, options.out));
}

/** Runs a call on the threads of its device. */
async function flown<Q, T>({ request, results, placement, signal }: LocalLinearCall): Promise<LocalLinearResult<Q, T>> {
  try {
    await fly(placement, (device) => localLinearOp.submit(device, request), results.lent, signal);
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap() as LocalLinearResult<Q, T>;
}

/** Runs a call on this thread. */
function ran<Q, T>({ request, results, placement }: LocalLinearCall): LocalLinearResult<Q, T> {
  try {
    onDevice(placement, (device) => localLinearOp.run(device, request));
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap() as LocalLinearResult<Q, T>;
}
