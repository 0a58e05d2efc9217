// cumulativeAttention(): for every token the softmax of the scores so far, over their values. Reader: someone who runs Aaren, or
// wants a running mean. core/op/cumulative.h has the rule; idea: Attention as an RNN (arXiv 2405.13956).

import { fly, refuseSignal } from '../call/flight.js';
import { onDevice, type Placement, placementOf } from '../call/placement.js';
import { type CopyInputs, copiesInputs, Request, type RequestForm, type Results } from '../call/request.js';
import { checkSame, checkSize, mismatch } from '../call/shape.js';
import { showDims } from '../check/errors.js';
import { checkBoolean, checkNames, checkOneOf, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { dataTypeCode } from '../native/native.js';
import { Op } from '../native/op.js';
import { axesOf, layoutWords } from '../tensor/axes.js';
import { toDense } from '../tensor/dense.js';
import { checkDevice, type DeviceName } from '../tensor/devices.js';
import { Tensor } from '../tensor/tensor.js';
import type { TypedAs } from '../tensor/typed.js';
import type { ElementOf, FloatType, TensorConstructor, TensorLike } from '../tensor/types.js';
import { allocate, floatTypes, isOnHost, isRowMajor, readTensor, sizeOf, type View } from '../tensor/views.js';
import { checkConstructor, checkCopyInputs, checkSignal, type Layout, layouts } from './attention/options.js';

/** What cumulativeAttention() goes on from: three float32 tensors, e^max taken out of `sum` and `weighted`. */
export interface CumulativeState<T extends TensorLike = TensorLike> {
  /** The largest score so far, [batch, heads]; -Infinity before any token. */
  readonly max: T;
  /** Sum of e^(score - max), [batch, heads]. */
  readonly sum: T;
  /** Sum of e^(score - max) v, [batch, heads, valueDim]. */
  readonly weighted: T;
}

/** What cumulativeAttention() can be told. */
export interface CumulativeOptions<T = Tensor> {
  /** The state to go on from; default: no token yet. */
  state?: CumulativeState;
  /** Whether to return the state after the last token. */
  returnState?: boolean;
  /** Whether to return the log-sum-exp of every row. */
  returnLse?: boolean;
  /** Axes of v and out: `'bnhd'` (default) or `'bhnd'`. Scores are [batch, tokens, heads] either way. */
  layout?: Layout;
  /** Where to write the output; no memory in common with the inputs. */
  out?: TensorLike;
  /** Class of `out` and `lse`. */
  Tensor?: TensorConstructor<T>;
  /** Cancels an asynchronous call. */
  signal?: AbortSignal;
  /** As in attention(). */
  device?: DeviceName;
  /** Asynchronous calls: copy the inputs first, as in attention(). */
  copyInputs?: CopyInputs;
}

/** What cumulativeAttention() returns for values of type `V`, of the class of `T`. */
export interface CumulativeResult<V, T> {
  /** The dims and type of v. */
  out: TypedAs<T, ElementOf<V>>;
  /** With `returnLse`: [batch, heads, tokens] float32, natural logarithm; -Infinity where all scores are. */
  lse?: TypedAs<T, 'float32'>;
  /** With `returnState`. */
  state?: CumulativeState<Tensor<'float32'>>;
}

const optionNames = namesOf<CumulativeOptions>({
  state: 1,
  returnState: 1,
  returnLse: 1,
  layout: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  device: 1,
  copyInputs: 1,
});
const op = new Op('cumulative');
const field = {
  device: op.field('device'),
  batch: op.field('batch'),
  tokens: op.field('tokens'),
  heads: op.field('heads'),
  valueDim: op.field('valueDim'),
  type: op.field('type'),
  scores: op.field('scoresOffset'),
};
const place = {
  value: op.place('value'),
  out: op.place('out'),
  lse: op.place('lse'),
};
const scoresSlot = op.view('scores');
/** Parts of a state: where they go in and come out. */
const parts = {
  max: { field: op.field('maxBeforeOffset'), slot: op.view('maxBefore'), to: op.view('max') },
  sum: { field: op.field('sumBeforeOffset'), slot: op.view('sumBefore'), to: op.view('sum') },
  weighted: { field: op.field('weightedBeforeOffset'), slot: op.view('weightedBefore'), to: op.view('weighted') },
};
const form: RequestForm = { fields: op.fields, slots: op.views, results: { out: place.out, lse: place.lse } };
type PartName = keyof typeof parts;
const partNames = Object.keys(parts) as PartName[];

/**
 * Softmax over all tokens so far, for every token: out_t = sum of e^score_j v_j over j <= t, divided by the sum of e^score_j
 * (Aaren, arXiv 2405.13956). Scores of 0 make it the running mean of v; a score of -Infinity hides its token, and a row that sees
 * none is 0.
 * @param scores [batch, tokens, heads] float32, without the batch [tokens, heads]; any strides
 * @param v [batch, tokens, heads, valueDim] or as `layout` says, without the batch [tokens, heads, valueDim]; float32, float16 or
 *   bfloat16, any strides
 * @param options see CumulativeOptions
 * @returns `{ out }`, with `lse` and `state` where they are asked for; rejects with TypeError or RangeError
 *   (ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_INVALID_TENSOR, ERR_TILEWISE_SHAPE_MISMATCH,
 *   ERR_TILEWISE_DTYPE, ERR_TILEWISE_OVERLAP) or TilewiseError (ERR_TILEWISE_NO_DEVICE)
 */
export async function cumulativeAttention<const V extends TensorLike, T = Tensor>(
  scores: TensorLike,
  v: V,
  options: CumulativeOptions<T> = {},
): Promise<CumulativeResult<V, T>> {
  const call = prepare('cumulativeAttention()', scores, v, options, true);
  try {
    await fly(call.placement, (device) => op.submit(device, call.request), call.results.lent, call.signal);
  } catch (error) {
    call.results.discard();
    throw error;
  }
  return resultOf(call);
}

/**
 * cumulativeAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what cumulativeAttention() rejects with
 */
export function cumulativeAttentionSync<const V extends TensorLike, T = Tensor>(
  scores: TensorLike,
  v: V,
  options: CumulativeOptions<T> = {},
): CumulativeResult<V, T> {
  const call = prepare('cumulativeAttentionSync()', scores, v, options, false);
  refuseSignal('cumulativeAttentionSync()', call.signal);
  try {
    onDevice(call.placement, (device) => op.run(device, call.request));
  } catch (error) {
    call.results.discard();
    throw error;
  }
  return resultOf(call);
}

/** A call ready to run. */
interface Call {
  readonly request: Request;
  readonly results: Results;
  readonly placement: Placement;
  readonly signal: AbortSignal | undefined;
  readonly state: Record<PartName, Tensor<'float32'>> | undefined;
}

const resultOf = <V, T>({ results, state }: Call): CumulativeResult<V, T> =>
  ({ ...results.wrap(), ...(state && { state }) }) as CumulativeResult<V, T>;

interface Sizes {
  readonly batch: number;
  readonly tokens: number;
  readonly heads: number;
  readonly valueDim: number;
}

function sizesOf(v: View, isHeadsFirst: boolean): Sizes {
  const { dims } = v;
  if (dims.length !== 3 && dims.length !== 4) {
    throw mismatch(
      `\`v\` must have dims ${layoutWords(4, isHeadsFirst)} or ${layoutWords(3, isHeadsFirst)}, not ${showDims(dims)}`,
    );
  }
  const axes = axesOf(dims.length, isHeadsFirst);
  const sizes = {
    batch: axes.batch < 0 ? 1 : dims[axes.batch],
    tokens: dims[axes.token],
    heads: dims[axes.head],
    valueDim: dims[axes.dim],
  };
  checkSize('The batch', sizes.batch, 0, maxTokens);
  checkSize('The number of tokens', sizes.tokens, 0, maxTokens);
  checkSize('The number of heads', sizes.heads, 1, maxTokens);
  checkSize('The dim of `v`', sizes.valueDim, 1, maxTokens);
  return sizes;
}

const dimsOfPart = (name: PartName, { batch, heads, valueDim }: Sizes): number[] =>
  name === 'weighted' ? [batch, heads, valueDim] : [batch, heads];

function readState(state: unknown): Record<PartName, View> {
  if (!is.object(state)) throw invalid('state', 'an object { max, sum, weighted }', state);
  const read = (name: PartName) => readTensor(`state.${name}`, state[name], ['float32']);
  return { max: read('max'), sum: read('sum'), weighted: read('weighted') };
}

function putSizes(numbers: Float64Array, { batch, tokens, heads, valueDim, type }: Sizes & { type: string }): void {
  numbers[field.batch] = batch;
  numbers[field.tokens] = tokens;
  numbers[field.heads] = heads;
  numbers[field.valueDim] = valueDim;
  numbers[field.type] = dataTypeCode(type);
}

/** A request without data, for native.cumulativePasses() of a device. */
export function describeCumulative(sizes: Sizes & { type: string }): (device: number) => Float64Array {
  const numbers = new Float64Array(op.fields);
  putSizes(numbers, sizes);
  return (device) => {
    numbers[field.device] = device;
    return numbers;
  };
}

function prepare(
  where: string,
  scoresLike: TensorLike,
  vLike: TensorLike,
  o: CumulativeOptions<unknown>,
  mayCopy: boolean,
): Call {
  checkNames(where, o, optionNames);
  const isHeadsFirst = o.layout !== undefined && checkOneOf('layout', o.layout, layouts) === 'bhnd';
  const returnsState = o.returnState !== undefined && checkBoolean('returnState', o.returnState);
  const returnsLse = o.returnLse !== undefined && checkBoolean('returnLse', o.returnLse);
  const ResultTensor = o.Tensor === undefined ? undefined : checkConstructor('Tensor', o.Tensor);
  const signal = o.signal === undefined ? undefined : checkSignal('signal', o.signal);
  const device = o.device === undefined ? 'auto' : checkDevice('device', o.device);
  const copyInputs = o.copyInputs === undefined ? 'small' : checkCopyInputs(o.copyInputs);
  const scores = readTensor('scores', scoresLike, ['float32']);
  const v = readTensor('v', vLike, floatTypes);
  const state = o.state === undefined ? undefined : readState(o.state);
  const out = o.out === undefined ? undefined : readTensor('out', o.out, floatTypes);
  const sizes = sizesOf(v, isHeadsFirst);
  const { batch, tokens, heads } = sizes;
  const isPacked = v.dims.length === 3;
  checkSame('scores', scores, 'float32', isPacked ? [tokens, heads] : [batch, tokens, heads]);
  if (state) for (const name of partNames) checkSame(`state.${name}`, state[name], 'float32', dimsOfPart(name, sizes));
  if (out) checkSame('out', out, v.type, v.dims);

  const named = [
    { name: 'v', view: v },
    { name: 'scores', view: scores },
  ];
  if (state) for (const name of partNames) named.push({ name: `state.${name}`, view: state[name] });
  const placement = placementOf(device, out ? [...named, { name: 'out', view: out }] : named);
  const request = new Request(form, mayCopy && copiesInputs(copyInputs, named));
  const { numbers, views } = request;
  putSizes(numbers, { ...sizes, type: v.type });
  const given = request.input('scores', scoresSlot, scores);
  request.place(field.scores, given.offset, isPacked ? [0, ...given.strides] : given.strides);
  request.operand('v', place.value, v, isHeadsFirst);
  const after: Partial<Record<PartName, Tensor<'float32'>>> = {};
  for (const name of partNames) {
    const { field: offset, slot, to } = parts[name];
    if (state) {
      const view = state[name];
      const dense = isRowMajor(view) || !isOnHost(view) ? view : toDense(`state.${name}`, view);
      numbers[offset] = request.input(`state.${name}`, slot, view, dense).offset;
    }
    if (!returnsState) continue;
    const dims = dimsOfPart(name, sizes);
    const data = allocate('float32', sizeOf(dims)) as Float32Array<ArrayBuffer>;
    views[to] = data;
    after[name] = new Tensor('float32', data, dims);
  }
  const results = request.results({
    given: o.out,
    out,
    isHeadsFirst,
    type: v.type as FloatType,
    outDims: [...v.dims],
    shownDims: [...v.dims],
    lseDims: returnsLse ? (isPacked ? [heads, tokens] : [batch, heads, tokens]) : undefined,
    Tensor: ResultTensor,
    device: placement.results,
  });
  return { request, results, placement, signal, state: returnsState ? (after as Call['state']) : undefined };
}
