// LinearState: the state of linear attention from call to call, in place of a KV cache. Its size does not grow with the tokens.
// Reader: someone who decodes with linearAttention(), or splits a sequence over machines. A step overwrites the state where it
// is. S over two parts of a sequence is exp(decay of the second part) S_1 + S_2, so parts merge.

import { checkSame, mismatch } from '../call/shape.js';
import { TilewiseRangeError } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import type { LinearAttentionResult } from '../ops/linear/linear.js';
import { flyLinear, runLinear } from '../ops/linear/linear.js';
import {
  type FeatureMap,
  featureMaps,
  type LinearAttentionOptions,
  type LinearSettings,
  normalizes,
  readLinearOptions,
} from '../ops/linear/options.js';
import { checkLinearDims, decayStrides, featuresOf, type LinearShape, prepareLinear } from '../ops/linear/problem.js';
import { toDense } from '../tensor/dense.js';
import type { Location } from '../tensor/devices.js';
import { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import { type HostView, readHostTensor, type View } from '../tensor/views.js';

/** What a LinearState must be told. */
export interface LinearStateOptions {
  /** Sequences that go on side by side; default 1. */
  sequences?: number;
  kvHeads: number;
  headDim: number;
  valueDim: number;
  /** As in linearAttention(). */
  featureMap?: FeatureMap;
  normalize?: 'none' | 'sum';
}

/** What a call on a LinearState can be told, as in linearAttention(); the state is its own, and it cannot be cancelled half-way. */
export type LinearStepOptions<T = Tensor> = Pick<
  LinearAttentionOptions<T>,
  'decay' | 'scale' | 'eps' | 'chunk' | 'cuSeqlens' | 'layout' | 'out' | 'Tensor' | 'device' | 'copyInputs'
>;

/** A LinearState as tensors that can be stored: what save() returns and LinearState.load() takes. */
export interface SavedLinearState {
  /** [sequences, kvHeads, features, valueDim] float32. */
  state: TensorLike;
  /** With `normalize: 'sum'`: [sequences, kvHeads, features] float32. */
  normalizer?: TensorLike;
  /** Decays of all tokens so far, summed: [sequences, kvHeads] float32. */
  decay: TensorLike;
}

const optionNames = namesOf<LinearStateOptions>({
  sequences: 1,
  kvHeads: 1,
  headDim: 1,
  valueDim: 1,
  featureMap: 1,
  normalize: 1,
});
const stepNames = namesOf<LinearStepOptions>({
  decay: 1,
  scale: 1,
  eps: 1,
  chunk: 1,
  cuSeqlens: 1,
  layout: 1,
  out: 1,
  Tensor: 1,
  device: 1,
  copyInputs: 1,
});

type Sizes = Required<LinearStateOptions>;

export class LinearState {
  readonly #sizes: Sizes;
  #state: Tensor<'float32'>;
  #normalizer: Tensor<'float32'> | undefined;
  /** [sequences, kvHeads]. */
  readonly #decay: Float64Array;
  #isBusy = false;

  /**
   * A state of zeros.
   * @param options see LinearStateOptions
   * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_SHAPE_MISMATCH
   */
  constructor(options: LinearStateOptions) {
    checkNames('a LinearState', options, optionNames);
    const { sequences = 1, featureMap = 'identity', normalize = 'none' } = options;
    this.#sizes = {
      sequences: checkInteger('sequences', sequences, 0, maxTokens),
      kvHeads: checkInteger('kvHeads', options.kvHeads, 1, maxTokens),
      headDim: checkInteger('headDim', options.headDim, 1, maxTokens),
      valueDim: checkInteger('valueDim', options.valueDim, 1, maxTokens),
      featureMap: checkOneOf('featureMap', featureMap, featureMaps),
      normalize: checkOneOf('normalize', normalize, normalizes),
    };
    checkLinearDims(this.#sizes.featureMap, this.#sizes.headDim, this.#sizes.valueDim);
    this.#state = Tensor.zeros('float32', this.#stateDims);
    this.#normalizer = normalize === 'sum' ? Tensor.zeros('float32', this.#normalizerDims) : undefined;
    this.#decay = new Float64Array(this.#sizes.sequences * this.#sizes.kvHeads);
  }

  /**
   * A state from what save() returned, copied.
   * @throws {TypeError | RangeError} as the constructor; ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_DTYPE
   */
  static load(options: LinearStateOptions, saved: SavedLinearState): LinearState {
    const loaded = new LinearState(options);
    const { sequences, kvHeads } = loaded.#sizes;
    if (!is.object(saved)) throw invalid('saved', 'an object { state, normalizer, decay }', saved);
    loaded.#state = copied('state', saved.state, loaded.#stateDims);
    if (loaded.#normalizer) loaded.#normalizer = copied('normalizer', saved.normalizer, loaded.#normalizerDims);
    loaded.#decay.set(copied('decay', saved.decay, [sequences, kvHeads]).data);
    return loaded;
  }

  /**
   * Merges the states of consecutive parts of one sequence, each from a LinearState that began with zeros, into the state after
   * the last of them.
   * @param parts states of equal sizes in the process's memory, first part first
   * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_SHAPE_MISMATCH
   */
  static merge(parts: readonly LinearState[]): LinearState {
    if (!Array.isArray(parts) || parts.length === 0 || parts.findIndex((part) => !(part instanceof LinearState)) >= 0) {
      throw invalid('parts', 'an array of at least one LinearState', parts);
    }
    const merged = (parts as readonly LinearState[])[0].copy();
    for (const part of (parts as readonly LinearState[]).slice(1)) merged.#take(part);
    return merged;
  }

  /** [sequences, kvHeads, features, valueDim] float32: its own memory, which calls overwrite. */
  get state(): Tensor<'float32'> {
    return this.#state;
  }

  /** [sequences, kvHeads, features] float32, or undefined without `normalize: 'sum'`. */
  get normalizer(): Tensor<'float32'> | undefined {
    return this.#normalizer;
  }

  /** Decays of all tokens so far, summed, [sequences, kvHeads] float32, in natural-log units: a copy. */
  get decay(): Tensor<'float32'> {
    return new Tensor('float32', Float32Array.from(this.#decay), [this.#sizes.sequences, this.#sizes.kvHeads]);
  }

  /** Bytes of the state and the normalizer. */
  get bytes(): number {
    return 4 * (this.#state.size + (this.#normalizer?.size ?? 0));
  }

  /**
   * linearAttention() of the tokens that follow: causal, from this state, which goes on behind them.
   * @returns `{ out }`; rejects as linearAttention() does, and with ERR_TILEWISE_OVERLAP while another call runs
   */
  async attention<const Q extends TensorLike, T = Tensor>(
    q: Q,
    k: TensorLike,
    v: TensorLike,
    options: LinearStepOptions<T> = {},
  ): Promise<Pick<LinearAttentionResult<Q, T>, 'out'>> {
    const { call, settings } = this.#prepare('attention()', [q, k, v], options, false);
    const decays = this.#decaysOf(settings, call.shape);
    this.#isBusy = true;
    try {
      await flyLinear(call, settings);
    } finally {
      this.#isBusy = false;
    }
    this.#addDecays(decays);
    return call.results.wrap() as never;
  }

  /**
   * attention() on the calling thread.
   * @throws {TypeError | RangeError | TilewiseError} what attention() rejects with
   */
  attentionSync<const Q extends TensorLike, T = Tensor>(
    q: Q,
    k: TensorLike,
    v: TensorLike,
    options: LinearStepOptions<T> = {},
  ): Pick<LinearAttentionResult<Q, T>, 'out'> {
    const { call, settings } = this.#prepare('attentionSync()', [q, k, v], options, true);
    const decays = this.#decaysOf(settings, call.shape);
    runLinear(call);
    this.#addDecays(decays);
    return call.results.wrap() as never;
  }

  /** The same state in other memory, on the same device. */
  copy(): LinearState {
    this.#refuseBusy('copy()');
    return LinearState.load(this.#sizes, this.save());
  }

  /** Copies as tensors, for a file or another machine. The state must be in the process's memory. */
  save(): SavedLinearState & { state: Tensor<'float32'>; normalizer?: Tensor<'float32'>; decay: Tensor<'float32'> } {
    this.#refuseBusy('save()');
    const state = copied('state', this.#state, this.#stateDims);
    if (!this.#normalizer) return { state, decay: this.decay };
    return { state, normalizer: copied('normalizer', this.#normalizer, this.#normalizerDims), decay: this.decay };
  }

  /**
   * Moves the state to a device, or back. Calls run where it is.
   * @param device 'cpu', 'cuda', 'cuda:1' and so on
   * @returns rejects as Tensor.to() does
   */
  async to(device: Location): Promise<void> {
    this.#refuseBusy('to()');
    this.#isBusy = true;
    try {
      const [state, normalizer] = await Promise.all([this.#state.to(device), this.#normalizer?.to(device)]);
      this.#state = state;
      this.#normalizer = normalizer;
    } finally {
      this.#isBusy = false;
    }
  }

  /** Begins anew: zeros, in the process's memory. */
  reset(): void {
    this.#refuseBusy('reset()');
    this.#state = Tensor.zeros('float32', this.#stateDims);
    if (this.#normalizer) this.#normalizer = Tensor.zeros('float32', this.#normalizerDims);
    this.#decay.fill(0);
  }

  get #normalizerDims(): number[] {
    const { sequences, kvHeads, featureMap, headDim } = this.#sizes;
    return [sequences, kvHeads, featuresOf(featureMap, headDim)];
  }

  get #stateDims(): number[] {
    return [...this.#normalizerDims, this.#sizes.valueDim];
  }

  #refuseBusy(where: string): void {
    if (!this.#isBusy) return;
    throw new TilewiseRangeError(
      'ERR_TILEWISE_OVERLAP',
      `${where} of a LinearState cannot begin while another call writes the state; await that call first`,
    );
  }

  #prepare(
    where: string,
    tensors: readonly [TensorLike, TensorLike, TensorLike],
    options: LinearStepOptions<unknown>,
    isSync: boolean,
  ) {
    checkNames(`${where} of a LinearState`, options, stepNames);
    this.#refuseBusy(where);
    const { featureMap, normalize } = this.#sizes;
    const read = readLinearOptions(where, { ...options, featureMap });
    const settings: LinearSettings = {
      ...read,
      isNormalized: normalize === 'sum',
      copyInputs: isSync ? false : read.copyInputs,
    };
    const own = { state: this.#state as View, normalizer: this.#normalizer as View | undefined };
    return { call: prepareLinear(tensors, settings, options.out, own), settings };
  }

  /** The decays of a call's tokens, summed per sequence and head. Those of device tensors are not read. */
  #decaysOf({ decay, cuSeqlens }: LinearSettings, shape: LinearShape): Float64Array {
    const { sequences, keys, kvHeads } = shape;
    const sums = new Float64Array(sequences * kvHeads);
    if (!decay) return sums;
    const { data, offset } = decay as HostView;
    const [byBatch, byToken, byHead] = decayStrides(decay, shape);
    for (let s = 0; s < sequences; ++s) {
      const [batch, begin, end] = cuSeqlens ? [0, cuSeqlens[s], cuSeqlens[s + 1]] : [s, 0, keys];
      for (let h = 0; h < kvHeads; ++h) {
        const first = offset + batch * byBatch + h * byHead;
        let sum = byToken === 0 && end > begin ? (end - begin) * Number(data[first]) : 0;
        if (byToken !== 0) for (let t = begin; t < end; ++t) sum += Number(data[first + t * byToken]);
        sums[s * kvHeads + h] = sum;
      }
    }
    return sums;
  }

  #addDecays(sums: Float64Array): void {
    for (const [i, sum] of sums.entries()) this.#decay[i] += sum;
  }

  /** The state of the tokens that follow becomes part of this one. */
  #take(part: LinearState): void {
    part.#refuseBusy('merge()');
    if (part.#normalizerDims.join() !== this.#normalizerDims.join() || part.#state.dims[3] !== this.#state.dims[3]) {
      throw mismatch('States that are merged must have equal sizes');
    }
    if ((part.#normalizer === undefined) !== (this.#normalizer === undefined)) {
      throw mismatch('States that are merged must all have a normalizer, or none');
    }
    const factors = Array.from(part.#decay, Math.exp);
    mergeInto(this.#state.data, part.#state.data, factors);
    if (this.#normalizer && part.#normalizer) mergeInto(this.#normalizer.data, part.#normalizer.data, factors);
    this.#addDecays(part.#decay);
  }
}

/** into = factor * into + from, with a factor for each of as many equal pieces. */
function mergeInto(into: Float32Array, from: Float32Array, factors: readonly number[]): void {
  const piece = into.length / Math.max(1, factors.length);
  for (let i = 0; i < into.length; ++i) into[i] = factors[Math.floor(i / piece)] * into[i] + from[i];
}

function copied(name: string, value: unknown, dims: number[]): Tensor<'float32'> {
  const view = readHostTensor(name, value, ['float32']);
  checkSame(name, view, 'float32', dims);
  return new Tensor('float32', toDense(name, view).data as Float32Array<ArrayBuffer>, dims);
}
