// The semantics of one attention call, in words and as the three questions every reference asks: which sequence does a
// row belong to, which heads meet, and does this query see this key. Reader: someone who wants to know what attention
// means here without reading kernels. From the README's contract and ONNX Attention-25, flash-attention's conventions.

import type { Gate } from './gate.js';
import { sampledAddend } from './mask-rules.js';
import { relativeIndex } from './neighborhood.js';
import { broadcast, type Operand, readElement, toNumbers } from './operand.js';
import { type PatternRule, ruleOf } from './pattern-rules.js';
import type { Turning } from './rotary.js';

/** Where tokens are, by [batch entry or 1][token]; they ascend. */
export interface Positions {
  queries: number[][];
  keys: number[][];
}

/** A number for all heads, or one per KV head or per query head. */
export type PerHead = number | readonly number[];

export interface Problem {
  query: Operand; // [batch, heads, tokens, dim], whatever the strides say about memory
  key: Operand;
  value: Operand;
  scale?: number; // 1 / sqrt(dim of query), of cosines 1
  cosine?: true; // queries and keys are divided by max(their length, 1e-12)
  softcap?: number; // scores become softcap * tanh(score / softcap), before anything is added
  // What makes a weight of a score: softmax; sigmoid of it plus a bias; relu over the number of keys. The latter have no lse.
  activation?: 'sigmoid' | 'relu';
  activationBias?: number | 'neg-log-keys'; // the latter: -ln of the number of the sequence's keys, hidden ones too
  causal?: boolean; // the same as right = 0
  left?: PerHead; // how many tokens before its position a query sees; undefined: all
  right?: PerHead; // and after it
  recentTokens?: PerHead; // causal, in place of both: how many tokens up to its position, its own included
  sinkTokens?: PerHead; // leading keys that a window's left edge does not hide
  pattern?: PatternRule;
  align?: 'bottom-right' | 'top-left' | number; // a query's position = its index + this (bottom-right: keys - queries)
  rotary?: Turning; // queries and keys are turned to their positions, in a type of 16 bits rounded to it
  positions?: Positions; // in place of `align`: what windows, sinks, power and ALiBi count
  pairing?: 'tile' | 'interleave'; // which query head a KV head meets when there are more KV heads
  scoreFactor?: Operand; // scores are multiplied by it, after softcap; of packed sequences by rows of q and k
  bias?: Operand; // added; -Infinity hides
  biasHeads?: 'kv'; // its heads are KV heads, each of which serves its group
  mask?: Operand; // 0 hides
  keyMask?: Operand; // [sequences, keys]: 0 hides from every head and query
  alibiSlopes?: Operand; // [heads] or [batch, heads]: score -= slope * |position - key|
  relativeBias?: Operand; // [heads, 2 K0 - 1, ...]: added by the place of a key in a neighborhood
  sinks?: Operand; // [heads]: one more term of the denominator that carries no value
  gate?: Gate; // multiplies rows of the result
  cuSeqlensQ?: ArrayLike<number>; // packed sequences: sequence s has rows cuSeqlens[s] up to cuSeqlens[s + 1]
  cuSeqlensK?: ArrayLike<number>;
  keyLengths?: ArrayLike<number>; // keys in use per batch entry of keys; with cuSeqlensQ each of these is a sequence's
  keyStarts?: ArrayLike<number>; // the first of them; sink tokens count from there
  pageLists?: PageLists; // a window hides all other pages
  extraKey?: Operand; // [batch, KV heads, more keys, dim]: every query sees these as well, nothing is added to their scores
  extraValue?: Operand;
}

/** The pages, runs of so many keys, that each sequence's queries see: one list, or one per KV head. */
export interface PageLists {
  size: number;
  lists: number[][][]; // [sequence][1 or KV heads]
}

export interface Sequence {
  batch: number;
  keyBatch: number; // batch entry of the keys, and what patterns take for the batch entry
  firstQuery: number;
  queries: number;
  firstKey: number;
  keys: number;
  keyStart: number; // keys before it are hidden
}

export interface Shape {
  batch: number;
  heads: number; // of the output
  queries: number;
  keys: number;
  headDim: number;
  valueDim: number;
}

const at = (list: ArrayLike<number>, index: number): number => list[index];

export function shapeOf(problem: Problem): Shape {
  const [batch, queryHeads, queries, headDim] = problem.query.dims as [number, number, number, number];
  const [, kvHeads, keys, valueDim] = problem.value.dims as [number, number, number, number];
  return { batch, heads: Math.max(queryHeads, kvHeads), queries, keys, headDim, valueDim };
}

/** The factor on products. */
export const scaleOf = (problem: Problem): number =>
  problem.scale ?? (problem.cosine ? 1 : 1 / Math.sqrt(shapeOf(problem).headDim));

/** What divides row `index` of rows of `dim` numbers by its length. */
export function lengthFactor(rows: ArrayLike<number>, index: number, dim: number): number {
  let squares = 0;
  for (let d = 0; d < dim; d++) squares += rows[index * dim + d] ** 2;
  return 1 / Math.max(Math.sqrt(squares), 1e-12);
}

export function sequencesOf(problem: Problem): Sequence[] {
  const { batch, queries, keys } = shapeOf(problem);
  const { cuSeqlensQ, cuSeqlensK, keyLengths, keyStarts } = problem;
  if (cuSeqlensQ && cuSeqlensK) {
    return Array.from({ length: cuSeqlensQ.length - 1 }, (_, s) => ({
      batch: 0,
      keyBatch: 0,
      firstQuery: at(cuSeqlensQ, s),
      queries: at(cuSeqlensQ, s + 1) - at(cuSeqlensQ, s),
      firstKey: at(cuSeqlensK, s),
      keys: at(cuSeqlensK, s + 1) - at(cuSeqlensK, s),
      keyStart: 0,
    }));
  }
  if (cuSeqlensQ && keyLengths) {
    return Array.from(keyLengths, (length, s) => ({
      batch: 0,
      keyBatch: s,
      firstQuery: at(cuSeqlensQ, s),
      queries: at(cuSeqlensQ, s + 1) - at(cuSeqlensQ, s),
      firstKey: 0,
      keys: length,
      keyStart: 0,
    }));
  }
  return Array.from({ length: batch }, (_, b) => ({
    batch: b,
    keyBatch: b,
    firstQuery: 0,
    queries,
    firstKey: 0,
    keys: keyLengths ? at(keyLengths, b) : keys,
    keyStart: keyStarts ? at(keyStarts, b) : 0,
  }));
}

/** The query head and the KV head behind an output head. */
export function headsOf(problem: Problem, head: number): { queryHead: number; kvHead: number } {
  const queryHeads = problem.query.dims[1];
  const kvHeads = problem.key.dims[1];
  if (kvHeads <= queryHeads) return { queryHead: head, kvHead: Math.floor(head / (queryHeads / kvHeads)) };
  const repeats = kvHeads / queryHeads;
  return { queryHead: problem.pairing === 'interleave' ? Math.floor(head / repeats) : head % queryHeads, kvHead: head };
}

/** The number of one output head: that of its KV head where there are as many, else that of its query head. */
function numberOf(numbers: PerHead, problem: Problem, head: number): number {
  if (typeof numbers === 'number') return numbers;
  const { queryHead, kvHead } = headsOf(problem, head);
  if (numbers.length === 1) return numbers[0]!;
  return numbers[numbers.length === problem.key.dims[1] ? kvHead : queryHead]!;
}

/** Keys and values of a problem as numbers, the extra ones behind the others. */
export function keysAndValues({ key, value, extraKey, extraValue }: Problem) {
  const join = (own: Operand, extra: Operand | undefined): Float64Array => {
    const [numbers, more] = [toNumbers(own), extra ? toNumbers(extra) : []];
    const all = new Float64Array(numbers.length + more.length);
    all.set(numbers);
    all.set(more, numbers.length);
    return all;
  };
  return { k: join(key, extraKey), v: join(value, extraValue) };
}

/** What one output head of one sequence adds to scores. Tokens are counted within the sequence. */
export interface Row {
  /** Does the query see the key? */
  sees(query: number, key: number): boolean;
  /** What the score is multiplied by, after softcap. */
  factor(query: number, key: number): number;
  /** Bias, ALiBi and what drawn blocks add, after the factor. */
  added(query: number, key: number): number;
  sink: number | undefined; // -Infinity is a sink that adds nothing
}

export function rowsOf(problem: Problem, sequence: Sequence, head: number): Row {
  const { batch, heads, queries, keys } = shapeOf(problem);
  const kvHeads = problem.key.dims[1];
  const { kvHead } = headsOf(problem, head);
  const cells = (operand: Operand, isOfKvHeads = false): ((query: number, key: number) => number) => {
    const full = broadcast(operand, [batch, isOfKvHeads ? kvHeads : heads, queries, keys]);
    const [batchStride, headStride, queryStride, keyStride] = full.strides;
    const first = sequence.firstQuery * queryStride + sequence.firstKey * keyStride;
    const start = full.offset + sequence.batch * batchStride + (isOfKvHeads ? kvHead : head) * headStride + first;
    return (query, key) => readElement(full, start + query * queryStride + key * keyStride);
  };
  const bias = problem.bias && cells(problem.bias, problem.biasHeads === 'kv');
  const mask = problem.mask && cells(problem.mask);
  const factor = problem.scoreFactor && cells(problem.scoreFactor);
  const { keyMask } = problem;
  const isShown = (key: number): boolean =>
    !keyMask ||
    readElement(keyMask, keyMask.offset + sequence.keyBatch * keyMask.strides[0] + key * keyMask.strides[1]) !== 0;
  const perHead = (operand: Operand): number => {
    const [batchStride, headStride] = broadcast(operand, [batch, heads]).strides;
    return readElement(operand, operand.offset + sequence.batch * batchStride + head * headStride);
  };
  const slope = problem.alibiSlopes ? perHead(problem.alibiSlopes) : 0;
  const sink = problem.sinks && perHead(problem.sinks);

  const ofHead = (numbers: PerHead) => numberOf(numbers, problem, head);
  const left = ofHead(problem.left ?? Infinity);
  const isCausal = problem.causal || problem.recentTokens !== undefined;
  const right = Math.min(ofHead(problem.right ?? Infinity), isCausal ? 0 : Infinity);
  const recent = ofHead(problem.recentTokens ?? Infinity);
  const sinkTokens = ofHead(problem.sinkTokens ?? 0);
  const { positionOf, placeOf } = placesOf(problem, sequence);
  const allowed = ruleOf(problem.pattern, { batch: sequence.keyBatch, head, heads, kvHeads, placeOf });
  const listed = listedPages(problem, sequence.keyBatch, head);
  const relative = relativeOf(problem, head);
  const { pattern } = problem;
  const drawn = pattern?.kind === 'sampledBlocks' && pattern.unbiased ? sampledAddend(pattern) : undefined;

  return {
    sees(query, key) {
      const [position, place] = [positionOf(query), placeOf(key)];
      if (key < sequence.keyStart || key >= sequence.keys || place > position + right) return false;
      const isInBand = place >= position - left && position - place < recent;
      if (!isInBand && (place < 0 || place >= sequence.keyStart + sinkTokens)) return false;
      if (!allowed(query, position, key) || !listed(key) || !isShown(key)) return false;
      return mask?.(query, key) !== 0 && bias?.(query, key) !== -Infinity && relative?.(query, key) !== -Infinity;
    },
    factor: (query, key) => factor?.(query, key) ?? 1,
    added(query, key) {
      return (
        (bias?.(query, key) ?? 0) +
        (relative?.(query, key) ?? 0) +
        (drawn?.(positionOf(query), placeOf(key)) ?? 0) -
        (slope ? slope * Math.abs(positionOf(query) - placeOf(key)) : 0)
      );
    },
    sink: sink === -Infinity ? undefined : sink,
  };
}

/** A row of the output, and the keys that its query sees. */
export interface QueryRow {
  row: number; // of the output
  query: number; // row of the query tensor
  tokens: Int32Array; // rows of keysAndValues(), the extra keys last
  factors: Float64Array; // of the score of each of them
  added: Float64Array; // to it
  sink: number | undefined;
  keysInUse: number; // of the sequence, without the extra ones
}

/** Every row that belongs to a sequence. The arrays of a row are those of the next one too. */
export function* queryRows(problem: Problem): Generator<QueryRow> {
  const { heads, queries, keys } = shapeOf(problem);
  const [queryHeads, [keyBatches, kvHeads]] = [problem.query.dims[1], problem.key.dims];
  const extras = problem.extraKey?.dims[2] ?? 0;
  const tokens = new Int32Array(keys + extras);
  const factors = new Float64Array(keys + extras);
  const added = new Float64Array(keys + extras);
  for (const sequence of sequencesOf(problem)) {
    const b = sequence.batch;
    for (let head = 0; head < heads; head++) {
      const { queryHead, kvHead } = headsOf(problem, head);
      const { sees, factor, added: addedTo, sink } = rowsOf(problem, sequence, head);
      for (let i = 0; i < sequence.queries; i++) {
        let count = 0;
        for (let j = 0; j < sequence.keys; j++) {
          if (!sees(i, j)) continue;
          tokens[count] = (sequence.keyBatch * kvHeads + kvHead) * keys + sequence.firstKey + j;
          factors[count] = factor(i, j);
          added[count++] = addedTo(i, j);
        }
        for (let j = 0; j < extras; j++) {
          tokens[count] = keyBatches * kvHeads * keys + (b * kvHeads + kvHead) * extras + j;
          factors[count] = 1;
          added[count++] = 0;
        }
        const token = sequence.firstQuery + i;
        yield {
          row: (b * heads + head) * queries + token,
          query: (b * queryHeads + queryHead) * queries + token,
          tokens: tokens.subarray(0, count),
          factors: factors.subarray(0, count),
          added: added.subarray(0, count),
          sink,
          keysInUse: sequence.keys - sequence.keyStart,
        };
      }
    }
  }
}

function listedPages(problem: Problem, sequence: number, head: number): (key: number) => boolean {
  if (!problem.pageLists) return () => true;
  const { size, lists } = problem.pageLists;
  const ofHeads = lists[sequence];
  const list = ofHeads.length === 1 ? ofHeads[0] : ofHeads[headsOf(problem, head).kvHead];
  return (key) => list.includes(Math.floor(key / size));
}

/** Where the queries and keys of a sequence are. */
export function placesOf(
  { positions, align = 'bottom-right' }: Problem,
  { batch, queries: count, keys: inUse }: Sequence,
) {
  const offset = align === 'bottom-right' ? inUse - count : align === 'top-left' ? 0 : align;
  if (!positions) return { positionOf: (query: number) => query + offset, placeOf: (key: number) => key };
  const [queries, keys] = [positions.queries, positions.keys].map((rows) => rows[rows.length === 1 ? 0 : batch]);
  return { positionOf: (query: number) => queries[query], placeOf: (key: number) => keys[key] };
}

function relativeOf({ pattern, relativeBias }: Problem, head: number) {
  if (!relativeBias || pattern?.kind !== 'neighborhood') return undefined;
  const { strides, offset } = relativeBias;
  return (query: number, key: number): number => {
    const index = relativeIndex(pattern, query, key);
    const place = index.reduce((sum, i, axis) => sum + i * strides[axis + 1], offset + head * strides[0]);
    return readElement(relativeBias, place);
  };
}

/** Which keys, counted in rows of the key tensor, a query row of the query tensor sees. For tests that poison memory. */
export function seenKeys(problem: Problem, batch: number, head: number, queryRow: number): number[] {
  for (const sequence of sequencesOf(problem)) {
    const query = queryRow - sequence.firstQuery;
    if (sequence.batch !== batch || query < 0 || query >= sequence.queries) continue;
    const rows = rowsOf(problem, sequence, head);
    const seen: number[] = [];
    for (let key = 0; key < sequence.keys; key++) if (rows.sees(query, key)) seen.push(sequence.firstKey + key);
    return seen;
  }
  return [];
}

export interface Result {
  out: Float64Array; // [batch, heads, queries, valueDim]
  lse: Float64Array; // [batch, heads, queries]
  keysSeen: Int32Array; // [batch, heads, queries]: how many
}
