// The options of gatedDelta(), and how they are read. Reader: someone who adds one. Everything is checked here and in
// problem.ts before native code is called.

import type { CopyInputs } from '../../call/request.js';
import { checkBoolean, checkInteger, checkNames, checkOneOf, invalid, is, namesOf } from '../../check/validate.js';
import { checkDevice, type DeviceName } from '../../tensor/devices.js';
import { type FloatArray, readFloats } from '../../tensor/floats.js';
import { type IntegerList, readIntegerList } from '../../tensor/integers.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { TensorConstructor, TensorLike } from '../../tensor/types.js';
import { floatTypes, isOnHost, isRowMajor, readTensor, type View } from '../../tensor/views.js';
import { checkConstructor, checkCopyInputs, checkSignal, type Layout, layouts } from '../attention/options.js';

/** What gatedDelta() can be told. */
export interface GatedDeltaOptions<T = Tensor> {
  /**
   * How much of what its key leads to a token replaces, usually 0 to 1: [batch, tokens, valueHeads] whatever `layout` says,
   * [tokens, valueHeads] without the batch.
   */
  beta: FloatArray;
  /**
   * How fast the state forgets: the natural logarithm of what is left of it after a token, 0 or less, default 0. Per token as
   * `beta` is, or [valueHeads].
   */
  decay?: FloatArray;
  /** Factor on the output; default headDim^-0.5. */
  scale?: number;
  /** Whether every row of q and k is divided by its length first, sqrt(sum of squares + 1e-6), as Qwen3-Next does; default false. */
  qkL2norm?: boolean;
  /** The state to go on from, [sequences, valueHeads, headDim, valueDim] float32; default 0. */
  state?: TensorLike;
  /** Whether to return the state after the last token. */
  returnState?: boolean;
  /**
   * Whether to overwrite `state` with the state after the last token, which takes no new memory per step. `state` is then
   * row-major, in the process's memory, and no other call may use it until this one is over. Not with `returnState`.
   */
  updateState?: boolean;
  /** Tokens that are computed together, 1 to 1024; default: the device's choice. Changes speed, and results by rounding. */
  chunk?: number;
  /** Packed sequences: running totals of their tokens, [sequences + 1]; the batch axis is 1 or absent. */
  cuSeqlens?: IntegerList;
  /** Axes of q, k, v and out: `'bnhd'` (default) or `'bhnd'`. */
  layout?: Layout;
  /** Where to write the output; no memory in common with the inputs. */
  out?: TensorLike;
  /** Class of the results. */
  Tensor?: TensorConstructor<T>;
  /** Cancels an asynchronous call; not with `updateState`, which would leave half a step. */
  signal?: AbortSignal;
  /** As in attention(). */
  device?: DeviceName;
  /** Asynchronous calls: copy the inputs first, as in attention(). */
  copyInputs?: CopyInputs;
}

/** Most tokens of a chunk, as core/op/delta.h has it. */
const maxChunk = 1024;

const optionNames = namesOf<GatedDeltaOptions>({
  beta: 1,
  decay: 1,
  scale: 1,
  qkL2norm: 1,
  state: 1,
  returnState: 1,
  updateState: 1,
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
export interface DeltaSettings {
  readonly beta: View;
  readonly decay: View | undefined;
  /** undefined: headDim^-0.5. */
  readonly scale: number | undefined;
  readonly hasUnitRows: boolean;
  readonly state: View | undefined;
  readonly returnsState: boolean;
  readonly updatesState: boolean;
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

export function readDeltaOptions(where: string, o: GatedDeltaOptions<unknown>): DeltaSettings {
  checkNames(where, o, optionNames);
  if (o.beta === undefined) throw invalid('beta', 'a float32 tensor [batch, tokens, valueHeads]', o.beta);
  if (o.scale !== undefined && !is.finite(o.scale)) throw invalid('scale', 'a finite number', o.scale);
  const settings: DeltaSettings = {
    beta: readFloats('beta', o.beta),
    decay: o.decay === undefined ? undefined : readFloats('decay', o.decay),
    scale: o.scale,
    hasUnitRows: o.qkL2norm !== undefined && checkBoolean('qkL2norm', o.qkL2norm),
    state: o.state === undefined ? undefined : readTensor('state', o.state, ['float32']),
    returnsState: o.returnState !== undefined && checkBoolean('returnState', o.returnState),
    updatesState: o.updateState !== undefined && checkBoolean('updateState', o.updateState),
    chunk: o.chunk === undefined ? 0 : checkInteger('chunk', o.chunk, 1, maxChunk),
    cuSeqlens: o.cuSeqlens === undefined ? undefined : readIntegerList('cuSeqlens', o.cuSeqlens),
    isHeadsFirst: o.layout !== undefined && checkOneOf('layout', o.layout, layouts) === 'bhnd',
    out: o.out === undefined ? undefined : readTensor('out', o.out, floatTypes),
    Tensor: o.Tensor === undefined ? undefined : checkConstructor('Tensor', o.Tensor),
    signal: o.signal === undefined ? undefined : checkSignal('signal', o.signal),
    device: o.device === undefined ? 'auto' : checkDevice('device', o.device),
    copyInputs: o.copyInputs === undefined ? 'small' : checkCopyInputs(o.copyInputs),
  };
  if (settings.updatesState) checkUpdate(settings);
  return settings;
}

function checkUpdate({ state, returnsState, signal }: DeltaSettings): void {
  if (!state) throw invalid('state', 'given with `updateState`', state);
  if (!isRowMajor(state) || !isOnHost(state)) {
    throw invalid('state', "row-major and in the process's memory with `updateState`", state);
  }
  if (returnsState) throw invalid('returnState', 'left out with `updateState`: `state` itself is updated', true);
  if (signal) throw invalid('signal', 'left out with `updateState`', signal);
}
