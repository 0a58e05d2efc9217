// The request of gatedDelta(): which shapes fit, and what crosses. Reader: someone who adds an option or asks which shapes
// fit. Fields are those of binding/requests/delta.cc.

import { type Placement, placementOf } from '../../call/placement.js';
import { copiesInputs, Request, type RequestForm, type Results } from '../../call/request.js';
import { checkSame, checkSize, mismatch } from '../../call/shape.js';
import { showDims, TilewiseTypeError } from '../../check/errors.js';
import { maxTokens } from '../../check/validate.js';
import { dataTypeCode } from '../../native/native.js';
import { Op } from '../../native/op.js';
import { axesOf, layoutWords } from '../../tensor/axes.js';
import { toDense } from '../../tensor/dense.js';
import { checkOverlaps, type Named } from '../../tensor/leases.js';
import { Tensor } from '../../tensor/tensor.js';
import type { FloatType, TensorConstructor, TensorLike } from '../../tensor/types.js';
import { allocate, floatTypes, isOnHost, isRowMajor, readTensor, sizeOf, type View } from '../../tensor/views.js';
import { checkRunningTotals } from '../attention/modifiers.js';
import { checkDecay } from '../linear/problem.js';
import type { DeltaSettings } from './options.js';

/** The op, for whoever runs a request of prepareDelta(). */
export const deltaOp = new Op('delta');

const field = {
  device: deltaOp.field('device'),
  batch: deltaOp.field('batch'),
  queryHeads: deltaOp.field('queryHeads'),
  keyHeads: deltaOp.field('keyHeads'),
  valueHeads: deltaOp.field('valueHeads'),
  tokens: deltaOp.field('tokens'),
  headDim: deltaOp.field('headDim'),
  valueDim: deltaOp.field('valueDim'),
  type: deltaOp.field('type'),
  sequences: deltaOp.field('sequences'),
  hasUnitRows: deltaOp.field('hasUnitRows'),
  scale: deltaOp.field('scale'),
  chunk: deltaOp.field('chunk'),
  beta: deltaOp.field('betaOffset'),
  decay: deltaOp.field('decayOffset'),
  stateIn: deltaOp.field('stateInOffset'),
  state: deltaOp.field('stateOffset'),
};
const slot = {
  beta: deltaOp.view('beta'),
  decay: deltaOp.view('decay'),
  stateIn: deltaOp.view('stateIn'),
  state: deltaOp.view('state'),
  cuSeqlens: deltaOp.view('cuSeqlens'),
};
const place = {
  q: deltaOp.place('query'),
  k: deltaOp.place('key'),
  v: deltaOp.place('value'),
  out: deltaOp.place('out'),
};
const form: RequestForm = { fields: deltaOp.fields, slots: deltaOp.views, results: { out: place.out } };

/** The largest dims, as core/op/delta.h has them. */
const maxDim = 4096;

export interface DeltaShape {
  readonly batch: number;
  readonly sequences: number;
  readonly queryHeads: number;
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly tokens: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly type: FloatType;
}

/** A call ready to run. */
export interface DeltaCall {
  readonly request: Request;
  readonly results: Results;
  readonly placement: Placement;
  /** The new state, where it is wanted. */
  readonly state: object | undefined;
  /** The caller's state, where the call overwrites it. */
  readonly updated: Named | undefined;
}

function readShape(q: View, k: View, v: View, { isHeadsFirst, cuSeqlens }: DeltaSettings): DeltaShape {
  const rank = q.dims.length;
  if (rank !== 3 && rank !== 4) {
    throw mismatch(
      `\`q\` must have dims ${layoutWords(4, isHeadsFirst)} or ${layoutWords(3, isHeadsFirst)}, not ${showDims(q.dims)}`,
    );
  }
  for (const [name, view] of Object.entries({ k, v })) {
    if (view.type === q.type) continue;
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`${name}\` must have type ${q.type}, that of q, not ${view.type}`,
    );
  }
  const axes = axesOf(rank, isHeadsFirst);
  const length = (view: View, axis: number) => (axis < 0 ? 1 : view.dims[axis]);
  const agree =
    [k, v].every(
      (view) =>
        view.dims.length === rank &&
        length(view, axes.batch) === length(q, axes.batch) &&
        view.dims[axes.token] === q.dims[axes.token],
    ) && k.dims[axes.dim] === q.dims[axes.dim];
  if (!agree) {
    throw mismatch(
      `\`q\` ${showDims(q.dims)}, \`k\` ${showDims(k.dims)} and \`v\` ${showDims(v.dims)} do not fit: they share the batch ` +
        'and the tokens, q and k the dim',
    );
  }
  const shape: DeltaShape = {
    batch: length(q, axes.batch),
    sequences: cuSeqlens ? cuSeqlens.length - 1 : length(q, axes.batch),
    queryHeads: q.dims[axes.head],
    keyHeads: k.dims[axes.head],
    valueHeads: v.dims[axes.head],
    tokens: q.dims[axes.token],
    headDim: q.dims[axes.dim],
    valueDim: v.dims[axes.dim],
    type: q.type as FloatType,
  };
  checkSize('The batch', shape.batch, 0, maxTokens);
  checkSize('The number of tokens', shape.tokens, 0, maxTokens);
  checkSize('The dim of `q` and `k`', shape.headDim, 1, maxDim);
  checkSize('The dim of `v`', shape.valueDim, 1, maxDim);
  checkHeads(shape);
  if (cuSeqlens) {
    if (shape.batch !== 1) throw mismatch(`Packed sequences have a batch of 1, but \`q\` has dims ${showDims(q.dims)}`);
    checkRunningTotals('cuSeqlens', cuSeqlens, shape.tokens, 'k');
  }
  return shape;
}

function checkHeads({ queryHeads, keyHeads, valueHeads }: DeltaShape): void {
  checkSize('The number of query heads', queryHeads, 1, maxTokens);
  checkSize('The number of key heads', keyHeads, 1, maxTokens);
  checkSize('The number of value heads', valueHeads, 1, maxTokens);
  if (valueHeads % keyHeads !== 0)
    throw mismatch(`${keyHeads} heads of \`k\` do not divide ${valueHeads} heads of \`v\``);
  if (queryHeads % valueHeads !== 0 && valueHeads % queryHeads !== 0) {
    throw mismatch(`Of ${queryHeads} heads of \`q\` and ${valueHeads} heads of \`v\` one number must divide the other`);
  }
}

/** Of numbers per token and value head, or of a decay per value head: strides by batch, token and head. */
function stridesOf(name: string, { dims, strides }: View, { batch, tokens, valueHeads }: DeltaShape): number[] {
  const isRank = (...wanted: number[]) => dims.length === wanted.length && dims.every((d, i) => d === wanted[i]);
  if (isRank(batch, tokens, valueHeads)) return [...strides];
  if (batch === 1 && isRank(tokens, valueHeads)) return [0, ...strides];
  if (name === 'decay' && isRank(valueHeads)) return [0, 0, ...strides];
  throw mismatch(
    `\`${name}\` must have dims [batch, tokens, valueHeads] = [${batch}, ${tokens}, ${valueHeads}]` +
      `${name === 'decay' ? ` or [valueHeads] = [${valueHeads}]` : ''}, not ${showDims(dims)}`,
  );
}

function putNumbers(request: Request, name: 'beta' | 'decay', view: View, shape: DeltaShape): void {
  const strides = stridesOf(name, view, shape);
  request.place(field[name], request.input(name, slot[name], view).offset, strides);
}

/** The state that goes in, and the one that comes out. */
function putStates(
  request: Request,
  { state, returnsState, updatesState, Tensor: Class }: DeltaSettings,
  { sequences, valueHeads, headDim, valueDim }: DeltaShape,
): object | undefined {
  const dims = [sequences, valueHeads, headDim, valueDim];
  if (state) {
    checkSame('state', state, 'float32', dims);
    const dense = isRowMajor(state) || !isOnHost(state) ? state : toDense('state', state);
    request.numbers[field.stateIn] = request.input('state', slot.stateIn, state, dense).offset;
  }
  if (updatesState) {
    request.numbers[field.state] = (state as View).offset;
    request.views[slot.state] = (state as View).data as never;
  }
  if (!returnsState) return undefined;
  const data = allocate('float32', sizeOf(dims));
  request.views[slot.state] = data;
  return new ((Class ?? Tensor) as new (type: string, data: unknown, dims: number[]) => object)('float32', data, dims);
}

function putSizes(numbers: Float64Array, shape: DeltaShape, chunk: number): void {
  numbers[field.batch] = shape.batch;
  numbers[field.queryHeads] = shape.queryHeads;
  numbers[field.keyHeads] = shape.keyHeads;
  numbers[field.valueHeads] = shape.valueHeads;
  numbers[field.tokens] = shape.tokens;
  numbers[field.headDim] = shape.headDim;
  numbers[field.valueDim] = shape.valueDim;
  numbers[field.type] = dataTypeCode(shape.type);
  numbers[field.sequences] = shape.sequences;
  numbers[field.chunk] = chunk;
}

/** A request without data, for native.deltaPasses() of a device. */
export function describeDelta(shape: DeltaShape, chunk: number): (device: number) => Float64Array {
  checkHeads(shape);
  const numbers = new Float64Array(deltaOp.fields);
  putSizes(numbers, shape, chunk);
  return (device) => {
    numbers[field.device] = device;
    return numbers;
  };
}

/** Reads the tensors of a call. */
export function prepareDelta(
  [qLike, kLike, vLike]: readonly [TensorLike, TensorLike, TensorLike],
  settings: DeltaSettings,
  givenOut: object | undefined,
): DeltaCall {
  const q = readTensor('q', qLike, floatTypes);
  const k = readTensor('k', kLike, floatTypes);
  const v = readTensor('v', vLike, floatTypes);
  const shape = readShape(q, k, v, settings);
  const { isHeadsFirst, beta, decay, state, out } = settings;
  const others: Named[] = [
    { name: 'q', view: q },
    { name: 'k', view: k },
    { name: 'v', view: v },
    { name: 'beta', view: beta },
  ];
  if (decay) others.push({ name: 'decay', view: decay });
  const named = state ? [...others, { name: 'state', view: state }] : others;
  const placement = placementOf(settings.device, out ? [...named, { name: 'out', view: out }] : named);
  const request = new Request(form, copiesInputs(settings.copyInputs, named));
  const { numbers } = request;
  putSizes(numbers, shape, settings.chunk);
  numbers[field.hasUnitRows] = Number(settings.hasUnitRows);
  numbers[field.scale] = settings.scale ?? shape.headDim ** -0.5;
  request.operand('q', place.q, q, isHeadsFirst);
  request.operand('k', place.k, k, isHeadsFirst);
  request.operand('v', place.v, v, isHeadsFirst);
  putNumbers(request, 'beta', beta, shape);
  if (decay) {
    putNumbers(request, 'decay', decay, shape);
    checkDecay(decay);
  }
  request.views[slot.cuSeqlens] = settings.cuSeqlens;
  const newState = putStates(request, settings, shape);
  const updated = settings.updatesState ? { name: 'state', view: state as View } : undefined;
  if (updated) checkOverlaps(others, updated);
  const outDims = [...q.dims];
  const axes = axesOf(outDims.length, isHeadsFirst);
  outDims[axes.head] = Math.max(shape.queryHeads, shape.valueHeads);
  outDims[axes.dim] = shape.valueDim;
  if (out) checkSame('out', out, shape.type, outDims);
  const results = request.results({
    given: givenOut,
    out,
    isHeadsFirst,
    type: shape.type,
    outDims,
    shownDims: outDims,
    lseDims: undefined,
    Tensor: settings.Tensor as TensorConstructor<object> | undefined,
    device: placement.results,
  });
  return { request, results, placement, state: newState, updated };
}
