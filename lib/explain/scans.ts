// explainDelta() and explainCumulative(): how a device divides gatedDelta() and cumulativeAttention(), and what they read and
// write. Reader: someone who asks whether heads fill a GPU. Numbers are the planner's, of core/op/linear.h's LinearPasses;
// nothing runs.

import { calling } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, maxTokens, namesOf } from '../check/validate.js';
import { type NativePasses, native } from '../native/native.js';
import { describeCumulative } from '../ops/cumulative.js';
import { describeDelta } from '../ops/delta/problem.js';
import { checkDevice, type DeviceName, knownIndex } from '../tensor/devices.js';
import type { FloatType } from '../tensor/types.js';
import { bytesPer, floatTypes } from '../tensor/views.js';
import { chooseBackend } from './backend.js';
import { explanationNames, type LinearExplanation } from './linear.js';

/** The sizes and options of a call of gatedDelta(). */
export interface ExplainDeltaShape {
  /** Default 1. */
  batch?: number;
  queryHeads: number;
  /** Heads of k; default queryHeads. */
  keyHeads?: number;
  /** Heads of v, each with a state; default queryHeads. */
  valueHeads?: number;
  tokens: number;
  headDim: number;
  /** Default headDim. */
  valueDim?: number;
  /** Default 'float32'. */
  dtype?: FloatType;
  chunk?: number;
}

/** The sizes of a call of cumulativeAttention(). */
export interface ExplainCumulativeShape {
  /** Default 1. */
  batch?: number;
  heads: number;
  tokens: number;
  valueDim: number;
  /** Of the values; default 'float32'. */
  dtype?: FloatType;
}

const deltaNames = namesOf<ExplainDeltaShape>({
  batch: 1,
  queryHeads: 1,
  keyHeads: 1,
  valueHeads: 1,
  tokens: 1,
  headDim: 1,
  valueDim: 1,
  dtype: 1,
  chunk: 1,
});
const cumulativeNames = namesOf<ExplainCumulativeShape>({ batch: 1, heads: 1, tokens: 1, valueDim: 1, dtype: 1 });

/** The device that would run a call, and how it divides it. */
function planOf(
  options: { device?: DeviceName },
  request: (device: number) => Float64Array,
  passes: (numbers: Float64Array) => NativePasses,
): Pick<LinearExplanation, 'backend' | 'chunk' | 'passes' | 'groups' | 'bytes'> {
  const device = options.device === undefined ? 'auto' : checkDevice('device', options.device);
  const { plan, backend } = chooseBackend(
    device,
    (index) => calling(() => passes(request(index))),
    device === 'auto' ? undefined : [knownIndex(device)],
  );
  return { backend, chunk: plan.chunk, passes: plan.isSplit ? 2 : 1, groups: plan.groups, bytes: plan.bytes };
}

/**
 * Says how a device would divide gatedDelta() of these sizes, without running it and without data. It is always one pass: chunks
 * of a head follow each other, and threads share heads and columns of v, for which q and k are read anew.
 * @param shape sizes and options of the call; sequences of a packed batch count as batch entries of equal lengths
 * @param options as in explainLinear()
 * @returns as explainLinear() does; `operandBytes` are those of q, k, v, beta and the output
 * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_UNKNOWN_OPTION,
 *   ERR_TILEWISE_SHAPE_MISMATCH, ERR_TILEWISE_NO_DEVICE
 */
export function explainDelta(shape: ExplainDeltaShape, options: { device?: DeviceName } = {}): LinearExplanation {
  checkNames('the shape of explainDelta()', shape, deltaNames);
  checkNames('explainDelta()', options, explanationNames);
  const { queryHeads, keyHeads = queryHeads, valueHeads = queryHeads, valueDim = shape.headDim } = shape;
  const batch = checkInteger('batch', shape.batch ?? 1, 0, maxTokens);
  const sizes = {
    batch,
    sequences: batch,
    queryHeads: checkInteger('queryHeads', queryHeads, 1, maxTokens),
    keyHeads: checkInteger('keyHeads', keyHeads, 1, maxTokens),
    valueHeads: checkInteger('valueHeads', valueHeads, 1, maxTokens),
    tokens: checkInteger('tokens', shape.tokens, 0, maxTokens),
    headDim: checkInteger('headDim', shape.headDim, 1, 4096),
    valueDim: checkInteger('valueDim', valueDim, 1, 4096),
    type: checkOneOf('dtype', shape.dtype ?? 'float32', floatTypes),
  };
  const chunk = shape.chunk === undefined ? 0 : checkInteger('chunk', shape.chunk, 1, 1024);
  const plan = planOf(options, describeDelta(sizes, chunk), (numbers) => native.deltaPasses(numbers));
  const outHeads = Math.max(queryHeads, valueHeads);
  const rows = sizes.batch * sizes.tokens;
  const inKeys = (queryHeads + keyHeads) * sizes.headDim;
  const inValues = (valueHeads + outHeads) * valueDim;
  const state = sizes.headDim * valueDim;
  const pairs = (plan.chunk + 1) * (sizes.headDim + valueDim);
  return {
    ...plan,
    operandBytes: rows * ((inKeys + inValues) * bytesPer(sizes.type) + 4 * valueHeads),
    stateBytes: 4 * sizes.batch * valueHeads * state,
    // The state meets keys twice, to be asked and to be changed, and the queries of every output.
    flops: rows * (valueHeads * (4 * state + pairs) + outHeads * (2 * state + pairs)),
  };
}

/**
 * Says how a device would divide cumulativeAttention() of these sizes, without running it and without data.
 * @param shape sizes of the call
 * @param options as in explainLinear()
 * @returns as explainLinear() does; `operandBytes` are those of scores, v and the output, `chunk` the tokens whose sum begins with 0
 * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_UNKNOWN_OPTION,
 *   ERR_TILEWISE_NO_DEVICE
 */
export function explainCumulative(
  shape: ExplainCumulativeShape,
  options: { device?: DeviceName } = {},
): LinearExplanation {
  checkNames('the shape of explainCumulative()', shape, cumulativeNames);
  checkNames('explainCumulative()', options, explanationNames);
  const sizes = {
    batch: checkInteger('batch', shape.batch ?? 1, 0, maxTokens),
    tokens: checkInteger('tokens', shape.tokens, 0, maxTokens),
    heads: checkInteger('heads', shape.heads, 1, maxTokens),
    valueDim: checkInteger('valueDim', shape.valueDim, 1, maxTokens),
    type: checkOneOf('dtype', shape.dtype ?? 'float32', floatTypes),
  };
  const plan = planOf(options, describeCumulative(sizes), (numbers) => native.cumulativePasses(numbers));
  const { valueDim } = sizes;
  const heads = sizes.batch * sizes.heads;
  return {
    ...plan,
    operandBytes: heads * sizes.tokens * (4 + 2 * valueDim * bytesPer(sizes.type)),
    stateBytes: 4 * heads * (2 + valueDim),
    // A row joins the sum of its chunk, which is then joined with that of all before.
    flops: 6 * heads * sizes.tokens * valueDim,
  };
}
