// linearAttentionStep(): a token of linear attention on a LinearState. Reader: someone who decodes.

import { mismatch } from '../call/shape.js';
import { invalid, is } from '../check/validate.js';
import type { LinearAttentionResult } from '../ops/linear/linear.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import { LinearState, type LinearStepOptions } from './linear-state.js';

/**
 * One token after those that a state has seen: state.attention() for q, k, v of one token each, [sequences, 1, heads, dim].
 * @param state goes on behind the token
 * @param options see LinearStepOptions
 * @returns `{ out }`; rejects as LinearState.attention() does, and with ERR_TILEWISE_SHAPE_MISMATCH for another number of tokens
 */
export async function linearAttentionStep<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  state: LinearState,
  options: LinearStepOptions<T> = {},
): Promise<Pick<LinearAttentionResult<Q, T>, 'out'>> {
  checkStep(k, state, options);
  return state.attention(q, k, v, options);
}

/**
 * linearAttentionStep() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what linearAttentionStep() rejects with
 */
export function linearAttentionStepSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  state: LinearState,
  options: LinearStepOptions<T> = {},
): Pick<LinearAttentionResult<Q, T>, 'out'> {
  checkStep(k, state, options);
  return state.attentionSync(q, k, v, options);
}

function checkStep(k: TensorLike, state: unknown, options: LinearStepOptions<unknown>): void {
  if (!(state instanceof LinearState)) throw invalid('state', 'a LinearState', state);
  const dims: ArrayLike<number> | undefined = is.object(k) ? k.dims : undefined;
  const tokens = dims && dims.length >= 3 ? dims[dims.length - (options?.layout === 'bhnd' ? 2 : 3)] : 1;
  if (tokens !== 1) throw mismatch(`A step has one token, not ${tokens}: use state.attention() for more`);
}
