// The options and the request of localLinearAttention() and parallaxAttention(). Reader: someone who adds an option or asks
// which shapes fit. Fields are those of binding/requests/local_linear.cc.

import { type Placement, placementOf } from '../../call/placement.js';
import { type CopyInputs, copiesInputs, Request, type RequestForm, type Results } from '../../call/request.js';
import { checkSame, mismatch, readShape } from '../../call/shape.js';
import { showDims, TilewiseTypeError } from '../../check/errors.js';
import {
  checkBoolean,
  checkInteger,
  checkNames,
  checkOneOf,
  invalid,
  is,
  maxTokens,
  namesOf,
} from '../../check/validate.js';
import { dataTypeCode } from '../../native/native.js';
import { Op } from '../../native/op.js';
import { axesOf, layoutWords } from '../../tensor/axes.js';
import { checkDevice, type DeviceName } from '../../tensor/devices.js';
import type { Named } from '../../tensor/leases.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { TensorConstructor, TensorLike } from '../../tensor/types.js';
import { floatTypes, readTensor, type View } from '../../tensor/views.js';
import { checkConstructor, checkCopyInputs, checkSignal, type Layout, layouts } from '../attention/options.js';

/** What parallaxAttention() can be told. */
export interface ParallaxOptions<T = Tensor> {
  /** Default true: bottom-right, the last query sees all keys. */
  causal?: boolean;
  /** Factor on q.k, not on r.k; default headDim^-0.5. */
  scale?: number;
  /** Axes of all tensors: `'bnhd'` (default) or `'bhnd'`. */
  layout?: Layout;
  /** Where to write the output; no memory in common with the inputs. */
  out?: TensorLike;
  /** Class of the result. */
  Tensor?: TensorConstructor<T>;
  /** Cancels an asynchronous call. */
  signal?: AbortSignal;
  /** As in attention(). */
  device?: DeviceName;
  /** Asynchronous calls: copy the inputs first, as in attention(). */
  copyInputs?: CopyInputs;
}

/** What localLinearAttention() can be told. */
export interface LocalLinearOptions<T = Tensor> extends ParallaxOptions<T> {
  /** Ridge: what is added to the diagonal of the keys' covariance, above 0. The larger, the nearer to softmax attention. */
  lambda: number;
  /** Steps of conjugate gradients per query, at most; default 32. Each costs about one attention. */
  iterations?: number;
  /** A query is done once its residual is at most this part of the first one, 0 or more; default 1e-6. 1e-8 counts as 0. */
  tolerance?: number;
}

const shared = { causal: 1, scale: 1, layout: 1, out: 1, Tensor: 1, signal: 1, device: 1, copyInputs: 1 } as const;
const parallaxNames = namesOf<ParallaxOptions>(shared);
const localLinearNames = namesOf<LocalLinearOptions>({ ...shared, lambda: 1, iterations: 1, tolerance: 1 });

/** The options, read one by one. */
export interface LocalLinearSettings {
  readonly isCausal: boolean;
  /** undefined: headDim^-0.5. */
  readonly scale: number | undefined;
  readonly lambda: number;
  readonly iterations: number;
  readonly tolerance: number;
  readonly isHeadsFirst: boolean;
  readonly out: View | undefined;
  readonly Tensor: TensorConstructor<object> | undefined;
  readonly signal: AbortSignal | undefined;
  readonly device: DeviceName;
  readonly copyInputs: CopyInputs;
}

function checkOptions(where: string, o: unknown, names: ReadonlySet<string>): void {
  if (is.object(o) && o.returnLse !== undefined) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_UNKNOWN_OPTION',
      `${where} has no option \`returnLse\`: its weights can be negative, so partial results do not merge`,
    );
  }
  checkNames(where, o, names);
}

export function readParallaxOptions(where: string, o: ParallaxOptions<unknown>): LocalLinearSettings {
  checkOptions(where, o, parallaxNames);
  return { ...readCommon(o), lambda: 0, iterations: 0, tolerance: 0 };
}

export function readLocalLinearOptions(where: string, o: LocalLinearOptions<unknown>): LocalLinearSettings {
  checkOptions(where, o, localLinearNames);
  const { lambda, iterations = 32, tolerance = 1e-6 } = o;
  if (!is.finite(lambda) || Math.fround(lambda) <= 0) {
    throw invalid('lambda', 'a finite number above 0 (without the correction call attention())', lambda);
  }
  if (!is.finite(tolerance) || tolerance < 0) throw invalid('tolerance', 'a finite number, 0 or more', tolerance);
  return { ...readCommon(o), lambda, iterations: checkInteger('iterations', iterations, 1, maxTokens), tolerance };
}

function readCommon(o: ParallaxOptions<unknown>): Omit<LocalLinearSettings, 'lambda' | 'iterations' | 'tolerance'> {
  if (o.scale !== undefined && !is.finite(o.scale)) throw invalid('scale', 'a finite number', o.scale);
  return {
    isCausal: o.causal === undefined || checkBoolean('causal', o.causal),
    scale: o.scale,
    isHeadsFirst: o.layout !== undefined && checkOneOf('layout', o.layout, layouts) === 'bhnd',
    out: o.out === undefined ? undefined : readTensor('out', o.out, floatTypes),
    Tensor: o.Tensor === undefined ? undefined : checkConstructor('Tensor', o.Tensor),
    signal: o.signal === undefined ? undefined : checkSignal('signal', o.signal),
    device: o.device === undefined ? 'auto' : checkDevice('device', o.device),
    copyInputs: o.copyInputs === undefined ? 'small' : checkCopyInputs(o.copyInputs),
  };
}

/** The op, for whoever runs a request of prepareLocalLinear(). */
export const localLinearOp = new Op('localLinear');

const fieldOf = (name: string) => localLinearOp.field(name);
const field = {
  batch: fieldOf('batch'),
  queryHeads: fieldOf('queryHeads'),
  kvHeads: fieldOf('kvHeads'),
  queries: fieldOf('queries'),
  keys: fieldOf('keys'),
  headDim: fieldOf('headDim'),
  valueDim: fieldOf('valueDim'),
  type: fieldOf('type'),
  isCausal: fieldOf('isCausal'),
  scale: fieldOf('scale'),
  lambda: fieldOf('lambda'),
  iterations: fieldOf('iterations'),
  tolerance: fieldOf('tolerance'),
};
const placeOf = (name: string) => ({ field: fieldOf(`${name}Offset`), slot: localLinearOp.view(name) });
const place = {
  q: placeOf('query'),
  k: placeOf('key'),
  v: placeOf('value'),
  r: placeOf('correction'),
  out: placeOf('out'),
};
const form: RequestForm = { fields: localLinearOp.fields, slots: localLinearOp.views, results: { out: place.out } };

/** A call ready to run. */
export interface LocalLinearCall {
  readonly request: Request;
  readonly results: Results;
  readonly placement: Placement;
  readonly signal: AbortSignal | undefined;
}

/** The tensors of a call; `r` only of parallaxAttention(). */
export interface LocalLinearTensors {
  readonly q: TensorLike;
  readonly k: TensorLike;
  readonly v: TensorLike;
  readonly r?: TensorLike;
}

/** Reads the tensors of a call. */
export function prepareLocalLinear(
  tensors: LocalLinearTensors,
  settings: LocalLinearSettings,
  givenOut: object | undefined,
): LocalLinearCall {
  const { isHeadsFirst, out } = settings;
  const q = readTensor('q', tensors.q, floatTypes);
  const k = readTensor('k', tensors.k, floatTypes);
  const v = readTensor('v', tensors.v, floatTypes);
  const r = 'r' in tensors ? readTensor('r', tensors.r, floatTypes) : undefined;
  const rank = q.dims.length;
  if (rank !== 3 && rank !== 4) {
    throw mismatch(
      `\`q\` must have dims ${layoutWords(4, isHeadsFirst)} or ${layoutWords(3, isHeadsFirst)}, not ${showDims(q.dims)}`,
    );
  }
  const axes = axesOf(rank, isHeadsFirst);
  const shape = readShape(q, k, v, axes);
  for (const [name, view] of Object.entries({ k, v })) {
    if (view.type === q.type) continue;
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`${name}\` must have type ${q.type}, that of q, not ${view.type}`,
    );
  }
  if (shape.queryHeads % shape.kvHeads !== 0) {
    throw mismatch(`${shape.kvHeads} KV heads do not divide ${shape.queryHeads} query heads`);
  }
  if (r) checkSame('r', r, q.type, q.dims);
  const outDims = [...q.dims];
  outDims[axes.dim] = shape.valueDim;
  if (out) checkSame('out', out, q.type, outDims);

  const named: Named[] = [
    { name: 'q', view: q },
    { name: 'k', view: k },
    { name: 'v', view: v },
  ];
  if (r) named.push({ name: 'r', view: r });
  const placement = placementOf(settings.device, out ? [...named, { name: 'out', view: out }] : named);
  const request = new Request(form, copiesInputs(settings.copyInputs, named));
  const { numbers } = request;
  numbers[field.batch] = shape.batch;
  numbers[field.queryHeads] = shape.queryHeads;
  numbers[field.kvHeads] = shape.kvHeads;
  numbers[field.queries] = shape.queries;
  numbers[field.keys] = shape.keys;
  numbers[field.headDim] = shape.headDim;
  numbers[field.valueDim] = shape.valueDim;
  numbers[field.type] = dataTypeCode(shape.type);
  numbers[field.isCausal] = Number(settings.isCausal);
  numbers[field.scale] = settings.scale ?? shape.headDim ** -0.5;
  numbers[field.lambda] = settings.lambda;
  numbers[field.iterations] = settings.iterations;
  numbers[field.tolerance] = settings.tolerance;
  request.operand('q', place.q, q, isHeadsFirst);
  request.operand('k', place.k, k, isHeadsFirst);
  request.operand('v', place.v, v, isHeadsFirst);
  if (r) request.operand('r', place.r, r, isHeadsFirst);
  const results = request.results({
    given: givenOut,
    out,
    isHeadsFirst,
    type: shape.type,
    outDims,
    shownDims: outDims,
    lseDims: undefined,
    Tensor: settings.Tensor,
    device: placement.results,
  });
  return { request, results, placement, signal: settings.signal };
}
