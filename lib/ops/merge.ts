// mergeAttention(): partial results over disjoint sets of keys become the result over all of them.
// Reader: someone who splits keys over calls, machines or a prefix cache. The rule is core/base/softmax.h's merge; idea:
// FlashAttention's combine step, Ring Attention (arXiv 2310.01889).

import { fly, refuseSignal } from '../call/flight.js';
import { onDevice, type Placement, placementOf } from '../call/placement.js';
import { Request, type Results } from '../call/request.js';
import { checkSame, checkSize, maxHeadDim } from '../call/shape.js';
import { TilewiseRangeError } from '../check/errors.js';
import { checkNames, checkOneOf, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { dataTypeCode, native, positions } from '../native/native.js';
import { maxGridRank } from '../patterns/neighborhood.js';
import { axesOf, lengthsOf, tokenAxesOf } from '../tensor/axes.js';
import { checkDevice, cpu, type DeviceName } from '../tensor/devices.js';
import type { Tensor } from '../tensor/tensor.js';
import type { FloatType, TensorConstructor, TensorLike } from '../tensor/types.js';
import { floatTypes, readTensor, sizeOf } from '../tensor/views.js';
import type { AttentionResult } from './attention/attention.js';
import { checkConstructor, checkSignal, type Layout, layouts } from './attention/options.js';

/** What mergeAttention() can be told; as in attention(). */
export interface MergeOptions<T = Tensor> {
  /** Axes of every `out`: `'bnhd'` (default) or `'bhnd'`. */
  layout?: Layout;
  /** Where to write the merged output; no memory in common with the parts. */
  out?: TensorLike;
  /** Class of the results. */
  Tensor?: TensorConstructor<T>;
  /** Cancels an asynchronous call. */
  signal?: AbortSignal;
  /**
   * As in attention(), but parts in the process's memory are merged on the CPU unless this says otherwise: a merge passes
   * over them once, and bringing them elsewhere would, too. Results lie where the first part does.
   */
  device?: DeviceName;
}

/** One partial result: attention of the same queries over some of the keys, with `returnLse`. */
export interface AttentionPart {
  readonly out: TensorLike;
  readonly lse: TensorLike;
}

const optionNames = namesOf<MergeOptions>({ layout: 1, out: 1, Tensor: 1, signal: 1, device: 1 });
const fieldAt = positions(native.mergeFields);
const headFields = native.mergeFields.length;
const field = {
  device: fieldAt('device'),
  batch: fieldAt('batch'),
  heads: fieldAt('heads'),
  queries: fieldAt('queries'),
  valueDim: fieldAt('valueDim'),
  type: fieldAt('type'),
  parts: fieldAt('parts'),
  out: fieldAt('outOffset'),
  lse: fieldAt('lseOffset'),
};
const partAt = positions(native.mergePartFields);
const partFields = native.mergePartFields.length;
const partField = { out: partAt('outOffset'), lse: partAt('lseOffset') };
// Views: out and lse of the result, then of every part.
const slot = { out: 0, lse: 1 };
const slotsEach = 2;

/**
 * Merges attention over disjoint sets of keys into attention over their union: each part's rows weighted by
 * exp(lse - merged lse). Parts are merged in the order given, so results repeat bit for bit. A row that no part has a
 * key for gets output 0 and lse -Infinity.
 * @param parts `{ out, lse }` of the same queries: equal dims and type; out [batch, queries, heads, valueDim] or as
 *   `layout` says, lse [batch, heads, queries] float32; packed results without batch axis and grids too
 * @param options see MergeOptions
 * @returns `{ out, lse }`; rejects as attention() does
 */
export async function mergeAttention<T = Tensor>(
  parts: readonly AttentionPart[],
  options: MergeOptions<T> = {},
): Promise<Required<AttentionResult<T>>> {
  const { request, results, signal, placement } = prepareMerge('mergeAttention()', parts, options);
  try {
    await fly(placement, (device) => native.merge(numbersFor(device, request), request.views), results.lent, signal);
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap() as Required<AttentionResult<T>>;
}

/**
 * mergeAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what mergeAttention() rejects with
 */
export function mergeAttentionSync<T = Tensor>(
  parts: readonly AttentionPart[],
  options: MergeOptions<T> = {},
): Required<AttentionResult<T>> {
  const { request, results, signal, placement } = prepareMerge('mergeAttentionSync()', parts, options);
  refuseSignal('mergeAttentionSync()', signal);
  try {
    onDevice(placement, (device) => native.mergeSync(numbersFor(device, request), request.views));
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap() as Required<AttentionResult<T>>;
}

function numbersFor(device: number, { numbers }: Request): Float64Array {
  numbers[field.device] = device;
  return numbers;
}

function prepareMerge(
  where: string,
  parts: readonly AttentionPart[],
  options: MergeOptions<unknown>,
): { request: Request; results: Results; signal: AbortSignal | undefined; placement: Placement } {
  checkNames(where, options, optionNames);
  if (!Array.isArray(parts) || parts.length === 0)
    throw invalid('parts', 'an array of at least one { out, lse }', parts);
  const isHeadsFirst = options.layout !== undefined && checkOneOf('layout', options.layout, layouts) === 'bhnd';
  const Class = options.Tensor === undefined ? undefined : checkConstructor('Tensor', options.Tensor);
  const signal = options.signal === undefined ? undefined : checkSignal('signal', options.signal);
  const device = options.device === undefined ? 'auto' : checkDevice('device', options.device);

  const read = parts.map((part: unknown, i) => {
    if (!is.object(part)) throw invalid(`parts[${i}]`, 'an object { out, lse }', part);
    return {
      out: readTensor(`parts[${i}].out`, part.out, floatTypes),
      lse: readTensor(`parts[${i}].lse`, part.lse, ['float32']),
    };
  });
  const out = options.out === undefined ? undefined : readTensor('out', options.out, floatTypes);
  const operands = read.flatMap((part, i) => [
    { name: `parts[${i}].out`, view: part.out },
    { name: `parts[${i}].lse`, view: part.lse },
  ]);
  const placement = placementOf(device, [...operands, ...(out ? [{ name: 'out', view: out }] : [])], cpu);
  const { type, dims } = read[0].out;
  const rank = dims.length;
  if (rank < 3 || rank > 3 + maxGridRank) {
    throw new TilewiseRangeError(
      'ERR_TILEWISE_SHAPE_MISMATCH',
      `\`parts[0].out\` must have 4 dims, or 3 when packed, 5 or 6 when a grid, not [${dims.join(', ')}]`,
    );
  }
  const axes = axesOf(rank, isHeadsFirst);
  const tokens = lengthsOf(read[0].out, tokenAxesOf(axes, rank));
  const queries = sizeOf(tokens);
  const batch = axes.batch < 0 ? 1 : dims[axes.batch];
  const lseDims = [...(axes.batch < 0 ? [] : [batch]), dims[axes.head], ...tokens];
  checkSize('The batch', batch, 0, maxTokens);
  checkSize('The number of heads', dims[axes.head], 1, maxTokens);
  checkSize('The number of queries', queries, 0, maxTokens);
  checkSize('The dim of `parts[0].out`', dims[axes.dim], 1, maxHeadDim);

  const request = new Request(headFields + parts.length * partFields, slotsEach * (1 + parts.length), false);
  const { numbers } = request;
  numbers[field.batch] = batch;
  numbers[field.heads] = dims[axes.head];
  numbers[field.queries] = queries;
  numbers[field.valueDim] = dims[axes.dim];
  numbers[field.type] = dataTypeCode(type);
  numbers[field.parts] = parts.length;
  read.forEach(({ out, lse }, i) => {
    checkSame(`parts[${i}].out`, out, type, dims);
    checkSame(`parts[${i}].lse`, lse, 'float32', lseDims);
    const base = headFields + i * partFields;
    const first = slotsEach * (1 + i);
    request.operand(`parts[${i}].out`, base + partField.out, first + slot.out, out, isHeadsFirst);
    request.rows(`parts[${i}].lse`, base + partField.lse, first + slot.lse, lse);
  });
  if (out) checkSame('out', out, type, dims);
  const results = request.results(
    {
      given: options.out,
      out,
      isHeadsFirst,
      type: type as FloatType,
      outDims: [...dims],
      lseDims,
      Tensor: Class,
      device: placement.results,
    },
    field,
    slot,
  );
  return { request, results, signal, placement };
}
