// The request of linear attention: which shapes fit, and what crosses. Reader: someone who adds an option or asks which
// shapes fit. Fields are those of binding/requests/linear.cc.

import { type Placement, placementOf } from '../../call/placement.js';
import { copiesInputs, Request, type RequestForm, type Results } from '../../call/request.js';
import { checkSame, checkSize, mismatch, type Shape } from '../../call/shape.js';
import { showDims, TilewiseRangeError, TilewiseTypeError } from '../../check/errors.js';
import { maxTokens } from '../../check/validate.js';
import { dataTypeCode } from '../../native/native.js';
import { Op } from '../../native/op.js';
import { axesOf, layoutWords } from '../../tensor/axes.js';
import { toDense } from '../../tensor/dense.js';
import type { Named } from '../../tensor/leases.js';
import { Tensor } from '../../tensor/tensor.js';
import type { FloatType, TensorConstructor, TensorLike } from '../../tensor/types.js';
import { allocate, floatTypes, isOnHost, isRowMajor, readTensor, sizeOf, type View } from '../../tensor/views.js';
import { checkRunningTotals } from '../attention/modifiers.js';
import { type FeatureMap, featureMaps, type LinearSettings } from './options.js';

/** The op, for whoever runs a request of prepareLinear(). */
export const linearOp = new Op('linear');

const field = {
  device: linearOp.field('device'),
  batch: linearOp.field('batch'),
  queryHeads: linearOp.field('queryHeads'),
  kvHeads: linearOp.field('kvHeads'),
  queries: linearOp.field('queries'),
  keys: linearOp.field('keys'),
  headDim: linearOp.field('headDim'),
  valueDim: linearOp.field('valueDim'),
  type: linearOp.field('type'),
  sequences: linearOp.field('sequences'),
  featureMap: linearOp.field('featureMap'),
  isCausal: linearOp.field('isCausal'),
  isNormalized: linearOp.field('isNormalized'),
  scale: linearOp.field('scale'),
  eps: linearOp.field('eps'),
  chunk: linearOp.field('chunk'),
  decay: linearOp.field('decayOffset'),
  stateIn: linearOp.field('stateInOffset'),
  normalizerIn: linearOp.field('normalizerInOffset'),
  state: linearOp.field('stateOffset'),
  normalizer: linearOp.field('normalizerOffset'),
};
const slot = {
  decay: linearOp.view('decay'),
  stateIn: linearOp.view('stateIn'),
  normalizerIn: linearOp.view('normalizerIn'),
  state: linearOp.view('state'),
  normalizer: linearOp.view('normalizer'),
  cuSeqlens: linearOp.view('cuSeqlens'),
};
const place = {
  q: linearOp.place('query'),
  k: linearOp.place('key'),
  v: linearOp.place('value'),
  out: linearOp.place('out'),
};
const form: RequestForm = { fields: linearOp.fields, slots: linearOp.views, results: { out: place.out } };

/** The largest dims, as core/op/linear.h has them. */
const maxDim = 4096;
const maxTaylorDim = 64;

/** Sizes of a call. */
export interface LinearShape extends Omit<Shape, 'keyType'> {
  readonly sequences: number;
}

/** Rows of a state. */
export const featuresOf = (featureMap: FeatureMap, headDim: number): number =>
  featureMap === 'taylor2' ? 1 + headDim + (headDim * (headDim + 1)) / 2 : headDim;

/** Refuses head dims that a feature map has no room for. */
export function checkLinearDims(featureMap: FeatureMap, headDim: number, valueDim: number): void {
  checkSize('The dim of `q` and `k`', headDim, 1, featureMap === 'taylor2' ? maxTaylorDim : maxDim);
  checkSize('The dim of `v`', valueDim, 1, maxDim);
}

/** States that a call overwrites, in place of new ones: what LinearState has. */
export interface OwnStates {
  readonly state: View;
  readonly normalizer: View | undefined;
}

/** A call ready to run. */
export interface LinearCall {
  readonly request: Request;
  readonly results: Results;
  readonly placement: Placement;
  readonly shape: LinearShape;
  /** New states, where they are wanted. */
  readonly states: { state?: object; normalizer?: object };
}

function readShape(q: View, k: View, v: View, { isHeadsFirst, isCausal, featureMap, cuSeqlens }: LinearSettings) {
  const rank = q.dims.length;
  if (rank !== 3 && rank !== 4) {
    throw mismatch(
      `\`q\` must have dims ${layoutWords(4, isHeadsFirst)} or ${layoutWords(3, isHeadsFirst)}, not ${showDims(q.dims)}`,
    );
  }
  for (const [name, view] of [
    ['k', k],
    ['v', v],
  ] as const) {
    if (view.type === q.type) continue;
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`${name}\` must have type ${q.type}, that of q, not ${view.type}`,
    );
  }
  const axes = axesOf(rank, isHeadsFirst);
  const length = (view: View, axis: number) => (axis < 0 ? 1 : view.dims[axis]);
  const agree =
    k.dims.length === rank &&
    v.dims.length === rank &&
    [k, v].every((view) => length(view, axes.batch) === length(q, axes.batch)) &&
    v.dims[axes.token] === k.dims[axes.token] &&
    v.dims[axes.head] === k.dims[axes.head] &&
    k.dims[axes.dim] === q.dims[axes.dim] &&
    (!isCausal || k.dims[axes.token] === q.dims[axes.token]);
  if (!agree) {
    throw mismatch(
      `\`q\` ${showDims(q.dims)}, \`k\` ${showDims(k.dims)} and \`v\` ${showDims(v.dims)} do not fit: they share the batch, ` +
        `q and k the dim, k and v tokens and heads${isCausal ? ', and a causal call has a key per query' : ''}`,
    );
  }
  const shape: LinearShape = {
    batch: length(q, axes.batch),
    sequences: cuSeqlens ? cuSeqlens.length - 1 : length(q, axes.batch),
    queryHeads: q.dims[axes.head],
    kvHeads: k.dims[axes.head],
    queries: q.dims[axes.token],
    keys: k.dims[axes.token],
    headDim: q.dims[axes.dim],
    valueDim: v.dims[axes.dim],
    type: q.type as FloatType,
  };
  checkSize('The batch', shape.batch, 0, maxTokens);
  checkSize('The number of KV heads', shape.kvHeads, 1, maxTokens);
  checkSize('The number of query heads', shape.queryHeads, 1, maxTokens);
  checkSize('The number of tokens', Math.max(shape.queries, shape.keys), 0, maxTokens);
  checkLinearDims(featureMap, shape.headDim, shape.valueDim);
  if (shape.queryHeads % shape.kvHeads !== 0) {
    throw mismatch(`${shape.kvHeads} KV heads do not divide ${shape.queryHeads} query heads`);
  }
  if (cuSeqlens) {
    if (shape.batch !== 1) throw mismatch(`Packed sequences have a batch of 1, but \`q\` has dims ${showDims(q.dims)}`);
    checkRunningTotals('cuSeqlens', cuSeqlens, shape.keys, 'k');
  }
  return shape;
}

/** Every number of a decay on the host is 0 or less. */
export function checkDecay(decay: View): void {
  if (!isOnHost(decay)) return;
  const { data, offset } = isRowMajor(decay) ? decay : toDense('decay', decay);
  const end = offset + sizeOf(decay.dims);
  for (let i = offset; i < end; ++i) {
    const value = data[i] as number;
    if (value <= 0) continue;
    throw new TilewiseRangeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`decay\` must be 0 or less in natural-log units, not ${value} (element ${i - offset})`,
    );
  }
}

/** Of a decay: strides by batch, token and head. */
export function decayStrides(decay: View, { batch, keys, kvHeads }: LinearShape): [number, number, number] {
  const { dims, strides } = decay;
  const isRank = (...wanted: number[]) => dims.length === wanted.length && dims.every((d, i) => d === wanted[i]);
  if (isRank(kvHeads)) return [0, 0, strides[0]];
  if (isRank(batch, keys, kvHeads)) return [strides[0], strides[1], strides[2]];
  if (batch === 1 && isRank(keys, kvHeads)) return [0, strides[0], strides[1]];
  throw mismatch(
    `\`decay\` must have dims [kvHeads] = [${kvHeads}], one per KV head, or [batch, tokens, kvHeads] = ` +
      `[${batch}, ${keys}, ${kvHeads}], not ${showDims(dims)}`,
  );
}

function putDecay(request: Request, decay: View, shape: LinearShape): void {
  const strides = decayStrides(decay, shape);
  checkDecay(decay);
  const { offset } = request.input('decay', slot.decay, decay);
  request.place(field.decay, offset, strides);
}

/** States that go in, and those that come out. */
function putStates(
  request: Request,
  settings: LinearSettings,
  shape: LinearShape,
  own: OwnStates | undefined,
): { state?: object; normalizer?: object } {
  const { featureMap, isNormalized, returnsState } = settings;
  const rows = [shape.sequences, shape.kvHeads, featuresOf(featureMap, shape.headDim)];
  const made: { state?: object; normalizer?: object } = {};
  const each = [
    { name: 'state', dims: [...rows, shape.valueDim], at: field.stateIn, to: field.state },
    { name: 'normalizer', dims: rows, at: field.normalizerIn, to: field.normalizer },
  ] as const;
  for (const { name, dims, at, to } of each) {
    if (name === 'normalizer' && !isNormalized) continue;
    const [slotIn, slotOut] = name === 'state' ? [slot.stateIn, slot.state] : [slot.normalizerIn, slot.normalizer];
    const given = own ? own[name] : settings[name];
    if (given) {
      checkSame(name, given, 'float32', dims);
      const dense = isRowMajor(given) || !isOnHost(given) ? given : toDense(name, given);
      request.numbers[at] = request.input(name, slotIn, given, dense).offset;
    }
    if (own) {
      request.numbers[to] = (given as View).offset;
      request.views[slotOut] = (given as View).data as never;
    } else if (returnsState) {
      const data = allocate('float32', sizeOf(dims));
      request.views[slotOut] = data;
      const Kind = (settings.Tensor ?? Tensor) as new (type: string, data: unknown, dims: number[]) => object;
      made[name] = new Kind('float32', data, [...dims]);
    }
  }
  return made;
}

/** What decides how a call is divided, besides its sizes. */
export type LinearRule = Pick<LinearSettings, 'featureMap' | 'isCausal' | 'isNormalized' | 'chunk'>;

function putSizes(numbers: Float64Array, shape: LinearShape, rule: LinearRule): void {
  numbers[field.batch] = shape.batch;
  numbers[field.queryHeads] = shape.queryHeads;
  numbers[field.kvHeads] = shape.kvHeads;
  numbers[field.queries] = shape.queries;
  numbers[field.keys] = shape.keys;
  numbers[field.headDim] = shape.headDim;
  numbers[field.valueDim] = shape.valueDim;
  numbers[field.type] = dataTypeCode(shape.type);
  numbers[field.sequences] = shape.sequences;
  numbers[field.featureMap] = featureMaps.indexOf(rule.featureMap);
  numbers[field.isCausal] = Number(rule.isCausal);
  numbers[field.isNormalized] = Number(rule.isNormalized);
  numbers[field.chunk] = rule.chunk;
}

/** A request without data, for native.linearPasses() of a device. */
export function describeLinear(shape: LinearShape, rule: LinearRule): (device: number) => Float64Array {
  const numbers = new Float64Array(linearOp.fields);
  putSizes(numbers, shape, rule);
  return (device) => {
    numbers[field.device] = device;
    return numbers;
  };
}

/** Reads the tensors of a call. @param own states that it overwrites */
export function prepareLinear(
  [qLike, kLike, vLike]: readonly [TensorLike, TensorLike, TensorLike],
  settings: LinearSettings,
  givenOut: object | undefined,
  own?: OwnStates,
): LinearCall {
  const q = readTensor('q', qLike, floatTypes);
  const k = readTensor('k', kLike, floatTypes);
  const v = readTensor('v', vLike, floatTypes);
  const shape = readShape(q, k, v, settings);
  const { isHeadsFirst, decay, out, cuSeqlens } = settings;
  const named: Named[] = [
    { name: 'q', view: q },
    { name: 'k', view: k },
    { name: 'v', view: v },
  ];
  for (const [name, view] of [
    ['decay', decay],
    ['state', own?.state ?? settings.state],
    ['normalizer', own?.normalizer ?? settings.normalizer],
  ] as const) {
    if (view) named.push({ name, view });
  }
  const placement = placementOf(settings.device, out ? [...named, { name: 'out', view: out }] : named);
  const request = new Request(form, copiesInputs(settings.copyInputs, named));
  const { numbers } = request;
  putSizes(numbers, shape, settings);
  numbers[field.scale] = settings.scale;
  numbers[field.eps] = settings.eps;
  request.operand('q', place.q, q, isHeadsFirst);
  request.operand('k', place.k, k, isHeadsFirst);
  request.operand('v', place.v, v, isHeadsFirst);
  if (decay) putDecay(request, decay, shape);
  request.views[slot.cuSeqlens] = cuSeqlens;
  const states = putStates(request, settings, shape, own);
  const outDims = [...q.dims];
  outDims[axesOf(outDims.length, isHeadsFirst).dim] = shape.valueDim;
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
  return { request, results, placement, shape, states };
}
