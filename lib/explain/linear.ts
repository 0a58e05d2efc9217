// explainLinear(): how a device divides linear attention, and what it reads and writes. Reader: someone who asks whether heads
// fill a GPU. Numbers are the planner's, of core/op/linear.h's LinearPasses; nothing runs.

import { mismatch } from '../call/shape.js';
import { calling } from '../check/errors.js';
import { checkBoolean, checkInteger, checkNames, checkOneOf, maxTokens, namesOf } from '../check/validate.js';
import { native } from '../native/native.js';
import { type FeatureMap, featureMaps } from '../ops/linear/options.js';
import { checkLinearDims, describeLinear, featuresOf } from '../ops/linear/problem.js';
import { checkDevice, type DeviceName, knownIndex } from '../tensor/devices.js';
import type { FloatType } from '../tensor/types.js';
import { bytesPer, floatTypes } from '../tensor/views.js';
import { chooseBackend } from './backend.js';
import type { Explanation } from './explanation.js';

/** The sizes and options of a call of linearAttention(). */
export interface ExplainLinearShape {
  /** Default 1. */
  batch?: number;
  queryHeads: number;
  /** Default queryHeads. */
  kvHeads?: number;
  /** Queries and keys; without `causal` the queries, and the keys unless `keys` says otherwise. */
  tokens: number;
  keys?: number;
  headDim: number;
  /** Default headDim. */
  valueDim?: number;
  /** Default 'float32'. */
  dtype?: FloatType;
  /** As in linearAttention(). */
  featureMap?: FeatureMap;
  normalize?: 'none' | 'sum';
  causal?: boolean;
  chunk?: number;
}

/** What explainLinear() answers, and explainDelta() and explainCumulative(). */
export interface LinearExplanation {
  /** The device that would run the call, and why, as in explain(). */
  readonly backend: Explanation['backend'];
  /** Tokens that are computed as one. */
  readonly chunk: number;
  /** 1: a pass over every sequence. 2: the states of groups of chunks first, then all outputs at once. */
  readonly passes: 1 | 2;
  /** Groups of chunks of a sequence. */
  readonly groups: number;
  /** Bytes of q, k, v and the output. */
  readonly operandBytes: number;
  /** Bytes that are read and written of memory, what caches hold aside; states of groups among them. */
  readonly bytes: number;
  /** Bytes of the states of all sequences and KV heads, float32. */
  readonly stateBytes: number;
  /** Multiplications and additions. */
  readonly flops: number;
}

const shapeNames = namesOf<ExplainLinearShape>({
  batch: 1,
  queryHeads: 1,
  kvHeads: 1,
  tokens: 1,
  keys: 1,
  headDim: 1,
  valueDim: 1,
  dtype: 1,
  featureMap: 1,
  normalize: 1,
  causal: 1,
  chunk: 1,
});
/** The options of this family. */
export const explanationNames = namesOf<{ device?: DeviceName }>({ device: 1 });

/**
 * Says how a device would divide linearAttention() of these sizes, without running it and without data.
 * @param shape sizes and options of the call; sequences of a packed batch count as batch entries of equal lengths
 * @param options `device`, default 'auto'; another one need not be there: a GPU that is not counts as one with 64
 *   multiprocessors and 99 KB of shared memory per block
 * @throws {TypeError | RangeError | TilewiseError} ERR_TILEWISE_INVALID_OPTION, ERR_TILEWISE_UNKNOWN_OPTION,
 *   ERR_TILEWISE_SHAPE_MISMATCH, ERR_TILEWISE_NO_DEVICE
 */
export function explainLinear(shape: ExplainLinearShape, options: { device?: DeviceName } = {}): LinearExplanation {
  checkNames('the shape of explainLinear()', shape, shapeNames);
  checkNames('explainLinear()', options, explanationNames);
  const device = options.device === undefined ? 'auto' : checkDevice('device', options.device);
  const { kvHeads = shape.queryHeads, valueDim = shape.headDim, dtype = 'float32' } = shape;
  const isCausal = shape.causal === undefined || checkBoolean('causal', shape.causal);
  const featureMap = checkOneOf('featureMap', shape.featureMap ?? 'identity', featureMaps);
  const batch = checkInteger('batch', shape.batch ?? 1, 0, maxTokens);
  const queries = checkInteger('tokens', shape.tokens, 0, maxTokens);
  const sizes = {
    batch,
    sequences: batch,
    queryHeads: checkInteger('queryHeads', shape.queryHeads, 1, maxTokens),
    kvHeads: checkInteger('kvHeads', kvHeads, 1, maxTokens),
    queries,
    keys:
      shape.keys === undefined
        ? queries
        : checkInteger('keys', shape.keys, isCausal ? queries : 0, isCausal ? queries : maxTokens),
    headDim: checkInteger('headDim', shape.headDim, 1, maxTokens),
    valueDim: checkInteger('valueDim', valueDim, 1, maxTokens),
    type: checkOneOf('dtype', dtype, floatTypes),
  };
  checkLinearDims(featureMap, sizes.headDim, sizes.valueDim);
  if (sizes.queryHeads % sizes.kvHeads !== 0) {
    throw mismatch(`${sizes.kvHeads} KV heads do not divide ${sizes.queryHeads} query heads`);
  }
  const chunk = shape.chunk === undefined ? 0 : checkInteger('chunk', shape.chunk, 1, 1024);
  const isNormalized = checkOneOf('normalize', shape.normalize ?? 'none', ['none', 'sum'] as const) === 'sum';
  const request = describeLinear(sizes, { featureMap, isCausal, isNormalized, chunk });
  const { plan, backend } = chooseBackend(
    device,
    (index) => calling(() => native.linearPasses(request(index))),
    device === 'auto' ? undefined : [knownIndex(device)],
  );
  const features = featuresOf(featureMap, sizes.headDim);
  const rows = sizes.batch * (queries * sizes.queryHeads + sizes.keys * sizes.kvHeads);
  const perQuery = (isCausal ? (plan.chunk + 1) * (sizes.headDim + sizes.valueDim) : 0) + 2 * features * sizes.valueDim;
  return {
    backend,
    chunk: plan.chunk,
    passes: plan.isSplit ? 2 : 1,
    groups: plan.groups,
    operandBytes: rows * (sizes.headDim + sizes.valueDim) * bytesPer(sizes.type),
    bytes: plan.bytes,
    stateBytes: 4 * sizes.batch * sizes.kvHeads * features * sizes.valueDim,
    flops:
      sizes.batch *
      (queries * sizes.queryHeads * perQuery + 2 * sizes.keys * sizes.kvHeads * features * sizes.valueDim),
  };
}
