// rotate(): rotary position embedding of queries or keys.
// Reader: someone who prepares what attention() or a cache takes. frequencies.ts has the rules, core/op/rotary.h what is
// done to a row; idea: RoPE (arXiv 2104.09864).

import { fly, refuseSignal } from '../../call/flight.js';
import { splitHeads, unmergeable } from '../../call/heads.js';
import { onDevice, type Placement, placementOf } from '../../call/placement.js';
import { type CopyInputs, copiesInputs, Request, type RequestForm, type Results } from '../../call/request.js';
import { checkSame, checkSize, mismatch } from '../../call/shape.js';
import { showDims, TilewiseTypeError } from '../../check/errors.js';
import { checkBoolean, checkInteger, checkNames, checkOneOf, maxTokens, namesOf } from '../../check/validate.js';
import { dataTypeCode } from '../../native/native.js';
import { Op } from '../../native/op.js';
import { axesOf, layoutWords } from '../../tensor/axes.js';
import { checkDevice, cpu, type DeviceName } from '../../tensor/devices.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { TypedAs } from '../../tensor/typed.js';
import type { ElementOf, FloatType, TensorConstructor, TensorLike } from '../../tensor/types.js';
import { floatTypes, readTensor, type View } from '../../tensor/views.js';
import { checkConstructor, checkCopyInputs, checkSignal, type Layout, layouts } from '../attention/options.js';
import { type Frequencies, type RotaryOptions, readDims, readFrequencies } from './frequencies.js';
import { type NumberArray, type Rows, readRows } from './positions.js';

/** What rotate() can be told. */
export interface RotateOptions<T = Tensor> extends RotaryOptions {
  /** Positions of the tokens, [tokens] or [batch, tokens], any numbers; default 0, 1, 2 and so on. */
  positions?: NumberArray;
  /** In place of `theta` and `scaling`: angles of a position, [dims / 2] or [heads, dims / 2]. */
  frequencies?: NumberArray;
  /** Axes of the tensor and of `out`: `'bnhd'` (default) or `'bhnd'`. */
  layout?: Layout;
  /** Heads of the tensor when heads and dim are one axis: [batch, tokens, heads * headDim]. */
  heads?: number;
  /** Where to write: the type and dims of the tensor. The tensor itself, or no memory in common with it. */
  out?: TensorLike;
  /** Class of the result. */
  Tensor?: TensorConstructor<T>;
  /** Cancels an asynchronous call. */
  signal?: AbortSignal;
  /** As in attention(), but tensors in the process's memory are rotated on the CPU unless this says otherwise. */
  device?: DeviceName;
  /** Asynchronous calls: copy the tensor first, as in attention(). */
  copyInputs?: CopyInputs;
}

const optionNames = namesOf<RotateOptions>({
  positions: 1,
  theta: 1,
  dims: 1,
  interleaved: 1,
  scaling: 1,
  frequencies: 1,
  layout: 1,
  heads: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  device: 1,
  copyInputs: 1,
});

const op = new Op('rotary');

export { op as rotaryOp };

const field = {
  batch: op.field('batch'),
  tokens: op.field('tokens'),
  heads: op.field('heads'),
  headDim: op.field('headDim'),
  pairs: op.field('pairs'),
  isInterleaved: op.field('isInterleaved'),
  type: op.field('type'),
  positionsByBatch: op.field('positionsByBatch'),
  frequenciesByHead: op.field('frequenciesByHead'),
  factor: op.field('factor'),
};
const slot = { positions: op.view('positions'), frequencies: op.view('frequencies') };
const place = {
  in: op.place('in'),
  out: op.place('out'),
};
const form: RequestForm = { fields: op.fields, slots: op.views, results: { out: place.out } };

/** The result for a tensor of type `X`, of the class of `T`. */
type RotatedOf<X, T> = TypedAs<T, ElementOf<X>>;

/**
 * Rotary position embedding (RoPE, arXiv 2104.09864) of queries or keys: the dims of each head are pairs, and pair (a, b) of the
 * token at position p becomes (a cos x - b sin x, a sin x + b cos x) with x = p * frequency. Angles are float64, so that far
 * positions lose nothing.
 *
 * @param tensor [batch, tokens, heads, headDim] or as `layout` says, without the batch [tokens, heads, headDim]; float32,
 *   float16 or bfloat16, any strides
 * @param options see RotateOptions
 * @returns a tensor of the same type and dims, or the `out` that was passed; rejects with TypeError, RangeError or
 *   TilewiseError as attention() does
 */
export async function rotate<const X extends TensorLike, T = Tensor>(
  tensor: X,
  options: RotateOptions<T> = {},
): Promise<RotatedOf<X, T>> {
  const { request, results, placement, signal } = prepareRotation('rotate()', tensor, options, true);
  try {
    await fly(placement, (device) => op.submit(device, request), results.lent, signal);
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap().out as RotatedOf<X, T>;
}

/**
 * rotate() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what rotate() rejects with
 */
export function rotateSync<const X extends TensorLike, T = Tensor>(
  tensor: X,
  options: RotateOptions<T> = {},
): RotatedOf<X, T> {
  return turnSync(tensor, options) as RotatedOf<X, T>;
}

/**
 * rotateSync() by frequencies that have been read, in place of those of its options.
 * @param known undefined: those of the options
 */
export function turnSync(tensor: TensorLike, options: RotateOptions<unknown>, known?: Frequencies): object {
  const { request, results, placement, signal } = prepareRotation('rotateSync()', tensor, options, false, known);
  refuseSignal('rotateSync()', signal);
  try {
    onDevice(placement, (device) => op.run(device, request));
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap().out;
}

/** A call ready to run. */
export interface Rotation {
  readonly request: Request;
  readonly results: Results;
  readonly placement: Placement;
  readonly signal: AbortSignal | undefined;
}

/** Lays out a call of rotate(); `where` names the function in messages. */
export function prepareRotation(
  where: string,
  like: TensorLike,
  o: RotateOptions<unknown>,
  mayCopy: boolean,
  known?: Frequencies,
): Rotation {
  checkNames(where, o, optionNames);
  const isHeadsFirst = o.layout !== undefined && checkOneOf('layout', o.layout, layouts) === 'bhnd';
  const heads = o.heads === undefined ? undefined : checkInteger('heads', o.heads, 1, maxTokens);
  const isInterleaved = o.interleaved !== undefined && checkBoolean('interleaved', o.interleaved);
  const Tensor = o.Tensor === undefined ? undefined : checkConstructor('Tensor', o.Tensor);
  const signal = o.signal === undefined ? undefined : checkSignal('signal', o.signal);
  const device = o.device === undefined ? 'auto' : checkDevice('device', o.device);
  const copyInputs = o.copyInputs === undefined ? 'small' : checkCopyInputs(o.copyInputs);
  const given = readTensor('tensor', like, floatTypes);
  const out = o.out === undefined ? undefined : readTensor('out', o.out, floatTypes);
  const split = (view: View) => (heads === undefined ? view : splitHeads(view, heads));
  checkRank(given, heads, isHeadsFirst);
  if (out) checkSame('out', out, given.type, given.dims);
  const view = split(given);

  const named = [{ name: 'tensor', view: given }];
  const placement = placementOf(device, out ? [...named, { name: 'out', view: out }] : named, cpu);
  const request = new Request(form, mayCopy && copiesInputs(copyInputs, named));
  putSizes(request, view, o, isHeadsFirst, known);
  request.numbers[field.isInterleaved] = Number(isInterleaved);
  request.operand('tensor', place.in, view, isHeadsFirst);
  const results = request.results({
    given: o.out,
    out: out && split(out),
    replaces: 'tensor',
    isHeadsFirst,
    type: given.type as FloatType,
    outDims: [...view.dims],
    shownDims: [...given.dims],
    lseDims: undefined,
    Tensor,
    device: placement.results,
  });
  return { request, results, placement, signal };
}

/** Sizes, positions and frequencies. */
function putSizes(
  { numbers, views }: Request,
  view: View,
  o: RotateOptions<unknown>,
  isHeadsFirst: boolean,
  known: Frequencies | undefined,
): void {
  const { dims } = view;
  const axes = axesOf(dims.length, isHeadsFirst);
  const [batch, tokens, heads, headDim] = [
    axes.batch < 0 ? 1 : dims[axes.batch],
    dims[axes.token],
    dims[axes.head],
    dims[axes.dim],
  ];
  checkSize('The batch', batch, 0, maxTokens);
  checkSize('The number of tokens', tokens, 0, maxTokens);
  checkSize('The number of heads', heads, 1, maxTokens);
  checkSize('The dim of `tensor`', headDim, 2, maxTokens);
  const { frequencies, factor } = readTurns(o, heads, headDim, known);
  const positions =
    o.positions === undefined
      ? { data: Float64Array.from({ length: tokens }, (_, t) => t), stride: 0 }
      : readRows('positions', o.positions, batch, tokens);
  numbers[field.batch] = batch;
  numbers[field.tokens] = tokens;
  numbers[field.heads] = heads;
  numbers[field.headDim] = headDim;
  numbers[field.pairs] = readDims(o.dims, headDim) / 2;
  numbers[field.type] = dataTypeCode(view.type);
  numbers[field.positionsByBatch] = positions.stride;
  numbers[field.frequenciesByHead] = frequencies.stride;
  numbers[field.factor] = factor;
  views[slot.positions] = positions.data;
  views[slot.frequencies] = frequencies.data;
}

/** How fast the pairs of each head turn, and what turned numbers are multiplied by. */
function readTurns(
  o: RotateOptions<unknown>,
  heads: number,
  headDim: number,
  known: Frequencies | undefined,
): { frequencies: Rows; factor: number } {
  if (o.frequencies === undefined) {
    const { frequencies, attentionFactor } = known ?? readFrequencies(o, headDim);
    return { frequencies: { data: frequencies, stride: 0 }, factor: attentionFactor };
  }
  for (const name of ['theta', 'scaling'] as const) {
    if (o[name] === undefined) continue;
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${name}\` does not go with \`frequencies\`, which stand in its place; leave one of them out`,
    );
  }
  return { frequencies: readRows('frequencies', o.frequencies, heads, readDims(o.dims, headDim) / 2), factor: 1 };
}

function checkRank({ dims }: View, heads: number | undefined, isHeadsFirst: boolean): void {
  if (heads === undefined) {
    if (dims.length === 3 || dims.length === 4) return;
    throw mismatch(
      `\`tensor\` must have dims ${layoutWords(4, isHeadsFirst)} or ${layoutWords(3, isHeadsFirst)}, not ${showDims(dims)}`,
    );
  }
  if (isHeadsFirst) throw unmergeable('heads', "`layout` 'bhnd'");
  if (dims.length === 3 && dims[2] % heads === 0) return;
  throw mismatch(
    `\`tensor\` must have dims [batch, tokens, heads * headDim] with \`heads\` ${heads}, not ${showDims(dims)}`,
  );
}
