// combinerAttention(): the own segment token by token, and each earlier one as a summary, in one softmax.
// Reader: someone who merges calls into an op. Everything is other ops: lists of blocks, ranges, mergeAttention(), and
// means as attention with queries of zeros. Semantics: Combiner (arXiv 2107.05768), "fixed", as google-research/combiner has it.

import { mismatch } from '../call/shape.js';
import { showDims, TilewiseTypeError } from '../check/errors.js';
import { checkInteger, checkNames, checkOneOf, maxTokens, namesOf } from '../check/validate.js';
import { type BlocksPattern, blocks } from '../patterns/blocks.js';
import { type RangesPattern, ranges } from '../patterns/ranges.js';
import { axesOf } from '../tensor/axes.js';
import type { DeviceName } from '../tensor/devices.js';
import { Tensor } from '../tensor/tensor.js';
import type { FloatType, TensorConstructor, TensorLike } from '../tensor/types.js';
import { floatTypes, readTensor, type View } from '../tensor/views.js';
import type { ResultOf } from './attention/attention.js';
import { type Layout, layouts } from './attention/options.js';
import { type Call, type Calls, inTurn, inTurnSync, type Part } from './calls.js';
import { mergeAttention, mergeAttentionSync } from './merge.js';

export interface CombinerOptions<T = Tensor> {
  /** Tokens per segment; from 1. The last may be short. */
  segment: number;
  /**
   * A key for every segment but the last, [batch, segments - 1, heads or kvHeads, headDim]; default the mean of its keys. The
   * type of q, as `summaryValues`, without which it is refused.
   */
  summaryKeys?: TensorLike;
  /** And a value; default what the mean of the segment's queries sees in the segment. */
  summaryValues?: TensorLike;
  /** Axes of all tensors: `'bnhd'` (default) or `'bhnd'`. */
  layout?: Layout;
  /** Factor on q·k; default 1 / sqrt(headDim). */
  scale?: number;
  /** Where to write the output. */
  out?: TensorLike;
  /** Class of the results. */
  Tensor?: TensorConstructor<T>;
  /** Cancels an asynchronous call. */
  signal?: AbortSignal;
  /** Where to run, as in attention(). */
  device?: DeviceName;
}

const optionNames = namesOf<CombinerOptions>({
  segment: 1,
  summaryKeys: 1,
  summaryValues: 1,
  layout: 1,
  scale: 1,
  out: 1,
  Tensor: 1,
  signal: 1,
  device: 1,
});

/**
 * Causal attention of every token to the tokens up to itself in its own segment, and to one summary of each earlier segment,
 * in one softmax. Work grows with tokens * (segment + tokens / segment). Parts are rounded to the type of q before they are
 * merged.
 * @param q queries, [batch, tokens, heads, headDim]
 * @param k keys, [batch, tokens, kvHeads, headDim]
 * @param v values, [batch, tokens, kvHeads, valueDim]
 * @param options see CombinerOptions; `segment` is needed
 * @returns `{ out, lse }`; rejects as attention() does, with RangeError ERR_TILEWISE_SHAPE_MISMATCH also where q and k differ
 *   in tokens, or summaries are not one per segment
 */
export async function combinerAttention<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: CombinerOptions<T>,
): Promise<Required<ResultOf<Q, T>>> {
  const { signal, ...whole } = read('combinerAttention()', q, k, options);
  const parts = await inTurn(callsOf(whole, q, k, v), signal);
  const { out, device, layout } = whole;
  const merged = await mergeAttention(parts, { layout, out, device, signal, Tensor: options.Tensor });
  return merged as unknown as Required<ResultOf<Q, T>>;
}

/**
 * combinerAttention() on the calling thread.
 * @throws {TypeError | RangeError | TilewiseError} what combinerAttention() rejects with
 */
export function combinerAttentionSync<const Q extends TensorLike, T = Tensor>(
  q: Q,
  k: TensorLike,
  v: TensorLike,
  options: CombinerOptions<T>,
): Required<ResultOf<Q, T>> {
  const { signal, ...whole } = read('combinerAttentionSync()', q, k, options);
  const parts = inTurnSync(callsOf(whole, q, k, v), signal);
  const { out, device, layout } = whole;
  const merged = mergeAttentionSync(parts, { layout, out, device, signal, Tensor: options.Tensor });
  return merged as unknown as Required<ResultOf<Q, T>>;
}

interface Whole {
  readonly segment: number;
  readonly segments: number;
  readonly summaryKeys: TensorLike | undefined;
  readonly summaryValues: TensorLike | undefined;
  readonly layout: Layout;
  readonly scale: number | undefined;
  readonly out: TensorLike | undefined;
  readonly device: DeviceName | undefined;
  readonly signal: AbortSignal | undefined;
  /** Of q: an axis of tokens, dims and type. */
  readonly query: Pick<View, 'dims' | 'type'> & { readonly tokens: number };
}

function read(where: string, q: TensorLike, k: TensorLike, options: CombinerOptions<unknown>): Whole {
  checkNames(where, options, optionNames);
  const { summaryKeys, summaryValues, scale, out, device, signal } = options;
  const layout = options.layout === undefined ? 'bnhd' : checkOneOf('layout', options.layout, layouts);
  const segment = checkInteger('segment', options.segment, 1, maxTokens);
  const [query, keys] = [readTensor('q', q, floatTypes), readTensor('k', k, floatTypes)];
  const { token } = axesOf(4, layout === 'bhnd');
  if (query.dims.length !== 4 || query.dims[token] !== keys.dims[token]) {
    throw mismatch(
      `\`q\` ${showDims(query.dims)} and \`k\` ${showDims(keys.dims)} must have 4 dims and the same tokens: a segment has both`,
    );
  }
  const segments = Math.ceil(query.dims[token] / segment);
  const summaries = Object.entries({ summaryKeys, summaryValues }).filter(([, tensor]) => tensor !== undefined);
  if (summaries.length === 1) {
    throw new TilewiseTypeError(
      'ERR_TILEWISE_INVALID_OPTION',
      `\`${summaries[0][0]}\` needs ${summaryKeys ? '`summaryValues`' : '`summaryKeys`'} next to it: a key needs a value`,
    );
  }
  for (const [name, tensor] of summaries) {
    const { dims } = readTensor(name, tensor, floatTypes);
    const before = Math.max(0, segments - 1);
    if (dims.length === 4 && dims[token] === before) continue;
    throw mismatch(
      `\`${name}\` must have one token for each of ${before} segments, all but the last, not ${showDims(dims)}`,
    );
  }
  return {
    ...{ segment, segments, summaryKeys, summaryValues, layout, scale, out, device, signal },
    query: { dims: query.dims, type: query.type, tokens: token },
  };
}

/** Yields the calls whose results it is sent; returns the parts that are merged. */
function* callsOf(whole: Omit<Whole, 'signal'>, q: TensorLike, k: TensorLike, v: TensorLike): Calls<Part[]> {
  const { segment, segments, summaryKeys, summaryValues, layout, scale, device, query } = whole;
  const call = (tensors: Call['tensors'], pattern: BlocksPattern | RangesPattern): Call => ({
    tensors,
    options: { pattern, layout, device, scale, returnLse: true },
  });
  const local = yield call([q, k, v], blocks({ blockQ: segment, blockK: segment, csr: own(segments), causal: true }));
  if (segments < 2) return [local];

  // One query for each segment but the last, which sees that segment.
  const ofSegments = (tensors: Call['tensors']) =>
    call(tensors, blocks({ blockQ: 1, blockK: segment, csr: own(segments - 1) }));
  // Scores of a query of zeros are equal: what it sees is the mean.
  const dims = query.dims.map((length, axis) => (axis === query.tokens ? segments - 1 : length));
  const zeros = Tensor.zeros(query.type as FloatType, dims);
  const keys = summaryKeys ?? (yield ofSegments([zeros, k, k])).out;
  const values = summaryValues ?? (yield ofSegments([(yield ofSegments([zeros, q, q])).out, k, v])).out;
  const summaries = yield call([q, keys, values], earlier(query.dims[query.tokens], segment));
  return [local, summaries];
}

/** Block m sees block m. */
const own = (blocks: number) => ({
  rowOffsets: Int32Array.from({ length: blocks + 1 }, (_, i) => i),
  columns: Int32Array.from({ length: blocks }, (_, i) => i),
});

/** Every token sees the summaries of earlier segments: O(tokens), where lists would name O(segments^2) blocks. */
const earlier = (tokens: number, segment: number): RangesPattern =>
  ranges({
    begins: new Int32Array(tokens),
    ends: Int32Array.from({ length: tokens }, (_, token) => Math.floor(token / segment)),
  });
