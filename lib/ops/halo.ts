// haloAttention(): blocks of a picture, each of which sees itself and a halo around it.
// Reader: someone who comes from HaloNet (arXiv 2103.12731). It is a neighborhood whose windows an edge cuts; logits of relative
// positions are in halo-logits.ts.

import { mismatch } from '../call/shape.js';
import { showDims, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { checkInteger, checkOneOf, invalid, maxTokens, namesOf, readEach } from '../check/validate.js';
import { maxGridRank, neighborhood, type PerAxis } from '../patterns/neighborhood.js';
import { axesOf, lengthsOf, tokenAxesOf } from '../tensor/axes.js';
import type { TensorLike } from '../tensor/types.js';
import { floatTypes, readHostTensor, readTensor, type View } from '../tensor/views.js';
import { runAttention, runAttentionSync } from './attention/attention.js';
import { type AttentionOptions, layouts } from './attention/options.js';
import { type Calls, inTurn, inTurnSync, type Part } from './calls.js';
import { type HaloGrid, type RelativeLogits, withLogits } from './halo-logits.js';
import { outsidePart } from './halo-outside.js';
import { mergeAttention, mergeAttentionSync } from './merge.js';
import { type NamedOp, type NamedOpSync, splitOptions } from './named.js';

export interface HaloOptions {
  /** Tokens of a block, from 1: a number, or one per axis, outermost first. */
  block: PerAxis<number>;
  /** Tokens that a block sees on each side of itself, from 0, likewise. */
  halo: PerAxis<number>;
  /**
   * What is outside the map: `'mask'` (default) hides it; `'zero'` is a border of zeros, keys and values, which have their share
   * of the softmax and of `lse`.
   */
  border?: 'mask' | 'zero';
  /**
   * For each axis the key vectors of its distances, [2 * (block + halo) - 1, headDim], for all heads: row key - query + block +
   * halo - 1. The query's products with them are added to q·k before the scale. In the process's memory.
   */
  relativeKeys?: readonly TensorLike[];
}

const names = namesOf<HaloOptions>({ block: 1, halo: 1, border: 1, relativeKeys: 1 });
const borders = ['mask', 'zero'] as const;

/** A call that has been read. */
interface Read {
  readonly grid: HaloGrid;
  readonly isHeadsFirst: boolean;
  readonly isZero: boolean;
  readonly q: View;
  readonly k: View;
  readonly relative: readonly View[] | undefined;
  readonly common: AttentionOptions<unknown>;
}

/**
 * Halo attention (HaloNet, arXiv 2103.12731): a grid is cut into blocks, and the queries of a block see the keys of the block
 * and of a halo around it. Without `relativeKeys` and with the border hidden it is attention() with `pattern: neighborhood({
 * kernelSize: block + 2 * halo, stride: block, border: 'clip' })`: nothing is copied. A last block that is cut off keeps its
 * window.
 *
 * With `relativeKeys` copies of q and k carry their logits, min(block + 2 * halo, length) numbers more per axis and token,
 * rounded to the type of q. headDim and these numbers together are at most 4096. With `border: 'zero'` the result is merged with that
 * of the border, and 16-bit results are rounded before.
 *
 * @param q queries, [batch, ...tokens, heads, headDim] with one to three axes of tokens; with `layout: 'bhnd'`
 *   [batch, heads, ...tokens, headDim]
 * @param k keys, the tokens of q, [batch, ...tokens, kvHeads, headDim]
 * @param v values, the tokens of q, [batch, ...tokens, kvHeads, valueDim]
 * @param options `block` and `halo`, `border`, `relativeKeys`; and what neighborhoodAttention() takes
 * @returns out like q with valueDim; with `returnLse` lse [batch, heads, ...tokens]. Rejects as attention() does
 */
export const haloAttention = (async (q, k, v, options) => {
  const read = readHalo('haloAttention()', q, k, options);
  const { signal } = read.common;
  const told = await inTurn(toldOf(read), signal);
  const result = await runAttention('haloAttention()', told.q ?? q, told.k ?? k, v, told.options);
  if (!read.isZero) return result;
  const parts = [result as Part, outsidePart(result as Part, read.grid, read.isHeadsFirst, told.logits)];
  return wanted(await mergeAttention(parts, mergeOptions(read) as { signal?: AbortSignal }), read);
}) as NamedOp<HaloOptions>;

/**
 * haloAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what haloAttention() rejects with
 */
export const haloAttentionSync = ((q, k, v, options) => {
  const read = readHalo('haloAttentionSync()', q, k, options);
  const { signal } = read.common;
  const told = inTurnSync(toldOf(read), signal);
  const result = runAttentionSync('haloAttentionSync()', told.q ?? q, told.k ?? k, v, told.options);
  if (!read.isZero) return result;
  const parts = [result as Part, outsidePart(result as Part, read.grid, read.isHeadsFirst, told.logits)];
  return wanted(mergeAttentionSync(parts, mergeOptions(read) as { signal?: AbortSignal }), read);
}) as NamedOpSync<HaloOptions>;

interface Told {
  readonly q?: TensorLike;
  readonly k?: TensorLike;
  readonly options: AttentionOptions<unknown>;
  readonly logits?: RelativeLogits;
}

/** The call of attention() that it is; the products of queries and relative keys come first. */
function* toldOf({ grid, isHeadsFirst, isZero, q, k, relative, common }: Read): Calls<Told> {
  const pattern = neighborhood({
    kernelSize: grid.axes.map(({ block, halo }) => block + 2 * halo),
    stride: grid.axes.map(({ block }) => block),
    border: 'clip',
  });
  const scale = common.scale ?? 1 / Math.sqrt(q.dims[q.dims.length - 1]);
  const { out, Tensor, returnLse, ...rest } = common;
  // What is merged later is ours until then.
  const options = { ...rest, ...(isZero ? { returnLse: true } : { out, Tensor, returnLse }), pattern, scale };
  if (!relative) return { options };
  const { queries, keys, logits } = yield* withLogits(q, k, isHeadsFirst, grid, relative);
  return { q: queries, k: keys, options, logits: { ...logits, scale } };
}

const mergeOptions = ({ isHeadsFirst, common: { out, Tensor, signal, device } }: Read) => ({
  layout: isHeadsFirst ? ('bhnd' as const) : ('bnhd' as const),
  ...{ out, Tensor, signal, device },
});

const wanted = ({ out, lse }: { out: unknown; lse: unknown }, { common }: Read) =>
  common.returnLse ? { out, lse } : { out };

function readHalo(where: string, q: TensorLike, k: TensorLike, given: unknown): Read {
  const { own, common } = splitOptions(where, given, names);
  const isHeadsFirst = common.layout !== undefined && checkOneOf('layout', common.layout, layouts) === 'bhnd';
  const isZero = own.border !== undefined && checkOneOf('border', own.border, borders) === 'zero';
  const [queries, keys] = [readTensor('q', q, floatTypes), readTensor('k', k, floatTypes)];
  const rank = queries.dims.length - 3;
  if (rank < 1 || rank > maxGridRank) {
    throw mismatch(`\`q\` must have 1 to ${maxGridRank} axes of tokens, not dims ${showDims(queries.dims)}`);
  }
  const axes = axesOf(queries.dims.length, isHeadsFirst);
  const lengths = lengthsOf(queries, tokenAxesOf(axes, queries.dims.length));
  const [blocks, halos] = [perAxis('block', own.block, 1, rank), perAxis('halo', own.halo, 0, rank)];
  const grid = { axes: lengths.map((length, a) => ({ length, block: blocks[a], halo: halos[a] })) };
  const activation = common.activation ?? 'softmax';
  if (isZero && activation !== 'softmax') {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`border\` 'zero' is a share of a softmax; leave it out with \`activation\` '${String(activation)}'`,
    );
  }
  const relative =
    own.relativeKeys === undefined ? undefined : readRelative(own.relativeKeys, grid, queries.dims[axes.dim]);
  return { grid, isHeadsFirst, isZero, q: queries, k: keys, relative, common: common as AttentionOptions<unknown> };
}

function perAxis(name: string, value: unknown, least: number, rank: number): number[] {
  if (!Array.isArray(value)) return new Array<number>(rank).fill(checkInteger(name, value, least, maxTokens));
  if (value.length === rank)
    return readEach(value, (one, axis) => checkInteger(`${name}[${axis}]`, one, least, maxTokens));
  throw new TilewiseRangeError(
    'ERR_TILEWISE_SHAPE_MISMATCH',
    `\`${name}\` must be one number, or one for each of the ${rank} axes of tokens of \`q\`, not ${value.length}`,
  );
}

function readRelative(value: unknown, { axes }: HaloGrid, headDim: number): View[] {
  if (!Array.isArray(value)) throw invalid('relativeKeys', 'an array with a tensor for each axis of tokens', value);
  if (value.length !== axes.length) {
    throw mismatch(
      `\`relativeKeys\` must have a tensor for each of the ${axes.length} axes of tokens, not ${value.length}`,
    );
  }
  return readEach(value, (one, axis) => {
    const name = `relativeKeys[${axis}]`;
    const view = readHostTensor(name, one, floatTypes);
    const rows = 2 * (axes[axis].block + axes[axis].halo) - 1;
    if (view.dims.length === 2 && view.dims[0] === rows && view.dims[1] === headDim) return view;
    throw mismatch(
      `\`${name}\` must have dims [${rows}, ${headDim}], 2 * (block + halo) - 1 rows, not ${showDims(view.dims)}`,
    );
  });
}
