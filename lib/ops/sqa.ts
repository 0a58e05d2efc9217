// Sparse query attention: fewer query heads than the model's nominal number, and what that saves.
// Reader: someone who configures or runs an SQA model. Semantics and names: Sparse Query Attention (arXiv 2510.01817) and
// its reference code; to the kernels it is attention with so many heads.

import type { Shape } from '../call/shape.js';
import { TilewiseRangeError, TilewiseTypeError } from '../check/errors.js';
import { checkBoolean, checkInteger, checkNames, checkOneOf, maxTokens, namesOf } from '../check/validate.js';
import type { TensorLike } from '../tensor/types.js';
import type { ResultOf } from './attention/attention.js';
import { type AttentionOptions, attentionNames } from './attention/options.js';
import { type NamedOp, type NamedOpSync, namedOps } from './named.js';

export interface SqaOptions
  extends Pick<
    AttentionOptions,
    'pattern' | 'causal' | 'recentTokens' | 'window' | 'sinkTokens' | 'align' | 'positions'
  > {
  /** Heads of the model, which its head dim comes from; the tensors may have as many or fewer. Checked, not used. */
  numHeads?: number;
}

const opNames: ReadonlySet<string> = new Set(['numHeads', ...attentionNames]);

const ops = namedOps<SqaOptions>('sparseQueryAttention', (where, given = {}) => {
  checkNames(where, given, opNames);
  const { numHeads, ...options } = given as SqaOptions;
  if (numHeads === undefined) return { options, internals: { isReversible: true } };
  checkInteger('numHeads', numHeads, 1, maxTokens);
  return { options, internals: { isReversible: true, check: (shape) => checkNominal(shape, numHeads) } };
});

/**
 * Sparse query attention (arXiv 2510.01817): attention whose q has fewer heads than the model, so that scores cost
 * heads / numHeads of the usual. Head counts come from the tensors: heads a multiple of kvHeads, or, reversed (rSQA),
 * kvHeads a multiple of heads, paired by `pairing`. With any pattern: a sliding window makes it SW-SQA.
 *
 * @param q queries, [batch, queries, heads, headDim]
 * @param k keys, [batch, keys, kvHeads, headDim]
 * @param v values, [batch, keys, kvHeads, valueDim]
 * @param options `numHeads` to have the head counts checked against the model's, and everything that attention() takes
 * @returns as attention(), out with max(heads, kvHeads) heads; rejects as it does, with RangeError
 *   ERR_TILEWISE_SHAPE_MISMATCH when the tensors have more heads than `numHeads`, or KV heads that do not divide it
 */
export const sparseQueryAttention = ops.promised as NamedOp<SqaOptions> &
  (<const Q extends TensorLike>(q: Q, k: TensorLike, v: TensorLike) => Promise<ResultOf<Q>>);

/**
 * sparseQueryAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what sparseQueryAttention() rejects with
 */
export const sparseQueryAttentionSync = ops.sync as NamedOpSync<SqaOptions> &
  (<const Q extends TensorLike>(q: Q, k: TensorLike, v: TensorLike) => ResultOf<Q>);

function checkNominal({ queryHeads, kvHeads }: Pick<Shape, 'queryHeads' | 'kvHeads'>, numHeads: number): void {
  const most = Math.max(queryHeads, kvHeads);
  if (most <= numHeads && numHeads % kvHeads === 0) return;
  throw new TilewiseRangeError(
    'ERR_TILEWISE_SHAPE_MISMATCH',
    `${queryHeads} query heads and ${kvHeads} KV heads do not fit \`numHeads\` ${numHeads}: neither may be more, and ` +
      'KV heads must divide it',
  );
}

/** Head counts of a layer. */
export interface SqaHeads {
  /** Heads of the model: d_model / numHeads is the head dim. */
  readonly numHeads: number;
  readonly numQueryHeads: number;
  readonly numKvHeads: number;
}

/** A layer's sizes. */
export interface SqaConfig extends SqaHeads {
  readonly dModel: number;
  /** Default dModel / numHeads. */
  readonly headDim?: number;
}

/** What a layer costs for one sequence. */
export interface SqaCost {
  /** Multiplications and additions of q·k and of the weighted sums. */
  readonly attnFlops: number;
  /** Those of the projections of q, k, v and of the output. */
  readonly projFlops: number;
  /** Weights of the four projections, without biases. */
  readonly params: number;
  /** Elements of the KV cache per token. */
  readonly kvElemsPerToken: number;
  /** Exponentials of the softmax. */
  readonly exps: number;
}

type Share = readonly [queryHeads: number, kvHeads: number, isFixed?: true];
/** Heads of each variant as shares of numHeads; 0: one head. A fixed number of KV heads is part of the name. */
const variants = {
  MHA: [1, 1, true],
  GQA: [1, 1 / 4],
  MQA: [1, 0, true],
  SQA: [1 / 2, 1 / 4],
  sSQA: [1 / 2, 1 / 2, true],
  xSQA: [1 / 4, 1 / 4],
  xSMQA: [1 / 4, 0, true],
  lSQA: [3 / 4, 1 / 4],
  rSQA: [1 / 4, 1 / 2],
} satisfies Record<string, Share>;

/** The variants of the paper and its predecessors. */
export type SqaVariant = keyof typeof variants;

/**
 * Head counts of a variant, for example xSQA of 32 heads: 8 query heads and 8 KV heads.
 * @param name MHA, GQA, MQA, SQA (half the query heads), sSQA (symmetric), xSQA (extreme: a quarter), xSMQA (one KV head),
 *   lSQA (light: three quarters), rSQA (reversed: fewer query heads than KV heads)
 * @param numHeads heads of the model
 * @param kv KV heads, where the name leaves them open; default numHeads / 4, for rSQA numHeads / 2
 * @throws {TypeError | RangeError} ERR_TILEWISE_INVALID_OPTION when heads would not be whole, or not divide
 */
export function sqaVariant(name: SqaVariant, numHeads: number, kv?: number): SqaHeads {
  checkOneOf('name', name, Object.keys(variants) as SqaVariant[]);
  checkInteger('numHeads', numHeads, 1, maxTokens);
  const [queryShare, kvShare, isFixed]: Share = variants[name];
  if (isFixed && kv !== undefined) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `${name} says how many KV heads there are; leave out \`kv\``,
    );
  }
  const heads = {
    numHeads,
    numQueryHeads: numHeads * queryShare,
    numKvHeads:
      kv === undefined ? Math.max(numHeads * kvShare, kvShare === 0 ? 1 : 0) : checkInteger('kv', kv, 1, numHeads),
  };
  const { numQueryHeads, numKvHeads } = heads;
  if (!Number.isInteger(numQueryHeads) || !Number.isInteger(numKvHeads)) {
    throw wrong(
      `\`numHeads\` ${numHeads} does not make ${name}: ${numQueryHeads} query heads and ${numKvHeads} KV heads`,
    );
  }
  checkConfigHeads(heads);
  const isReversed = numKvHeads > numQueryHeads;
  if (isReversed !== (name === 'rSQA')) {
    throw wrong(
      `\`kv\` ${numKvHeads} does not make ${name}, which has ${numQueryHeads} query heads and ` +
        `${name === 'rSQA' ? 'more' : 'no more'} KV heads`,
    );
  }
  return heads;
}

/**
 * What a layer costs for one sequence, by the exact formulas: with heads = max(query heads, KV heads) and f = 1/2 when
 * causal, 4 f n² heads headDim FLOPs of attention.
 * @param config sizes of the layer
 * @param n tokens of the sequence
 * @param causal whether the mask is a triangle, which halves attention
 * @throws {TypeError | RangeError} ERR_TILEWISE_UNKNOWN_OPTION, ERR_TILEWISE_INVALID_OPTION
 */
export function sqaCost(config: SqaConfig, n: number, causal: boolean): SqaCost {
  checkNames('sqaCost()', config, configNames);
  const dModel = checkInteger('dModel', config.dModel, 1, maxTokens);
  checkConfigHeads(config);
  const { numHeads, numQueryHeads, numKvHeads } = config;
  const headDim = checkInteger('headDim', config.headDim ?? dModel / numHeads, 1, maxTokens);
  checkInteger('n', n, 0, maxTokens);
  const share = checkBoolean('causal', causal) ? 1 / 2 : 1;
  const heads = Math.max(numQueryHeads, numKvHeads);
  const params = dModel * headDim * (numQueryHeads + 2 * numKvHeads + heads);
  return {
    attnFlops: 4 * share * n * n * heads * headDim,
    projFlops: 2 * n * params,
    params,
    kvElemsPerToken: 2 * numKvHeads * headDim,
    exps: share * n * n * heads,
  };
}

const configNames = namesOf<SqaConfig>({ dModel: 1, numHeads: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 1 });

function checkConfigHeads({ numHeads, numQueryHeads, numKvHeads }: SqaHeads): void {
  checkInteger('numHeads', numHeads, 1, maxTokens);
  checkInteger('numQueryHeads', numQueryHeads, 1, numHeads);
  checkInteger('numKvHeads', numKvHeads, 1, numHeads);
  if (numHeads % numKvHeads === 0 && (numQueryHeads % numKvHeads === 0 || numKvHeads % numQueryHeads === 0)) return;
  throw wrong(
    `\`numKvHeads\` ${numKvHeads} must divide \`numHeads\` ${numHeads}, and \`numQueryHeads\` ${numQueryHeads} or be a multiple of it`,
  );
}

const wrong = (message: string): Error => new TilewiseRangeError('ERR_TILEWISE_INVALID_OPTION', message);
