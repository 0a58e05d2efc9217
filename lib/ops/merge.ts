// mergeAttention(): partial results over disjoint sets of keys become the result over all of them.
// Reader: someone who splits keys over calls, machines or a prefix cache. The rule is core/base/softmax.h's merge; idea:
// FlashAttention's combine step, Ring Attention (arXiv 2310.01889).

import { fly, refuseSignal } from '../call/flight.js';
import { splitHeads } from '../call/heads.js';
import { onDevice, type Placement, placementOf } from '../call/placement.js';
import { type CopyInputs, copiesInputs, type Place, Request, type RequestForm, type Results } from '../call/request.js';
import { checkSame, checkSize, maxHeadDim, mismatch } from '../call/shape.js';
import { showDims } from '../check/errors.js';
import { checkNames, checkOneOf, invalid, is, maxTokens, namesOf } from '../check/validate.js';
import { dataTypeCode } from '../native/native.js';
import { Op } from '../native/op.js';
import { maxGridRank } from '../patterns/neighborhood.js';
import { axesOf, lengthsOf, tokenAxesOf } from '../tensor/axes.js';
import { checkDevice, cpu, type DeviceName } from '../tensor/devices.js';
import { type FloatArray, readFloats } from '../tensor/floats.js';
import type { Tensor } from '../tensor/tensor.js';
import type { FloatType, TensorConstructor, TensorLike } from '../tensor/types.js';
import { floatTypes, readTensor, sizeOf, type View } from '../tensor/views.js';
import type { AttentionResult, ResultOf } from './attention/attention.js';
import { putSinks } from './attention/modifiers.js';
import { checkConstructor, checkCopyInputs, checkSignal, type Layout, layouts } from './attention/options.js';

/** What mergeAttention() can be told; as in attention(). */
export interface MergeOptions<T = Tensor> {
  /** Axes of every `out`: `'bnhd'` (default) or `'bhnd'`. */
  layout?: Layout;
  /** Where to write the merged output; no memory in common with the parts. */
  out?: TensorLike;
  /**
   * Sink logits of the whole, [heads] float32, counted once: leave them out of the calls that make the parts, where they
   * would count once per part. -Infinity is no sink.
   */
  sinks?: FloatArray;
  /**
   * What made the weights of the parts: `'softmax'` (default) or `'sigmoid'`, whose parts have no `lse` and add. Not relu, which
   * divides by the number of keys of its call.
   */
  activation?: 'softmax' | 'sigmoid';
  /** Class of the results. */
  Tensor?: TensorConstructor<T>;
  /** Cancels an asynchronous call. */
  signal?: AbortSignal;
  /**
   * As in attention(), but parts in the process's memory are merged on the CPU unless this says otherwise: a merge passes
   * over them once, and bringing them elsewhere would, too. Results are where the first part is.
   */
  device?: DeviceName;
  /** Asynchronous calls: copy the parts first, as in attention(). */
  copyInputs?: CopyInputs;
}

/** One partial result: attention of the same queries over some of the keys, with `returnLse`. */
export interface AttentionPart {
  readonly out: TensorLike;
  readonly lse: TensorLike;
}

/** One partial result under `activation: 'sigmoid'`, of which there is no lse. */
export type AddedPart = Pick<AttentionPart, 'out'>;

const mergeable = ['softmax', 'sigmoid'] as const;
const optionNames = namesOf<MergeOptions>({
  layout: 1,
  out: 1,
  sinks: 1,
  activation: 1,
  Tensor: 1,
  signal: 1,
  device: 1,
  copyInputs: 1,
});
const op = new Op('merge');
const field = {
  batch: op.field('batch'),
  heads: op.field('heads'),
  queries: op.field('queries'),
  valueDim: op.field('valueDim'),
  type: op.field('type'),
  parts: op.field('parts'),
  out: op.field('outOffset'),
  lse: op.field('lseOffset'),
};
const slot = { out: op.view('out'), lse: op.view('lse') };
const sinksAt = op.place('sinks');
const partField = { out: op.itemField('outOffset'), lse: op.itemField('lseOffset') };
const partSlot = { out: op.itemView('out'), lse: op.itemView('lse') };

const formOf = (parts: number): RequestForm => ({
  fields: op.fields + parts * op.itemFields,
  slots: op.views + parts * op.itemViews,
  results: { out: { field: field.out, slot: slot.out }, lse: { field: field.lse, slot: slot.lse } },
});

/** Where the out and lse of a part cross. */
const partPlaces = (part: number): { out: Place; lse: Place } => {
  const [fields, slots] = [op.fields + part * op.itemFields, op.views + part * op.itemViews];
  return {
    out: { field: fields + partField.out, slot: slots + partSlot.out },
    lse: { field: fields + partField.lse, slot: slots + partSlot.lse },
  };
};

/**
 * Merges attention over disjoint sets of keys into attention over their union: each part's rows weighted by
 * exp(lse - merged lse). Parts are merged in the order given, so results repeat bit for bit. A part whose lse is
 * -Infinity, or +Infinity as flash-attention 2 has it, saw no key of the row: its output is not read. A row that no part
 * has a key for gets output 0 and lse -Infinity. Sinks and `extraKeys` belong to one part or, sinks, to this call.
 * With `activation: 'sigmoid'` parts are `{ out }`, which add, and the result has no lse.
 * @param parts `{ out, lse }` of the same queries: equal dims and type; out [batch, queries, heads, valueDim] or as
 *   `layout` says, lse [batch, heads, queries] float32; packed results without batch axis, grids, and results of calls with
 *   `queryHeads` too
 * @param options see MergeOptions
 * @returns `{ out, lse }`; rejects as attention() does
 */
export function mergeAttention<const P extends AddedPart, T = Tensor>(
  parts: readonly P[],
  options: MergeOptions<T> & { activation: 'sigmoid' },
): Promise<ResultOf<P['out'], T>>;
export function mergeAttention<const P extends AttentionPart, T = Tensor>(
  parts: readonly P[],
  options?: MergeOptions<T>,
): Promise<Required<ResultOf<P['out'], T>>>;
export async function mergeAttention(
  parts: readonly AddedPart[],
  options: MergeOptions<unknown> = {},
): Promise<AttentionResult<unknown, unknown>> {
  const read = readArguments('mergeAttention()', parts, options);
  const { request, results, placement } = prepareMerge(read, options.out);
  try {
    await fly(placement, (device) => op.submit(device, request), results.lent, read.signal);
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap();
}

/**
 * mergeAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what mergeAttention() rejects with
 */
export function mergeAttentionSync<const P extends AddedPart, T = Tensor>(
  parts: readonly P[],
  options: MergeOptions<T> & { activation: 'sigmoid' },
): ResultOf<P['out'], T>;
export function mergeAttentionSync<const P extends AttentionPart, T = Tensor>(
  parts: readonly P[],
  options?: MergeOptions<T>,
): Required<ResultOf<P['out'], T>>;
export function mergeAttentionSync(
  parts: readonly AddedPart[],
  options: MergeOptions<unknown> = {},
): AttentionResult<unknown, unknown> {
  const read = readArguments('mergeAttentionSync()', parts, options);
  refuseSignal('mergeAttentionSync()', read.signal);
  const { request, results, placement } = prepareMerge({ ...read, copyInputs: false }, options.out);
  try {
    onDevice(placement, (device) => op.run(device, request));
  } catch (error) {
    results.discard();
    throw error;
  }
  return results.wrap();
}

/** The arguments of a merge, read one by one. */
interface Arguments {
  readonly parts: readonly { readonly out: View; readonly lse: View | undefined }[];
  readonly out: View | undefined;
  readonly sinks: View | undefined;
  readonly isHeadsFirst: boolean;
  readonly Tensor: TensorConstructor<object> | undefined;
  readonly signal: AbortSignal | undefined;
  readonly device: DeviceName;
  readonly copyInputs: CopyInputs;
}

function readArguments(where: string, parts: readonly AddedPart[], o: MergeOptions<unknown>): Arguments {
  checkNames(where, o, optionNames);
  if (!Array.isArray(parts) || parts.length === 0)
    throw invalid('parts', 'an array of at least one { out, lse }', parts);
  const doAdd = o.activation !== undefined && checkOneOf('activation', o.activation, mergeable) === 'sigmoid';
  if (doAdd && o.sinks !== undefined) throw invalid('sinks', 'left out: sigmoid has no denominator', o.sinks);
  return {
    isHeadsFirst: o.layout !== undefined && checkOneOf('layout', o.layout, layouts) === 'bhnd',
    Tensor: o.Tensor === undefined ? undefined : checkConstructor('Tensor', o.Tensor),
    signal: o.signal === undefined ? undefined : checkSignal('signal', o.signal),
    device: o.device === undefined ? 'auto' : checkDevice('device', o.device),
    copyInputs: o.copyInputs === undefined ? 'small' : checkCopyInputs(o.copyInputs),
    // Holes of an array are parts too, missing ones.
    parts: Array.from(parts, (part: unknown, i) => {
      if (!is.object(part)) throw invalid(`parts[${i}]`, 'an object { out, lse }', part);
      return {
        out: readTensor(`parts[${i}].out`, part.out, floatTypes),
        lse: doAdd ? noLse(part, i) : readTensor(`parts[${i}].lse`, part.lse, ['float32']),
      };
    }),
    out: o.out === undefined ? undefined : readTensor('out', o.out, floatTypes),
    sinks: o.sinks === undefined ? undefined : readFloats('sinks', o.sinks),
  };
}

function noLse(part: { readonly lse?: unknown }, i: number): undefined {
  if (part.lse === undefined) return;
  throw invalid(`parts[${i}].lse`, "left out with `activation: 'sigmoid'`, whose parts add", part.lse);
}

/** What the first part says about all of them. */
interface Sizes {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly valueDim: number;
  readonly lseDims: number[];
}

function sizesOf(out: View, isHeadsFirst: boolean): Sizes {
  const { dims } = out;
  const rank = dims.length;
  if (rank < 3 || rank > 3 + maxGridRank) {
    throw mismatch(`\`parts[0].out\` must have 4 dims, or 3 when packed, 5 or 6 when a grid, not ${showDims(dims)}`);
  }
  const axes = axesOf(rank, isHeadsFirst);
  const tokens = lengthsOf(out, tokenAxesOf(axes, rank));
  const isPacked = axes.batch < 0;
  const [batch, heads] = [isPacked ? 1 : dims[axes.batch], dims[axes.head]];
  const [queries, valueDim] = [sizeOf(tokens), dims[axes.dim]];
  checkSize('The batch', batch, 0, maxTokens);
  checkSize('The number of heads', heads, 1, maxTokens);
  checkSize('The number of queries', queries, 0, maxTokens);
  checkSize('The dim of `parts[0].out`', valueDim, 1, maxHeadDim);
  return { batch, heads, queries, valueDim, lseDims: isPacked ? [heads, ...tokens] : [batch, heads, ...tokens] };
}

/** Heads of parts that have heads and dim as one axis: `lse` then has as many axes as `out`. Undefined: an axis each. */
function mergedHeadsOf({ out, lse }: Arguments['parts'][number], isHeadsFirst: boolean): number | undefined {
  const rank = out.dims.length;
  if (!lse) return someHeads(out);
  const heads = lse.dims.at(-2);
  const isMerged = rank <= 3 && lse.dims.length === rank && !isHeadsFirst;
  return isMerged && heads !== undefined && out.dims[rank - 1] % heads === 0 ? heads : undefined;
}

/** Heads for rows that just add, whatever their heads are: as few as make their dims short enough. */
function someHeads({ dims }: View): number | undefined {
  const row = dims.at(-1) ?? 0;
  if (dims.length !== 3 || row <= maxHeadDim) return undefined;
  let heads = Math.ceil(row / maxHeadDim);
  while (row % heads !== 0) heads++;
  return heads;
}

function prepareMerge(
  { parts, out, sinks, isHeadsFirst, Tensor, device, copyInputs }: Arguments,
  given: object | undefined,
): { request: Request; results: Results; placement: Placement } {
  const named = parts.flatMap(({ out, lse }, i) => {
    const own = { name: `parts[${i}].out`, view: out };
    return lse ? [own, { name: `parts[${i}].lse`, view: lse }] : [own];
  });
  if (sinks) named.push({ name: 'sinks', view: sinks });
  const placement = placementOf(device, out ? [...named, { name: 'out', view: out }] : named, cpu);
  const { type, dims } = parts[0].out;
  const merged = mergedHeadsOf(parts[0], isHeadsFirst);
  const split = (view: View) => (merged === undefined ? view : splitHeads(view, merged));
  const { batch, heads, queries, valueDim, lseDims } = sizesOf(split(parts[0].out), isHeadsFirst);
  const request = new Request(formOf(parts.length), copiesInputs(copyInputs, named));
  const { numbers } = request;
  numbers[field.batch] = batch;
  numbers[field.heads] = heads;
  numbers[field.queries] = queries;
  numbers[field.valueDim] = valueDim;
  numbers[field.type] = dataTypeCode(type);
  numbers[field.parts] = parts.length;
  parts.forEach((part, i) => {
    const places = partPlaces(i);
    checkSame(`parts[${i}].out`, part.out, type, dims);
    request.operand(`parts[${i}].out`, places.out, split(part.out), isHeadsFirst);
    if (!part.lse) return;
    checkSame(`parts[${i}].lse`, part.lse, 'float32', lseDims);
    request.rows(`parts[${i}].lse`, places.lse, part.lse);
  });
  putSinks(request, sinks, heads, sinksAt);
  if (out) checkSame('out', out, type, dims);
  const results = request.results({
    given,
    out: out && split(out),
    isHeadsFirst,
    type: type as FloatType,
    outDims: [...split(parts[0].out).dims],
    shownDims: [...dims],
    lseDims: parts[0].lse && lseDims,
    Tensor,
    device: placement.results,
  });
  return { request, results, placement };
}
