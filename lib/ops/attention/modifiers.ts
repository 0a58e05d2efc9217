// Modifiers: what is added to scores, hidden from them or joins their softmax, and which rows form a sequence.
// Reader: someone who adds an operand or an option of the scores.

import type { Place, Request } from '../../call/request.js';
import { checkSame, checkSize, mismatch, outputHeads, type Shape } from '../../call/shape.js';
import { showDims, TilewiseRangeError } from '../../check/errors.js';
import { maxTokens } from '../../check/validate.js';
import { field, place, slot } from '../../native/fields.js';
import { dataTypeCode } from '../../native/native.js';
import type { Grid } from '../../patterns/neighborhood.js';
import { type PositionsOfCall, positionsOf } from '../../patterns/positions.js';
import { axesOf } from '../../tensor/axes.js';
import type { View } from '../../tensor/views.js';
import { putActivation } from './activation.js';
import type { Settings } from './settings.js';

/**
 * What changes scores or joins their softmax, and which query head an output head reads.
 * @param sequences the shape as patterns see it
 */
export function putModifiers(request: Request, settings: Settings, shape: Shape, sequences: Shape): void {
  putScalars(request.numbers, settings);
  putBroadcast(request, 'scoreFactor', settings, shape);
  if (settings.scoreFactor) request.numbers[field.scoreFactorType] = dataTypeCode(settings.scoreFactor.type);
  putBias(request, settings, shape);
  putBroadcast(request, 'mask', settings, shape);
  putKeyMask(request, settings, sequences);
  putAlibi(request, settings, shape);
  if (settings.alibiSlopes && settings.positions) putPositions(request, positionsOf(settings.positions, shape));
  putSinks(request, settings.sinks, outputHeads(shape), place.sinks);
}

function putScalars(numbers: Float64Array, { isCosine, scale, softcap, activation, pairing }: Settings): void {
  if (scale !== undefined) numbers[field.scale] = scale;
  if (isCosine) numbers[field.isCosine] = 1;
  numbers[field.softcap] = softcap;
  putActivation(numbers, activation);
  numbers[field.pairing] = pairing === 'interleave' ? 1 : 0;
}

function putBias(request: Request, settings: Settings, shape: Shape): void {
  if (!settings.bias) return;
  putBroadcast(request, 'bias', settings, shape, settings.isBiasOfKvHeads);
  request.numbers[field.biasType] = dataTypeCode(settings.bias.type);
  if (settings.isBiasOfKvHeads) request.numbers[field.biasIsOfKvHeads] = 1;
}

/** @param isOfKvHeads whether a KV head's values serve its group */
export function putBroadcast<Name extends 'scoreFactor' | 'bias' | 'mask'>(
  request: Request,
  name: Name,
  settings: Pick<Settings, Name>,
  shape: Shape,
  isOfKvHeads = false,
): void {
  const given: View | undefined = settings[name];
  if (!given) return;
  const view = request.input(name, slot[name], given);
  const target = [shape.batch, isOfKvHeads ? shape.kvHeads : outputHeads(shape), shape.queries, shape.keys];
  request.place(field[name], view.offset, broadcast(name, view, target));
}

/** A row for each sequence. */
export function putKeyMask(
  request: Request,
  { keyMask }: Pick<Settings, 'keyMask'>,
  sizes: Pick<Shape, 'batch' | 'keys'>,
): void {
  if (!keyMask) return;
  checkKeyMask(keyMask, sizes);
  const { strides, offset } = request.input('keyMask', slot.keyMask, keyMask);
  request.place(field.keyMask, offset, strides);
}

export function checkKeyMask({ dims }: View, { batch, keys }: Pick<Shape, 'batch' | 'keys'>): void {
  if (dims.length === 2 && dims[0] === batch && dims[1] === keys) return;
  throw mismatch(`\`keyMask\` must have dims [${batch}, ${keys}], a row of keys per sequence, not ${showDims(dims)}`);
}

function putAlibi(request: Request, { alibiSlopes }: Settings, shape: Shape): void {
  if (!alibiSlopes) return;
  const heads = outputHeads(shape);
  const { dims, strides, offset } = request.input('alibiSlopes', slot.alibiSlopes, alibiSlopes);
  const rank = dims.length;
  if (!(rank === 1 || (rank === 2 && dims[0] === shape.batch)) || dims[rank - 1] !== heads) {
    throw mismatch(`\`alibiSlopes\` must have dims [${heads}] or [${shape.batch}, ${heads}], not ${showDims(dims)}`);
  }
  request.place(field.alibiSlopes, offset, [rank === 2 ? strides[0] : 0, strides[rank - 1]]);
}

/** Where tokens are, for ALiBi. The addon copies these. */
function putPositions(request: Request, { ofQueries, ofKeys }: PositionsOfCall): void {
  request.views[slot.queryPositions] = ofQueries;
  request.views[slot.keyPositions] = ofKeys;
}

/** Logits of the denominator alone, one per head. */
export function putSinks(request: Request, sinks: View | undefined, heads: number, at: Place): void {
  if (!sinks) return;
  const { dims, strides, offset } = request.input('sinks', at.slot, sinks);
  if (dims.length !== 1 || dims[0] !== heads) {
    throw mismatch(`\`sinks\` must have dims [${heads}], not ${showDims(dims)}`);
  }
  request.place(at.field, offset, strides);
}

/** Extra keys and values, which every query sees whatever the pattern. */
export function putExtras(request: Request, settings: Settings, shape: Shape, rank: number): void {
  const { extraKeys, extraValues, isHeadsFirst } = settings;
  if (!extraKeys || !extraValues) return;
  const isPacked = rank === 3;
  const axes = axesOf(isPacked ? 3 : 4, isHeadsFirst);
  const count = extraKeys.dims[axes.token] ?? 0;
  const dimsOf = (dim: number) => {
    const dims = isPacked ? [0, 0, dim] : [shape.batch, 0, 0, dim];
    dims[axes.token] = count;
    dims[axes.head] = shape.kvHeads;
    return dims;
  };
  checkSame('extraKeys', extraKeys, shape.keyType, dimsOf(shape.headDim));
  checkSame('extraValues', extraValues, shape.keyType, dimsOf(shape.valueDim));
  checkSize('The number of extra keys', count, 0, maxTokens);
  request.numbers[field.extraCount] = count;
  request.operand('extraKeys', place.extraKeys, extraKeys, isHeadsFirst);
  request.operand('extraValues', place.extraValues, extraValues, isHeadsFirst);
}

/** A bias per distance between query and key, in steps of the dilation. */
export function putRelativeBias(request: Request, settings: Settings, shape: Shape, { rules }: Grid): void {
  if (!settings.relativeBias) return;
  checkSame('relativeBias', settings.relativeBias, 'float32', [
    outputHeads(shape),
    ...rules.map(({ kernelSize }) => 2 * kernelSize - 1),
  ]);
  const { offset, strides } = request.input('relativeBias', slot.relativeBias, settings.relativeBias);
  const [byHead, ...byAxis] = strides;
  request.place(field.relativeBias, offset, [byHead, ...asRank3(byAxis)]);
}

/** Native code counts three axes, the last of the grid last. */
const asRank3 = (strides: number[]): number[] => [...new Array<number>(3 - strides.length).fill(0), ...strides];

/** Strides that read a tensor as if it had the dims of `target`: NumPy's broadcasting, aligned at the last axis. */
export function broadcast(name: string, view: View, target: readonly number[]): number[] {
  const skipped = target.length - view.dims.length;
  const fits = skipped >= 0 && view.dims.every((length, axis) => length === 1 || length === target[skipped + axis]);
  if (!fits) {
    throw mismatch(
      `\`${name}\` ${showDims(view.dims)} does not broadcast to ${showDims(target)} (batch, heads, queries, keys)`,
    );
  }
  return target.map((_, i) => (i < skipped || view.dims[i - skipped] === 1 ? 0 : view.strides[i - skipped]));
}

/**
 * Checks packed sequences, key lengths and key starts.
 * @returns the shape as patterns and stores see it: a batch entry per sequence, with the queries of the longest
 */
export function readSequences(settings: Settings, shape: Shape, q: View): Shape {
  const { cuSeqlensQ, cuSeqlensK, keyLengths, keyStarts } = settings;
  let sequences = shape;
  if (cuSeqlensQ) {
    if (shape.batch !== 1) throw mismatch(`Packed sequences have a batch of 1, but \`q\` has dims ${showDims(q.dims)}`);
    checkRunningTotals('cuSeqlensQ', cuSeqlensQ, shape.queries, 'q');
    const lengths = cuSeqlensQ.subarray(1).map((end, s) => end - cuSeqlensQ[s]);
    sequences = { ...shape, batch: lengths.length, queries: lengths.reduce((a, b) => Math.max(a, b), 0) };
  }
  if (cuSeqlensQ && cuSeqlensK) {
    checkRunningTotals('cuSeqlensK', cuSeqlensK, shape.keys, 'k');
    if (cuSeqlensQ.length !== cuSeqlensK.length) {
      throw mismatch(
        `\`cuSeqlensQ\` and \`cuSeqlensK\` must have one length, not ${cuSeqlensQ.length} and ${cuSeqlensK.length}`,
      );
    }
  }
  checkPadding({ keyLengths, keyStarts }, sequences);
  return sequences;
}

/** Checks key lengths and key starts. */
export function checkPadding(
  { keyLengths, keyStarts }: Pick<Settings, 'keyLengths' | 'keyStarts'>,
  sequences: Pick<Shape, 'batch' | 'keys'>,
): void {
  if (keyLengths) checkKeyLengths(keyLengths, sequences);
  if (keyStarts) checkKeyStarts(keyStarts, keyLengths, sequences);
}

/** What readSequences() checks. The addon copies these, so that they cannot change under a running call. */
export function putSequences(request: Request, { cuSeqlensQ, cuSeqlensK, keyLengths, keyStarts }: Settings): void {
  if (cuSeqlensQ) request.numbers[field.sequences] = cuSeqlensQ.length - 1;
  request.views[slot.cuSeqlensQ] = cuSeqlensQ;
  request.views[slot.cuSeqlensK] = cuSeqlensK;
  request.views[slot.keyLengths] = keyLengths;
  request.views[slot.keyStarts] = keyStarts;
}

/** One length per sequence, none beyond the keys. */
export function checkKeyLengths(keyLengths: Int32Array, { batch, keys }: Pick<Shape, 'batch' | 'keys'>): void {
  if (keyLengths.length !== batch) {
    throw mismatch(`\`keyLengths\` must have ${batch} entries, one per sequence, not ${keyLengths.length}`);
  }
  const wrong = keyLengths.findIndex((length) => length < 0 || length > keys);
  if (wrong < 0) return;
  throw wrongEntry(`keyLengths[${wrong}]`, keyLengths[wrong], `0 to ${keys}, the number of keys`);
}

/** One start per batch entry, none beyond its length. */
function checkKeyStarts(
  keyStarts: Int32Array,
  keyLengths: Int32Array | undefined,
  { batch, keys }: Pick<Shape, 'batch' | 'keys'>,
): void {
  if (keyStarts.length !== batch) {
    throw mismatch(`\`keyStarts\` must have ${batch} entries, one per batch entry, not ${keyStarts.length}`);
  }
  const wrong = keyStarts.findIndex((start, b) => start < 0 || start > (keyLengths?.[b] ?? keys));
  if (wrong < 0) return;
  const most = keyLengths ? `${keyLengths[wrong]}, its length` : `${keys}, the number of keys`;
  throw wrongEntry(`keyStarts[${wrong}]`, keyStarts[wrong], `0 to ${most}`);
}

export function checkRunningTotals(name: string, totals: Int32Array, rows: number, tensor: string): void {
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
