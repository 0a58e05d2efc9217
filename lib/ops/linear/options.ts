// The options of linearAttention(), and how they are read. Reader: someone who adds one. Everything is checked here and in
// problem.ts before native code is called.

import type { CopyInputs } from '../../call/request.js';
import { TilewiseTypeError } from '../../check/errors.js';
import { checkBoolean, checkInteger, checkNames, checkOneOf, invalid, is, namesOf } from '../../check/validate.js';
import { checkDevice, type DeviceName } from '../../tensor/devices.js';
import { type FloatArray, readFloats } from '../../tensor/floats.js';
import { type IntegerList, readIntegerList } from '../../tensor/integers.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { TensorConstructor, TensorLike } from '../../tensor/types.js';
import { floatTypes, readTensor, type View } from '../../tensor/views.js';
import { checkConstructor, checkCopyInputs, checkSignal, type Layout, layouts } from '../attention/options.js';

/** What is done to q and k before they meet. */
export type FeatureMap = 'identity' | 'elu1' | 'relu' | 'taylor2';

/** What linearAttention() can be told. */
export interface LinearAttentionOptions<T = Tensor> {
  /**
   * How fast the state forgets: the natural logarithm of what is left of it after a token, 0 or less, default 0. Per KV
   * head, [kvHeads] (RetNet, Lightning Attention; see retnetDecay(), lightningDecay()), or per token and KV head, [batch,
   * tokens, kvHeads] whatever `layout` says, [tokens, kvHeads] without the batch (simple gated linear attention, Mamba-2).
   * The state decays before the token is added. -Infinity forgets everything before the token.
   */
  decay?: FloatArray;
  /** Factor on the output; default 1, not headDim^-0.5. Not with `'taylor2'`, which has its own. */
  scale?: number;
  /**
   * `'identity'` (default), `'elu1'` (elu(x) + 1, arXiv 2006.16236), `'relu'`, or `'taylor2'`: BASED's weights 1 + s + s^2 / 2
   * with s = q.k / sqrt(headDim) (arXiv 2402.18668), headDim at most 64.
   */
  featureMap?: FeatureMap;
  /** `'none'` (default), or `'sum'`: the output is divided by the sum of its weights plus `eps`. */
  normalize?: 'none' | 'sum';
  /** Added to the denominator of `normalize: 'sum'`, 0 or more; default 1e-6. */
  eps?: number;
  /** The state to go on from, [sequences, kvHeads, features, valueDim] float32; default 0. As `returnState` gives it. */
  state?: TensorLike;
  /** With `normalize: 'sum'`, what belongs to `state`: [sequences, kvHeads, features] float32. */
  normalizer?: TensorLike;
  /**
   * Whether to return the state after the last token, and with `normalize: 'sum'` the normalizer. Features are headDim,
   * or 1 + headDim + headDim * (headDim + 1) / 2 with `'taylor2'`.
   */
  returnState?: boolean;
  /** Default true: a token sees itself and those before it. False: all tokens, without decay; k may have another length. */
  causal?: boolean;
  /** Tokens that are computed together, 1 to 1024; default: the device's choice. Changes speed, and results by rounding. */
  chunk?: number;
  /** Packed sequences: running totals of their tokens, [sequences + 1]; the batch axis is 1 or absent. Causal only. */
  cuSeqlens?: IntegerList;
  /** Axes of q, k, v and out: `'bnhd'` (default) or `'bhnd'`. */
  layout?: Layout;
  /** Where to write the output; no memory in common with the inputs. */
  out?: TensorLike;
  /** Class of the results. */
  Tensor?: TensorConstructor<T>;
  /** Cancels an asynchronous call. */
  signal?: AbortSignal;
  /** As in attention(). */
  device?: DeviceName;
  /** Asynchronous calls: copy the inputs first, as in attention(). */
  copyInputs?: CopyInputs;
}

export const featureMaps = ['identity', 'elu1', 'relu', 'taylor2'] as const;
export const normalizes = ['none', 'sum'] as const;

/** Most tokens of a chunk, as core/op/linear.h has it. */
const maxChunk = 1024;

const optionNames = namesOf<LinearAttentionOptions>({
  decay: 1,
  scale: 1,
  featureMap: 1,
  normalize: 1,
  eps: 1,
  state: 1,
  normalizer: 1,
  returnState: 1,
  causal: 1,
  chunk: 1,
  cuSeqlens: 1,
  layout: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  device: 1,
  copyInputs: 1,
});

/** The options, read one by one. */
export interface LinearSettings {
  readonly decay: View | undefined;
  readonly scale: number;
  readonly featureMap: FeatureMap;
  readonly isNormalized: boolean;
  readonly eps: number;
  readonly state: View | undefined;
  readonly normalizer: View | undefined;
  readonly returnsState: boolean;
  readonly isCausal: boolean;
  /** 0: the device's choice. */
  readonly chunk: number;
  readonly cuSeqlens: Int32Array | undefined;
  readonly isHeadsFirst: boolean;
  readonly out: View | undefined;
  readonly Tensor: TensorConstructor<object> | undefined;
  readonly signal: AbortSignal | undefined;
  readonly device: DeviceName;
  readonly copyInputs: CopyInputs;
}

export function readLinearOptions(where: string, o: LinearAttentionOptions<unknown>): LinearSettings {
  if (is.object(o) && (o as { twoSided?: unknown }).twoSided !== undefined) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_UNKNOWN_OPTION',
      `${where} has no option \`twoSided\`: a decay in both directions is a call, a call on reversed tokens, and their sum ` +
        'without the diagonal',
    );
  }
  checkNames(where, o, optionNames);
  const featureMap = o.featureMap === undefined ? 'identity' : checkOneOf('featureMap', o.featureMap, featureMaps);
  if (featureMap === 'taylor2' && o.scale !== undefined) {
    throw invalid('scale', "left out with `featureMap: 'taylor2'`, whose scale is headDim^-0.5", o.scale);
  }
  const isNormalized = o.normalize !== undefined && checkOneOf('normalize', o.normalize, normalizes) === 'sum';
  const isCausal = o.causal === undefined || checkBoolean('causal', o.causal);
  if (!isCausal && o.decay !== undefined)
    throw invalid('decay', 'left out without `causal`: it needs an order', o.decay);
  if (!isCausal && o.cuSeqlens !== undefined) throw invalid('cuSeqlens', 'left out without `causal`', o.cuSeqlens);
  if (!isNormalized && o.normalizer !== undefined) {
    throw invalid('normalizer', "left out without `normalize: 'sum'`", o.normalizer);
  }
  if (isNormalized && (o.state === undefined) !== (o.normalizer === undefined)) {
    throw invalid('normalizer', 'given if and only if `state` is', o.normalizer);
  }
  return {
    featureMap,
    isNormalized,
    isCausal,
    decay: o.decay === undefined ? undefined : readFloats('decay', o.decay),
    scale: o.scale === undefined ? 1 : checkFinite('scale', o.scale),
    eps: o.eps === undefined ? 1e-6 : checkEps(o.eps),
    state: o.state === undefined ? undefined : readTensor('state', o.state, ['float32']),
    normalizer: o.normalizer === undefined ? undefined : readTensor('normalizer', o.normalizer, ['float32']),
    returnsState: o.returnState !== undefined && checkBoolean('returnState', o.returnState),
    chunk: o.chunk === undefined ? 0 : checkInteger('chunk', o.chunk, 1, maxChunk),
    cuSeqlens: o.cuSeqlens === undefined ? undefined : readIntegerList('cuSeqlens', o.cuSeqlens),
    isHeadsFirst: o.layout !== undefined && checkOneOf('layout', o.layout, layouts) === 'bhnd',
    out: o.out === undefined ? undefined : readTensor('out', o.out, floatTypes),
    Tensor: o.Tensor === undefined ? undefined : checkConstructor('Tensor', o.Tensor),
    signal: o.signal === undefined ? undefined : checkSignal('signal', o.signal),
    device: o.device === undefined ? 'auto' : checkDevice('device', o.device),
    copyInputs: o.copyInputs === undefined ? 'small' : checkCopyInputs(o.copyInputs),
  };
}

function checkFinite(name: string, value: unknown): number {
  if (!is.finite(value)) throw invalid(name, 'a finite number', value);
  return value;
}

function checkEps(value: unknown): number {
  if (!is.finite(value) || value < 0) throw invalid('eps', 'a finite number, 0 or more', value);
  return value;
}
