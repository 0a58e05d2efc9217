// dynamicMaskAttention(): attention to the keys that a bias of their own chooses.
// Reader: someone with a Doge model, or any score per key. Rule: DMA (arXiv 2508.02124). The keys are chosen here; the rest is
// attention(), over gathered keys or over ranges of one key and more.

import { checkHeads, mismatch, readShape, type Shape } from '../call/shape.js';
import { allocating, showDims, TilewiseTypeError } from '../check/errors.js';
import { checkBoolean, checkInteger, checkNames, checkOneOf, maxTokens, namesOf } from '../check/validate.js';
import { checkAlign, offsetOf } from '../patterns/align.js';
import type { Pattern } from '../patterns/index.js';
import { listedKeys, prefixes } from '../patterns/kept-keys.js';
import { type KeepRule, keptOf } from '../selectors/top-keys.js';
import { axesOf } from '../tensor/axes.js';
import { converted } from '../tensor/convert.js';
import { gathered, rowsOfHeads } from '../tensor/gather.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TensorLike } from '../tensor/types.js';
import { floatTypes, type HostView, isOnHost, readHostTensor, readTensor, type View } from '../tensor/views.js';
import { type ResultOf, runAttention, runAttentionSync } from './attention/attention.js';
import { type AttentionOptions, layouts } from './attention/options.js';

export interface DynamicMaskOptions<T = Tensor>
  extends Pick<
    AttentionOptions<T>,
    | 'layout'
    | 'causal'
    | 'align'
    | 'scale'
    | 'softcap'
    | 'sinks'
    | 'extraKeys'
    | 'extraValues'
    | 'returnLse'
    | 'out'
    | 'Tensor'
    | 'signal'
    | 'device'
    | 'copyInputs'
  > {
  /**
   * Chooses keys, and is added to their scores: [batch, kvHeads, 1, keys] for all queries, or [batch, kvHeads, queries, keys];
   * any float type, in the process's memory. A KV head's row serves its query heads. -Infinity hides a key.
   */
  keyBias: TensorLike;
  /** How many keys a row of `keyBias` keeps: those of its largest numbers, of equal ones the first. From 1. */
  topKeys?: number;
  /** `'positive'`, in place of `topKeys`: keys whose number is above 0. */
  keep?: 'positive';
}

const optionNames = namesOf<DynamicMaskOptions>({
  keyBias: 1,
  topKeys: 1,
  keep: 1,
  layout: 1,
  causal: 1,
  align: 1,
  scale: 1,
  softcap: 1,
  sinks: 1,
  extraKeys: 1,
  extraValues: 1,
  returnLse: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  device: 1,
  copyInputs: 1,
});

/**
 * Dynamic mask attention (DMA, arXiv 2508.02124): softmax over the keys that a bias chooses, the bias added to their scores.
 * The keys are chosen among all, later ones included, and then hidden by `causal`: an early query may see none, and has output 0
 * and lse -Infinity. Hide keys from the choice by -Infinity in `keyBias`.
 *
 * With one row of bias for all queries, time grows with queries * topKeys and memory with queries + keys: the kept keys are
 * copied once. Rows per query, few queries, and keys on a device take lists of keys per query instead. The choice is
 * made on the calling thread.
 *
 * @param q queries, [batch, queries, heads, headDim]
 * @param k keys, [batch, keys, kvHeads, headDim]
 * @param v values, [batch, keys, kvHeads, valueDim]
 * @param options see DynamicMaskOptions; `keyBias`, and `topKeys` or `keep`, are needed
 * @returns as attention(); rejects as it does, with RangeError ERR_TILEWISE_SHAPE_MISMATCH when `keyBias` is of other sizes,
 *   ERR_TILEWISE_INVALID_OPTION for `topKeys` next to `keep`, or neither
 */
export function dynamicMaskAttention<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: DynamicMaskOptions<T> & { returnLse: true },
): Promise<Required<ResultOf<Q, T>>>;
export function dynamicMaskAttention<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: DynamicMaskOptions<T>,
): Promise<ResultOf<Q, T>>;
export async function dynamicMaskAttention(
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: DynamicMaskOptions<unknown>,
): Promise<unknown> {
  const call = callOf('dynamicMaskAttention()', q, k, v, options);
  return runAttention('dynamicMaskAttention()', q, call.k, call.v, call.options);
}

/**
 * dynamicMaskAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what dynamicMaskAttention() rejects with
 */
export function dynamicMaskAttentionSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: DynamicMaskOptions<T> & { returnLse: true },
): Required<ResultOf<Q, T>>;
export function dynamicMaskAttentionSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: DynamicMaskOptions<T>,
): ResultOf<Q, T>;
export function dynamicMaskAttentionSync(
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: DynamicMaskOptions<unknown>,
): unknown {
  const call = callOf('dynamicMaskAttentionSync()', q, k, v, options);
  return runAttentionSync('dynamicMaskAttentionSync()', q, call.k, call.v, call.options);
}

/** With so few queries lists of keys cost less than copies of the keys. */
const fewQueries = 16;

/** The call of attention() that it is. */
function callOf(
  where: string,
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: DynamicMaskOptions<unknown>,
): { k: TensorLike; v: TensorLike; options: AttentionOptions<unknown> } {
  checkNames(where, options, optionNames);
  const { keyBias, topKeys, keep, causal, align: givenAlign, ...rest } = options;
  const rule = readRule(topKeys, keep);
  const bias = readHostTensor('keyBias', keyBias, floatTypes);
  const isHeadsFirst = rest.layout !== undefined && checkOneOf('layout', rest.layout, layouts) === 'bhnd';
  const isCausal = causal !== undefined && checkBoolean('causal', causal);
  const align = checkAlign(givenAlign);
  const [keys, values] = [readTensor('k', k, floatTypes), readTensor('v', v, floatTypes)];
  const shape = shapeOf(readTensor('q', q, floatTypes), keys, values, isHeadsFirst);
  checkBias(bias, shape);

  const rows = rowsOfHeads(bias).map((row) => asFloats(row));
  const kept = rows.map((row) => keptOf(row, rule));
  // The position of query 0; a query that sees all keys is behind them.
  const first = isCausal ? offsetOf(align, shape.queries, shape.keys) : undefined;
  const told = (pattern: Pattern, bias: TensorLike) => ({ ...rest, pattern, bias, biasHeads: 'kv' as const });
  const isShared = bias.dims[2] === 1;
  if (!isShared || shape.queries <= fewQueries || !isOnHost(keys) || !isOnHost(values)) {
    return { k, v, options: told(listedKeys(kept, shape, first), bias as TensorLike) };
  }
  const most = kept.reduce((length, row) => Math.max(length, row.length), 0);
  const tokens = axesOf(4, isHeadsFirst);
  const ofKept = allocating(() => new Float32Array(kept.length * most));
  kept.forEach((indices, row) => {
    indices.forEach((key, i) => {
      ofKept[row * most + i] = rows[row][key];
    });
  });
  return {
    k: gathered(keys, tokens, kept, most),
    v: gathered(values, tokens, kept, most),
    options: told(prefixes(kept, shape, first), {
      type: 'float32',
      data: ofKept,
      dims: [shape.batch, shape.kvHeads, 1, most],
    }),
  };
}

function readRule(topKeys: unknown, keep: unknown): KeepRule {
  if ((topKeys === undefined) === (keep === undefined)) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`keep\` and \`topKeys\` both say which keys are kept; give one of them${keep === undefined ? '' : ', not both'}`,
    );
  }
  if (keep !== undefined) return checkOneOf('keep', keep, ['positive'] as const);
  return { topKeys: checkInteger('topKeys', topKeys, 1, maxTokens) };
}

function shapeOf(q: View, k: View, v: View, isHeadsFirst: boolean): Shape {
  if (q.dims.length !== 4) {
    const axes = isHeadsFirst ? 'heads, queries' : 'queries, heads';
    throw mismatch(`\`q\` must have dims [batch, ${axes}, headDim], not ${showDims(q.dims)}`);
  }
  const shape = readShape(q, k, v, axesOf(4, isHeadsFirst));
  checkHeads(shape, undefined);
  return shape;
}

function checkBias({ dims }: View, { batch, kvHeads, queries, keys }: Shape): void {
  const fits = dims.length === 4 && dims[0] === batch && dims[1] === kvHeads && dims[3] === keys;
  if (fits && (dims[2] === 1 || dims[2] === queries)) return;
  throw mismatch(
    `\`keyBias\` must have dims [${batch}, ${kvHeads}, 1 or ${queries}, ${keys}] (batch, kvHeads, queries, keys), not ${showDims(dims)}`,
  );
}

/** A row of numbers as float32, where it is if it is that. */
function asFloats(row: HostView): Float32Array {
  if (row.type === 'float32' && row.strides[0] === 1) {
    return (row.data as Float32Array).subarray(row.offset, row.offset + row.dims[0]);
  }
  return converted(row, 'float32').data as Float32Array;
}
