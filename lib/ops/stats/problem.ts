// The request of attentionStats(): which shapes fit, what crosses, and the results that native code fills. Reader: someone
// who adds a result. Fields are those of binding/requests/stats.cc.

import { type Placement, placementOf } from '../../call/placement.js';
import { copiesInputs, Request, type RequestForm } from '../../call/request.js';
import { checkSame, checkSize, checkTypes, mismatch } from '../../call/shape.js';
import { showDims, TilewiseRangeError } from '../../check/errors.js';
import { checkInteger, maxTokens } from '../../check/validate.js';
import { dataTypeCode } from '../../native/native.js';
import { Op } from '../../native/op.js';
import { checkPages, keysOnPages, putPages } from '../../stores/pages.js';
import { axesOf, layoutWords } from '../../tensor/axes.js';
import { toDense } from '../../tensor/dense.js';
import { Tensor } from '../../tensor/tensor.js';
import type { FloatType, TensorLike } from '../../tensor/types.js';
import { allocate, floatTypes, isOnHost, isRowMajor, readTensor, sizeOf, type View } from '../../tensor/views.js';
import type { StatsOutput, StatsSettings } from './options.js';

export const statsOp = new Op('stats');

const field = {
  batch: statsOp.field('batch'),
  queryHeads: statsOp.field('queryHeads'),
  kvHeads: statsOp.field('kvHeads'),
  queries: statsOp.field('queries'),
  keys: statsOp.field('keys'),
  headDim: statsOp.field('headDim'),
  type: statsOp.field('type'),
  keyType: statsOp.field('keyType'),
  isCausal: statsOp.field('isCausal'),
  scale: statsOp.field('scale'),
  topK: statsOp.field('topK'),
  blockQueries: statsOp.field('blockQueries'),
  blockKeys: statsOp.field('blockKeys'),
  givenLse: statsOp.field('givenLseOffset'),
};
const place = {
  q: statsOp.place('query'),
  k: statsOp.place('key'),
};
const pagePlace = {
  pages: statsOp.field('pages'),
  pageSize: statsOp.field('pageSize'),
  pageTable: statsOp.view('pageTable'),
};
const slot = { keyLengths: statsOp.view('keyLengths'), givenLse: statsOp.view('givenLse') };
const form: RequestForm = { fields: statsOp.fields, slots: statsOp.views };

/** Largest dim of a row, as core/op/stats.h has it. */
const maxDim = 8192;

/** What attentionStats() returns: what `want` names, float32 unless it says otherwise. Heads are those of q. */
export interface AttentionStats {
  /** [batch, heads, queries], the log of each row's sum of exp(score); absent where `lse` was given, or `want` is 'scores' alone. */
  lse?: Tensor<'float32'>;
  /**
   * [batch, heads, queries, rowTopK], the keys with each row's largest probabilities (int32), falling, of equal ones the
   * first; and the probabilities. Index -1 and probability 0 where a row sees fewer keys.
   */
  rowTopK?: { indices: Tensor<'int32'>; probs: Tensor<'float32'> };
  /** [batch, keys], the probabilities of a key, summed over heads and queries. */
  keySum?: Tensor<'float32'>;
  /** [batch, heads, keys], summed over queries. */
  keySumOverQueries?: Tensor<'float32'>;
  /** [batch, keys], the largest probability of a key over heads and queries. */
  keyMaxOverHeads?: Tensor<'float32'>;
  /** [batch, heads, blocks of queries, blocks of keys], summed over blocks; the last ones may be shorter. */
  blockSum?: Tensor<'float32'>;
  /** [batch, heads, keys], summed over pairs whose key is so many tokens before the query. */
  diagSum?: Tensor<'float32'>;
  /** [batch, heads, queries, keys], all probabilities. */
  probs?: Tensor<'float32'>;
  /** [batch, heads, queries, keys], scale * q.k, -Infinity where a query does not see a key. */
  scores?: Tensor<'float32'>;
}

/** A call ready to run. */
export interface StatsCall {
  readonly request: Request;
  readonly placement: Placement;
  readonly results: AttentionStats;
}

interface StatsShape {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

function readShape(q: View, k: View, { isHeadsFirst, pages, keyLengths }: StatsSettings): StatsShape {
  const axes = axesOf(4, isHeadsFirst);
  if (q.dims.length !== 4) {
    throw mismatch(`\`q\` must have dims ${layoutWords(4, isHeadsFirst)}, not ${showDims(q.dims)}`);
  }
  checkTypes(q, k);
  const agree =
    k.dims.length === 4 &&
    (pages !== undefined || k.dims[axes.batch] === q.dims[axes.batch]) &&
    k.dims[axes.dim] === q.dims[axes.dim];
  if (!agree) {
    throw mismatch(
      `\`q\` ${showDims(q.dims)} and \`k\` ${showDims(k.dims)} do not fit: they share ${pages ? '' : 'the batch and '}the dim`,
    );
  }
  const shape: StatsShape = {
    batch: q.dims[axes.batch],
    queryHeads: q.dims[axes.head],
    kvHeads: k.dims[axes.head],
    queries: q.dims[axes.token],
    keys: pages ? keysOnPages(pages) : k.dims[axes.token],
    headDim: q.dims[axes.dim],
  };
  checkSize('The batch', shape.batch, 0, maxTokens);
  checkSize('The number of KV heads', shape.kvHeads, 1, maxTokens);
  checkSize('The number of query heads', shape.queryHeads, 1, maxTokens);
  checkSize('The number of tokens', Math.max(shape.queries, shape.keys), 0, maxTokens);
  checkSize('The dim of `q` and `k`', shape.headDim, 1, maxDim);
  if (shape.queryHeads % shape.kvHeads !== 0) {
    throw mismatch(`${shape.kvHeads} KV heads do not divide ${shape.queryHeads} query heads`);
  }
  if (pages) checkPages(pages, k, axes.token, shape);
  if (keyLengths) {
    if (keyLengths.length !== shape.batch) {
      throw mismatch(`\`keyLengths\` must have ${shape.batch} entries, one per batch entry, not ${keyLengths.length}`);
    }
    for (const [b, length] of keyLengths.entries()) checkInteger(`keyLengths[${b}]`, length, 0, shape.keys);
  }
  return shape;
}

/** Refuses a matrix of all queries and keys that would be too large. */
function checkElements(name: StatsOutput, dims: readonly number[], most: number): void {
  const elements = sizeOf(dims);
  if (elements <= most) return;
  throw new TilewiseRangeError(
    'ERR_TILEWISE_INVALID_OPTION',
    `\`want\` '${name}' would be ${elements} elements, ${showDims(dims)}; \`maxElements\` allows ${most}. Raise it, or ask for sums`,
  );
}

/** Makes the results, which native code fills. */
function putResults(request: Request, shape: StatsShape, settings: StatsSettings): AttentionStats {
  const { batch, queryHeads, queries, keys } = shape;
  const { want, topK, blockSum, maxElements } = settings;
  const heads = [batch, queryHeads];
  const results: AttentionStats = {};
  const floats = (slot: string, dims: number[]): Tensor<'float32'> => {
    const data = allocate('float32', sizeOf(dims));
    request.views[statsOp.view(slot)] = data;
    return new Tensor('float32', data, dims);
  };
  const needsProbs = [...want].some((name) => name !== 'scores');
  if (needsProbs && !settings.lse) results.lse = floats('lse', [...heads, queries]);
  if (want.has('rowTopK')) {
    const dims = [...heads, queries, topK];
    const indices = allocate('int32', sizeOf(dims));
    request.views[statsOp.view('topIndices')] = indices;
    results.rowTopK = { indices: new Tensor('int32', indices, dims), probs: floats('topProbs', dims) };
  }
  if (want.has('keySum')) results.keySum = floats('keySum', [batch, keys]);
  if (want.has('keySumOverQueries')) results.keySumOverQueries = floats('keySumOverQueries', [...heads, keys]);
  if (want.has('keyMaxOverHeads')) results.keyMaxOverHeads = floats('keyMaxOverHeads', [batch, keys]);
  if (want.has('blockSum')) {
    const [blockQ, blockK] = blockSum as readonly [number, number];
    results.blockSum = floats('blockSum', [...heads, Math.ceil(queries / blockQ), Math.ceil(keys / blockK)]);
  }
  if (want.has('diagSum')) results.diagSum = floats('diagSum', [...heads, keys]);
  for (const name of ['probs', 'scores'] as const) {
    if (!want.has(name)) continue;
    const dims = [...heads, queries, keys];
    checkElements(name, dims, maxElements);
    results[name] = floats(name, dims);
  }
  return results;
}

/** Reads the tensors of a call and makes room for its results. */
export function prepareStats(qLike: TensorLike, kLike: TensorLike, settings: StatsSettings): StatsCall {
  const q = readTensor('q', qLike, floatTypes);
  const k = readTensor('k', kLike, floatTypes);
  const shape = readShape(q, k, settings);
  const { isHeadsFirst, lse, pages, keyLengths, blockSum } = settings;
  const named = [{ name: 'q', view: q }, { name: 'k', view: k }, ...(lse ? [{ name: 'lse', view: lse }] : [])];
  const placement = placementOf(settings.device, named);
  const request = new Request(form, copiesInputs(settings.copyInputs, named));
  const { numbers } = request;
  numbers[field.batch] = shape.batch;
  numbers[field.queryHeads] = shape.queryHeads;
  numbers[field.kvHeads] = shape.kvHeads;
  numbers[field.queries] = shape.queries;
  numbers[field.keys] = shape.keys;
  numbers[field.headDim] = shape.headDim;
  numbers[field.type] = dataTypeCode(q.type as FloatType);
  numbers[field.keyType] = dataTypeCode(k.type as FloatType);
  numbers[field.isCausal] = Number(settings.isCausal);
  numbers[field.scale] = settings.scale ?? shape.headDim ** -0.5;
  numbers[field.topK] = settings.topK;
  numbers[field.blockQueries] = blockSum?.[0] ?? 1;
  numbers[field.blockKeys] = blockSum?.[1] ?? 1;
  request.operand('q', place.q, q, isHeadsFirst);
  request.operand('k', place.k, k, isHeadsFirst);
  request.views[slot.keyLengths] = keyLengths;
  if (pages) putPages(request, pages, keyLengths as Int32Array, undefined, k, pagePlace);
  if (lse) {
    checkSame('lse', lse, 'float32', [shape.batch, shape.queryHeads, shape.queries]);
    const dense = isRowMajor(lse) || !isOnHost(lse) ? lse : toDense('lse', lse);
    numbers[field.givenLse] = request.input('lse', slot.givenLse, lse, dense).offset;
  }
  return { request, placement, results: putResults(request, shape, settings) };
}
