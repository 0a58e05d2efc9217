// One call of attention() laid out for native code: shapes compared, strides found, results allocated.
// Reader: someone who asks which shapes fit together. The fields become core's Problem in binding/.

import { backendIndex } from './devices.js';
import { showDims, TilewiseRangeError, TilewiseTypeError } from './errors.js';
import { dataTypeCode, native, positions } from './native.js';
import { floatTypes, type Settings } from './options.js';
import type { Pattern } from './patterns.js';
import { type Axes, axesOf, Request, type Results } from './request.js';
import { type FloatType, readTensor, type TensorLike, type View } from './tensor.js';
import { maxTokens } from './validate.js';

const fieldAt = positions(native.attentionFields);
const slotAt = positions(native.attentionViews);
const fieldCount = native.attentionFields.length;
const viewCount = native.attentionViews.length;

const field = {
  device: fieldAt('device'),
  batch: fieldAt('batch'),
  queryHeads: fieldAt('queryHeads'),
  kvHeads: fieldAt('kvHeads'),
  queries: fieldAt('queries'),
  keys: fieldAt('keys'),
  headDim: fieldAt('headDim'),
  valueDim: fieldAt('valueDim'),
  type: fieldAt('type'),
  sequences: fieldAt('sequences'),
  scale: fieldAt('scale'),
  softcap: fieldAt('softcap'),
  left: fieldAt('left'),
  right: fieldAt('right'),
  sinkTokens: fieldAt('sinkTokens'),
  align: fieldAt('align'),
  alignOffset: fieldAt('alignOffset'),
  pairing: fieldAt('pairing'),
  biasType: fieldAt('biasType'),
  // Operands have their strides in the fields that follow the offset.
  q: fieldAt('queryOffset'),
  k: fieldAt('keyOffset'),
  v: fieldAt('valueOffset'),
  out: fieldAt('outOffset'),
  lse: fieldAt('lseOffset'),
  bias: fieldAt('biasOffset'),
  mask: fieldAt('maskOffset'),
  alibiSlopes: fieldAt('slopesOffset'),
  sinks: fieldAt('sinksOffset'),
};
const slot = {
  q: slotAt('query'),
  k: slotAt('key'),
  v: slotAt('value'),
  out: slotAt('out'),
  lse: slotAt('lse'),
  bias: slotAt('bias'),
  mask: slotAt('mask'),
  alibiSlopes: slotAt('slopes'),
  sinks: slotAt('sinks'),
  cuSeqlensQ: slotAt('cuQueries'),
  cuSeqlensK: slotAt('cuKeys'),
  keyLengths: slotAt('keyLengths'),
};

/** The sizes of a problem, as explain() is told them and attention() finds them in the tensors. */
export interface Shape {
  readonly batch: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly type: FloatType;
}

/** Largest headDim and valueDim. */
export const maxHeadDim = 512;

const mismatch = (message: string): Error => new TilewiseRangeError('ERR_TILEWISE_SHAPE_MISMATCH', message);

/** A problem of this shape and pattern without data, for explain(). */
export function describe(shape: Shape, pattern: Pattern, device: Settings['device']): Float64Array {
  const { numbers } = new Request(fieldCount, 0, false);
  putProblem(numbers, shape, pattern, device);
  return numbers;
}

/** Checks the tensors against each other and the options, and lays out the call. */
export function prepare(
  qLike: TensorLike,
  kLike: TensorLike,
  vLike: TensorLike,
  outLike: TensorLike | undefined,
  settings: Settings,
): { request: Request; results: Results } {
  const q = readTensor('q', qLike, floatTypes);
  const k = readTensor('k', kLike, floatTypes);
  const v = readTensor('v', vLike, floatTypes);
  const rank = q.dims.length;
  const isPacked = settings.cuSeqlensQ !== undefined;
  if (rank !== 4 && !(isPacked && rank === 3)) {
    const layout = settings.isHeadsFirst ? '[batch, heads, tokens, dim]' : '[batch, tokens, heads, dim]';
    const orPacked = isPacked ? ' or the last three' : '';
    throw mismatch(`\`q\` must have dims ${layout}${orPacked}, not ${showDims(q.dims)}`);
  }
  const axes = axesOf(rank, settings.isHeadsFirst);
  const shape = readShape(q, k, v, axes);
  checkHeads(shape, settings.pairing);

  const request = new Request(fieldCount, viewCount, settings.copyInputs);
  const { numbers } = request;
  putProblem(numbers, shape, settings.pattern, settings.device);
  if (settings.scale !== undefined) numbers[field.scale] = settings.scale;
  numbers[field.softcap] = settings.softcap;
  numbers[field.pairing] = settings.pairing === 'interleave' ? 1 : 0;
  request.operand('q', field.q, slot.q, q, axes);
  request.operand('k', field.k, slot.k, k, axes);
  request.operand('v', field.v, slot.v, v, axes);
  putModifiers(request, settings, shape);
  putSequences(request, settings, shape, q);

  const heads = outputHeads(shape);
  const outDims = new Array<number>(rank);
  if (rank === 4) outDims[axes.batch] = shape.batch;
  outDims[axes.token] = shape.queries;
  outDims[axes.head] = heads;
  outDims[axes.dim] = shape.valueDim;
  const { out } = settings;
  if (out) checkSame('out', out, shape.type, outDims);
  const lseDims = rank === 4 ? [shape.batch, heads, shape.queries] : [heads, shape.queries];
  const results = request.results(
    {
      given: outLike,
      out,
      axes,
      type: shape.type,
      outDims,
      lseDims: settings.returnLse ? lseDims : undefined,
      Tensor: settings.Tensor,
    },
    field,
    slot,
  );
  return { request, results };
}

/** Refuses a tensor that differs from what it must be. */
export function checkSame(name: string, view: View, type: string, dims: readonly number[]): void {
  if (view.type !== type) {
    throw new TilewiseTypeError('ERR_TILEWISE_DTYPE', `\`${name}\` must have type ${type}, not ${view.type}`);
  }
  if (view.dims.length !== dims.length || dims.some((length, axis) => view.dims[axis] !== length)) {
    throw mismatch(`\`${name}\` must have dims ${showDims(dims)}, not ${showDims(view.dims)}`);
  }
}

/** Refuses sizes beyond what index arithmetic allows. */
export function checkSize(name: string, value: number, least: number, most: number): void {
  if (value < least || value > most) throw mismatch(`${name} must be ${least} to ${most}, not ${value}`);
}

function readShape(q: View, k: View, v: View, axes: Axes): Shape {
  if (k.type !== q.type || v.type !== q.type) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_DTYPE',
      `\`q\`, \`k\` and \`v\` must have one type, not ${q.type}, ${k.type} and ${v.type}`,
    );
  }
  const length = (view: View, axis: number) => (axis < 0 ? 1 : view.dims[axis]);
  const rank = q.dims.length;
  const agree =
    k.dims.length === rank &&
    v.dims.length === rank &&
    length(k, axes.batch) === length(q, axes.batch) &&
    length(v, axes.batch) === length(q, axes.batch) &&
    length(v, axes.token) === length(k, axes.token) &&
    length(v, axes.head) === length(k, axes.head) &&
    length(k, axes.dim) === length(q, axes.dim);
  if (!agree) {
    throw mismatch(
      `\`q\` ${showDims(q.dims)}, \`k\` ${showDims(k.dims)} and \`v\` ${showDims(v.dims)} do not fit: ` +
        'they share the batch, q and k the dim, k and v tokens and heads',
    );
  }
  const shape: Shape = {
    batch: length(q, axes.batch),
    queryHeads: length(q, axes.head),
    kvHeads: length(k, axes.head),
    queries: length(q, axes.token),
    keys: length(k, axes.token),
    headDim: length(q, axes.dim),
    valueDim: length(v, axes.dim),
    type: q.type as FloatType,
  };
  checkSize('The batch', shape.batch, 0, maxTokens);
  checkSize('The number of query heads', shape.queryHeads, 1, maxTokens);
  checkSize('The number of KV heads', shape.kvHeads, 1, maxTokens);
  checkSize('The number of queries', shape.queries, 0, maxTokens);
  checkSize('The number of keys', shape.keys, 0, maxTokens);
  checkSize('The dim of `q` and `k`', shape.headDim, 1, maxHeadDim);
  checkSize('The dim of `v`', shape.valueDim, 1, maxHeadDim);
  return shape;
}

/** Heads of the output, of modifiers and of `lse`. */
export const outputHeads = (shape: Shape): number => Math.max(shape.queryHeads, shape.kvHeads);

/** Grouped heads must divide evenly; `pairing` answers a question that only reverse SQA poses. */
export function checkHeads({ queryHeads, kvHeads }: Shape, pairing?: string): void {
  if (queryHeads % kvHeads !== 0 && kvHeads % queryHeads !== 0) {
    throw mismatch(`${queryHeads} query heads and ${kvHeads} KV heads do not divide either way`);
  }
  if (pairing !== undefined && kvHeads <= queryHeads) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`pairing\` '${pairing}' needs more KV heads than query heads, not ${kvHeads} and ${queryHeads}`,
    );
  }
}

function putProblem(numbers: Float64Array, shape: Shape, pattern: Pattern, device: Settings['device']): void {
  numbers[field.device] = backendIndex(device);
  numbers[field.batch] = shape.batch;
  numbers[field.queryHeads] = shape.queryHeads;
  numbers[field.kvHeads] = shape.kvHeads;
  numbers[field.queries] = shape.queries;
  numbers[field.keys] = shape.keys;
  numbers[field.headDim] = shape.headDim;
  numbers[field.valueDim] = shape.valueDim;
  numbers[field.type] = dataTypeCode(shape.type);
  numbers[field.sequences] = shape.batch;
  numbers[field.scale] = 1 / Math.sqrt(shape.headDim);
  // maxTokens reaches past every key, which is what open means in native code.
  numbers[field.left] = Math.min(pattern.left, maxTokens);
  numbers[field.right] = Math.min(pattern.right, maxTokens);
  numbers[field.sinkTokens] = pattern.sinkTokens;
  const { align } = pattern;
  numbers[field.align] = align === 'bottom-right' ? 0 : align === 'top-left' ? 1 : 2;
  numbers[field.alignOffset] = typeof align === 'object' ? align.offset : 0;
}

/** bias, mask, ALiBi slopes and sink logits. */
function putModifiers(request: Request, settings: Settings, shape: Shape): void {
  const { numbers } = request;
  const heads = outputHeads(shape);
  for (const name of ['bias', 'mask'] as const) {
    const given = settings[name];
    if (!given) continue;
    const view = request.input(name, slot[name], given);
    numbers[field[name]] = view.offset;
    numbers.set(broadcast(name, view, [shape.batch, heads, shape.queries, shape.keys]), field[name] + 1);
  }
  if (settings.bias) numbers[field.biasType] = dataTypeCode(settings.bias.type);
  if (settings.alibiSlopes) {
    const { dims, strides, offset } = request.input('alibiSlopes', slot.alibiSlopes, settings.alibiSlopes);
    const rank = dims.length;
    if (!(rank === 1 || (rank === 2 && dims[0] === shape.batch)) || dims[rank - 1] !== heads) {
      throw mismatch(`\`alibiSlopes\` must have dims [${heads}] or [${shape.batch}, ${heads}], not ${showDims(dims)}`);
    }
    numbers[field.alibiSlopes] = offset;
    numbers[field.alibiSlopes + 1] = rank === 2 ? strides[0] : 0;
    numbers[field.alibiSlopes + 2] = strides[rank - 1];
  }
  if (settings.sinks) {
    const { dims, strides, offset } = request.input('sinks', slot.sinks, settings.sinks);
    if (dims.length !== 1 || dims[0] !== heads) {
      throw mismatch(`\`sinks\` must have dims [${heads}], not ${showDims(dims)}`);
    }
    numbers[field.sinks] = offset;
    numbers[field.sinks + 1] = strides[0];
  }
}

/** Strides that read a tensor as if it had the dims of `target`: NumPy's broadcasting, aligned at the last axis. */
function broadcast(name: string, view: View, target: readonly number[]): number[] {
  const skipped = target.length - view.dims.length;
  const fits = skipped >= 0 && view.dims.every((length, axis) => length === 1 || length === target[skipped + axis]);
  if (!fits) {
    throw mismatch(
      `\`${name}\` ${showDims(view.dims)} does not broadcast to ${showDims(target)} (batch, heads, queries, keys)`,
    );
  }
  return target.map((_, i) => (i < skipped || view.dims[i - skipped] === 1 ? 0 : view.strides[i - skipped]));
}

/** Packed sequences and key lengths. The addon copies these, so that they cannot change under a running call. */
function putSequences(request: Request, settings: Settings, shape: Shape, q: View): void {
  const { cuSeqlensQ, cuSeqlensK, keyLengths } = settings;
  if (cuSeqlensQ && cuSeqlensK) {
    if (shape.batch !== 1) throw mismatch(`Packed sequences have a batch of 1, but \`q\` has dims ${showDims(q.dims)}`);
    checkRunningTotals('cuSeqlensQ', cuSeqlensQ, shape.queries, 'q');
    checkRunningTotals('cuSeqlensK', cuSeqlensK, shape.keys, 'k');
    if (cuSeqlensQ.length !== cuSeqlensK.length) {
      throw mismatch(
        `\`cuSeqlensQ\` and \`cuSeqlensK\` must have one length, not ${cuSeqlensQ.length} and ${cuSeqlensK.length}`,
      );
    }
    request.numbers[field.sequences] = cuSeqlensQ.length - 1;
    request.views[slot.cuSeqlensQ] = cuSeqlensQ;
    request.views[slot.cuSeqlensK] = cuSeqlensK;
  }
  if (keyLengths) {
    if (keyLengths.length !== shape.batch) {
      throw mismatch(`\`keyLengths\` must have ${shape.batch} entries, one per batch entry, not ${keyLengths.length}`);
    }
    const wrong = keyLengths.findIndex((length) => length < 0 || length > shape.keys);
    if (wrong >= 0) {
      throw wrongEntry(`keyLengths[${wrong}]`, keyLengths[wrong], `0 to ${shape.keys}, the number of keys`);
    }
    request.views[slot.keyLengths] = keyLengths;
  }
}

function checkRunningTotals(name: string, totals: Int32Array, rows: number, tensor: string): void {
  if (totals.length === 0) throw wrongEntry(name, 'empty', 'at least one entry, 0');
  if (totals[0] !== 0) throw wrongEntry(`${name}[0]`, totals[0], '0');
  for (let i = 1; i < totals.length; ++i) {
    if (totals[i] < totals[i - 1])
      throw wrongEntry(`${name}[${i}]`, totals[i], `at least ${totals[i - 1]}, the entry before`);
  }
  const last = totals.length - 1;
  if (totals[last] !== rows)
    throw wrongEntry(`${name}[${last}]`, totals[last], `${rows}, the number of rows of \`${tensor}\``);
}

const wrongEntry = (name: string, value: unknown, expected: string): Error =>
  new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', `\`${name}\` must be ${expected}, not ${value}`);
