// stridedShards(): S2, a local window of blocks and one of every `vertStride` older ones, another one for each head.
// Reader: someone who runs Phi-3-small or a model trained with dkernel. Semantics: S2-Attention (arXiv 2407.17678) as
// dkernel, vLLM and onnxruntime compute it; the rule itself lives in core/pattern/strided_shards.h.

import { outputHeads, type Shape } from '../call/shape.js';
import { show, TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { checkBoolean, checkInteger, checkNames, checkOneOf, invalid, maxTokens, namesOf } from '../check/validate.js';
import { attentionOp } from '../native/fields.js';
import { type Align, checkAlign, putAlign } from './align.js';
import { made } from './made.js';
import { bounded } from './window.js';

/**
 * Block `kb` of keys is visible to block `qb` of queries when `kb <= qb` and either `qb - kb < localBlocks` or
 * `(kb + layout * headStep + headOffset) % vertStride == 0`; inside the diagonal block up to the query's own position.
 * Blocks are counted from position 0, wherever the queries begin. Heads of one layout see the same blocks.
 */
export interface StridedShardsPattern {
  readonly kind: 'stridedShards';
  readonly blockSize: number;
  /** A pair [left, right] with relative positions. */
  readonly localBlocks: number | readonly [left: number, right: number];
  readonly vertStride: number;
  readonly layoutPer: 'q' | 'kv';
  /** Undefined: from the preset and the number of heads. */
  readonly headStep: number | undefined;
  readonly headOffset: number;
  readonly headBase: number;
  readonly numDenseHeads: number;
  readonly homoHead: boolean;
  readonly positions: 'absolute' | 'relative';
  readonly align: Align;
  readonly preset: 'phi3' | 'dkernel' | undefined;
  /** Undefined: those of the tensors. */
  readonly numHeads: number | undefined;
  readonly numKvHeads: number | undefined;
  readonly requireFullCoverage: boolean | undefined;
}

export interface StridedShardsOptions {
  /** Tokens per block, of queries and keys alike; from 1. */
  blockSize: number;
  /** Blocks of the local window, the query's own included; from 1. `[left, right]` with `positions: 'relative'`. */
  localBlocks: number | readonly [left: number, right: number];
  /** One of so many older blocks stays visible; from 1, and 1 is dense. */
  vertStride: number;
  /** What has a layout of its own: each query head, or each KV head with all its queries; default `'kv'`. */
  layoutPer?: 'q' | 'kv';
  /** Blocks from one layout's shard to the next; default max(1, floor(vertStride / layouts)). */
  headStep?: number;
  /** Added to every layout's shift; default 0. */
  headOffset?: number;
  /** Number of the first head of these tensors in the whole model, counted in what `layoutPer` names; default 0. */
  headBase?: number;
  /** So many of the last layouts see every block up to their own; default 0. */
  numDenseHeads?: number;
  /** One layout for all heads. */
  homoHead?: boolean;
  /** `'relative'`: dkernel's bidirectional rule, by distance and the same for all heads; default `'absolute'`. */
  positions?: 'absolute' | 'relative';
  /** Where queries are among the keys; default `'bottom-right'`. */
  align?: Align;
  /**
   * Other defaults. `'phi3'` (Phi-3-small, vLLM): layouts per query head, headStep from the number of query heads,
   * headOffset 1. `'dkernel'`: headStep from the number of query heads though layouts are per KV head.
   */
  preset?: 'phi3' | 'dkernel';
  /** Query heads of the whole model when the tensors hold a part of it (tensor parallelism). */
  numHeads?: number;
  /** KV heads of the whole model, likewise. */
  numKvHeads?: number;
  /** True: refuse layouts that together miss a part of the far context. False: no warning about it either. */
  requireFullCoverage?: boolean;
}

export const stridedShardsNames = namesOf<StridedShardsOptions>({
  blockSize: 1,
  localBlocks: 1,
  vertStride: 1,
  layoutPer: 1,
  headStep: 1,
  headOffset: 1,
  headBase: 1,
  numDenseHeads: 1,
  homoHead: 1,
  positions: 1,
  align: 1,
  preset: 1,
  numHeads: 1,
  numKvHeads: 1,
  requireFullCoverage: 1,
});
const patternNames: ReadonlySet<string> = new Set(['kind', ...stridedShardsNames]);

/**
 * A local window of blocks and one of every `vertStride` older ones, which one depending on the head, so that the heads
 * together see everything: S2-Attention (arXiv 2407.17678), Phi-3-small's pattern.
 * @param options see StridedShardsOptions
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
 */
export function stridedShards(options: StridedShardsOptions): StridedShardsPattern {
  checkNames('stridedShards()', options, stridedShardsNames);
  return readStridedShards(options as unknown as Record<string, unknown>, '');
}

/** Checks a pattern that someone else may have built. */
export function checkStridedShards(value: Record<string, unknown>): StridedShardsPattern {
  const pattern = readStridedShards(value, 'pattern.');
  checkNames('`pattern`', value, patternNames);
  return pattern;
}

function readStridedShards(o: Record<string, unknown>, prefix: string): StridedShardsPattern {
  const has = (name: string) => o[name] !== undefined;
  const count = (name: string, least: number) => checkInteger(`${prefix}${name}`, o[name], least, maxTokens);
  const preset = has('preset') ? checkOneOf(`${prefix}preset`, o.preset, ['phi3', 'dkernel'] as const) : undefined;
  const positions = has('positions')
    ? checkOneOf(`${prefix}positions`, o.positions, ['absolute', 'relative'] as const)
    : 'absolute';
  const blockSize = count('blockSize', 1);
  const pattern: StridedShardsPattern = {
    kind: 'stridedShards',
    blockSize,
    localBlocks: readLocalBlocks(`${prefix}localBlocks`, o.localBlocks, positions),
    vertStride: count('vertStride', 1),
    layoutPer: has('layoutPer')
      ? checkOneOf(`${prefix}layoutPer`, o.layoutPer, ['q', 'kv'] as const)
      : preset === 'phi3'
        ? 'q'
        : 'kv',
    headStep: has('headStep') ? count('headStep', -maxTokens) : undefined,
    headOffset: has('headOffset') ? count('headOffset', -maxTokens) : preset === 'phi3' ? 1 : 0,
    headBase: has('headBase') ? count('headBase', 0) : 0,
    numDenseHeads: has('numDenseHeads') ? count('numDenseHeads', 0) : 0,
    homoHead: has('homoHead') && checkBoolean(`${prefix}homoHead`, o.homoHead),
    positions,
    align: checkAlign(o.align, `${prefix}align`),
    preset,
    numHeads: has('numHeads') ? count('numHeads', 1) : undefined,
    numKvHeads: has('numKvHeads') ? count('numKvHeads', 1) : undefined,
    requireFullCoverage: has('requireFullCoverage')
      ? checkBoolean(`${prefix}requireFullCoverage`, o.requireFullCoverage)
      : undefined,
  };
  if (pattern.homoHead) refuseBeside(pattern, 'homoHead', 'gives all heads one layout', ['headBase', 'numDenseHeads']);
  if (positions === 'relative') {
    const others = ['headStep', 'headOffset', 'headBase', 'numDenseHeads', 'homoHead'] as const;
    const why = "'relative' shows all heads the same blocks";
    refuseBeside(pattern, 'positions', why, preset === 'phi3' ? ['preset'] : others);
  }
  return made(pattern);
}

function readLocalBlocks(name: string, value: unknown, positions: string): StridedShardsPattern['localBlocks'] {
  if (!Array.isArray(value)) return checkInteger(name, value, 1, maxTokens);
  if (positions !== 'relative' || value.length !== 2) {
    throw invalid(name, "one count, or a pair [left, right] with `positions: 'relative'`", value);
  }
  const [left, right] = value.map((one, i) => checkInteger(`${name}[${i}]`, one, 1, maxTokens));
  return Object.freeze([left, right] as const);
}

/** Refuses options that say something which another option leaves no room for. */
function refuseBeside(
  pattern: StridedShardsPattern,
  name: 'homoHead' | 'positions',
  why: string,
  others: readonly (keyof StridedShardsPattern)[],
): void {
  for (const other of others) {
    if (!pattern[other]) continue;
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${name}\` ${why}; leave out \`${other}\` ${show(pattern[other])}`,
    );
  }
}

/** A pattern's layouts as numbers, for so many heads. */
export interface ShardLayouts {
  /** Layouts of the whole model. */
  readonly count: number;
  /** Layout of the first head, and consecutive heads with one layout; Infinity: all. */
  readonly base: number;
  readonly headsPerLayout: number;
  /** `headStep` and `headOffset` resolved, modulo vertStride. */
  readonly step: number;
  readonly offset: number;
  /** Layouts from here on are dense. */
  readonly firstDense: number;
}

/**
 * Resolves presets and head counts.
 * @param heads output heads of the tensors
 * @param kvHeads KV heads of the tensors
 * @throws {RangeError} ERR_TILEWISE_INVALID_OPTION when heads or dense heads exceed the model's
 */
export function shardLayouts(pattern: StridedShardsPattern, heads: number, kvHeads: number): ShardLayouts {
  const { vertStride, homoHead, headBase, numDenseHeads, preset, numHeads = heads, numKvHeads = kvHeads } = pattern;
  const isPerQuery = pattern.layoutPer === 'q';
  const name = isPerQuery ? 'numHeads' : 'numKvHeads';
  const [total, own] = isPerQuery ? [numHeads, heads] : [numKvHeads, kvHeads];
  if (!homoHead && headBase + own > total) {
    const from = pattern[name] === undefined ? ', as many as the tensors have' : '';
    throw tooMany(`\`headBase\` ${headBase} and ${own} heads`, `\`${name}\` ${total}${from}`);
  }
  if (numDenseHeads > total) throw tooMany(`\`numDenseHeads\` ${numDenseHeads}`, `\`${name}\` ${total}`);
  // dkernel divides by the query heads whatever has the layouts.
  const shared = homoHead ? 1 : preset === undefined ? total : numHeads;
  const step = pattern.headStep ?? Math.max(1, Math.floor(vertStride / shared));
  const within = (blocks: number) => ((blocks % vertStride) + vertStride) % vertStride;
  return {
    count: homoHead ? 1 : total,
    base: headBase,
    headsPerLayout: homoHead ? Number.POSITIVE_INFINITY : isPerQuery ? 1 : heads / kvHeads,
    step: within(step),
    offset: within(pattern.headOffset),
    firstDense: numDenseHeads === 0 ? Number.POSITIVE_INFINITY : total - numDenseHeads,
  };
}

const tooMany = (what: string, limit: string): Error =>
  new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', `${what} are more than ${limit}`);

const fieldAt = attentionOp.field;

const field = {
  blockSize: fieldAt('shardBlockSize'),
  localBlocks: fieldAt('shardLocalBlocks'),
  localBlocksRight: fieldAt('shardLocalBlocksRight'),
  vertStride: fieldAt('shardVertStride'),
  headStep: fieldAt('shardHeadStep'),
  headOffset: fieldAt('shardHeadOffset'),
  headBase: fieldAt('shardHeadBase'),
  headsPerLayout: fieldAt('shardHeadsPerLayout'),
  firstDense: fieldAt('shardFirstDense'),
  relative: fieldAt('shardRelative'),
};

/** Fills in strided shards. */
export function putShards(numbers: Float64Array, pattern: StridedShardsPattern, shape: Shape): void {
  const { blockSize, localBlocks, positions } = pattern;
  const layouts = shardLayouts(pattern, outputHeads(shape), shape.kvHeads);
  const [left, right] = typeof localBlocks === 'number' ? [localBlocks, localBlocks] : localBlocks;
  // Positions end at twice maxTokens, so a window of so many blocks covers them all.
  const most = Math.floor((2 * maxTokens) / blockSize) + 1;
  numbers[field.blockSize] = blockSize;
  numbers[field.localBlocks] = bounded(Math.min(left, most));
  numbers[field.localBlocksRight] = bounded(Math.min(right, most));
  numbers[field.vertStride] = pattern.vertStride;
  numbers[field.headStep] = layouts.step;
  numbers[field.headOffset] = layouts.offset;
  numbers[field.headBase] = layouts.base;
  numbers[field.headsPerLayout] = bounded(layouts.headsPerLayout);
  numbers[field.firstDense] = bounded(layouts.firstDense);
  numbers[field.relative] = positions === 'relative' ? 1 : 0;
  putAlign(numbers, pattern.align);
}
