// Case: one attention call as a few words of JSON. build() turns it into tensors for the public API and into the same
// problem for the references. Reader: someone adding a case, or looking at a failure's repro line.

import type { AttentionOptions, TensorLike } from '../../dist/index.js';
import type { Gate } from '../references/gate.js';
import { type FloatType, round } from '../references/half.js';
import type { SelectionOptions } from '../references/hierarchical.js';
import type { Documents, Moa, Power, SampledBlocks, Slices } from '../references/mask-rules.js';
import { type Operand, toNumbers } from '../references/operand.js';
import type { PerHead, Positions, Problem } from '../references/problem.js';
import type { Turning } from '../references/rotary.js';
import type { StridedShards } from '../references/strided-shards.js';
import { type Layout, operandOf, type Storage, store, toPlainTensor, toTensor } from './memory.js';
import { listsOf, type PagesCase, pagesOf } from './pages.js';
import {
  type BlockCase,
  type BlockForm,
  blocksOf,
  type NeighborhoodCase,
  neighborhoodOf,
  patternOf,
  type RangesCase,
  rangesOf,
} from './patterns.js';
import { Random } from './random.js';

/** What exporters write into masks and biases, in whole regions: who sees a key, by its index and the query's. */
const structures = {
  causal: (q: number, k: number, _b: number, queries: number, keys: number) => k <= q + keys - queries,
  right: (_q: number, k: number, b: number, _queries: number, keys: number) =>
    k < Math.ceil((keys * (b + 1)) / (b + 2)),
  left: (_q: number, k: number, b: number, _queries: number, keys: number) =>
    k >= Math.floor((keys * (b + 1)) / (b + 3)),
  tiles: (q: number, k: number) => (Math.floor(q / 37) + Math.floor(k / 75)) % 2 === 0,
};
export type Structure = keyof typeof structures;

/** Which of the axes b, h, q, k a bias or mask has in full ('qk' is [queries, keys], 'b' is [batch, 1, 1, 1]). */
export type Axes = string;

export interface Case {
  seed?: number;
  dtype?: FloatType;
  layout?: Layout;
  storage?: Storage;
  batch?: number;
  heads?: [query: number, kv: number];
  pairing?: 'tile' | 'interleave';
  queries: number;
  keys: number;
  dims?: [head: number, value: number];
  amplitude?: number; // standard deviation of queries and keys; values have 1
  causal?: true;
  // An array has one number per KV head or per query head.
  left?: PerHead;
  right?: PerHead;
  recentTokens?: PerHead;
  sinkTokens?: PerHead;
  align?: 'bottom-right' | 'top-left' | number;
  scale?: number;
  rotary?: Turning;
  cosine?: true; // temperature is 1 / scale
  softcap?: number;
  activation?: 'sigmoid' | 'relu';
  activationBias?: number | 'neg-log-keys';
  // hidden: share of cells; prefix: hide that many leading keys; structure: in place of both, and of numbers other than 0
  bias?: {
    axes: Axes;
    dtype?: FloatType;
    hidden?: number;
    lowest?: number;
    prefix?: number;
    structure?: Structure;
    heads?: 'kv';
  };
  factor?: { axes: Axes; dtype?: FloatType };
  mask?: { axes: Axes; hidden?: number; prefix?: number; structure?: Structure };
  keyMask?: { hidden?: number; structure?: 'left' | 'right' };
  alibi?: 'h' | 'bh';
  sinks?: true;
  // runs of so many queries are closed, or are open, alternately; without lse what is closed need not be computed
  gate?: { run: number; dtype?: FloatType; withoutLse?: true };
  keyLengths?: number[];
  keyStarts?: number[];
  cuSeqlensQ?: number[]; // packed: queries and keys are the totals; on pages with keyLengths, keys those of one sequence
  cuSeqlensK?: number[];
  is3d?: true;
  grid?: number[]; // lengths of the axes in place of the tokens; queries and keys are their product
  neighborhood?: NeighborhoodCase;
  relativeBias?: true;
  shards?: Omit<StridedShards, 'kind'>;
  blocks?: BlockCase;
  ranges?: RangesCase;
  documents?: Omit<Documents, 'kind'>;
  slices?: Slices['lists'];
  power?: Omit<Power, 'kind'>;
  sampled?: Omit<SampledBlocks, 'kind'>;
  moa?: Omit<Moa, 'kind'>;
  positions?: Positions;
  hip?: SelectionOptions; // the lists are the library's own, see judge.ts
  extra?: number; // more keys, seen by every query
  pages?: PagesCase; // with keyLengths; with cuSeqlensQ, too, these are per sequence
}

export interface Call {
  query: TensorLike;
  key: TensorLike;
  value: TensorLike;
  options: AttentionOptions;
}

export interface Built {
  layout: Layout;
  storage: Storage;
  is3d: boolean;
  problem: Problem;
  grid?: number[];
  form?: BlockForm;
  pages?: PagesCase;
  seed?: number; // of the pages' order
}

/** What a case and its problem call by one name. */
const named = [
  'scale',
  'rotary',
  'cosine',
  'softcap',
  'activation',
  'activationBias',
  'causal',
  'left',
  'right',
  'recentTokens',
  'sinkTokens',
  'align',
  'positions',
  'pairing',
] as const;
const lists = ['keyLengths', 'keyStarts', 'cuSeqlensQ', 'cuSeqlensK'] as const;

/** An operand of one number after the other. */
const filled = (type: FloatType, dims: number[], next: () => number): Operand =>
  operandOf(
    type,
    dims,
    Array.from({ length: dims.reduce((a, n) => a * n, 1) }, () => next()),
  );

/** What is added to the scores of a case, and what hides its keys. */
function addScoreRules(c: Case, problem: Problem, random: Random): void {
  const batch = c.batch ?? 1;
  const heads = Math.max(...(c.heads ?? [1, 1]));
  const sizes: Record<string, number> = { b: batch, h: heads, q: c.queries, k: c.keys };
  const scores = (
    axes: Axes,
    element: (k: number, q: number, b: number) => number,
    type: FloatType | 'bool',
    isOfKvHeads = false,
  ): Operand => {
    const lengths = isOfKvHeads ? { ...sizes, h: c.heads?.[1] ?? 1 } : sizes;
    const dims = [...'bhqk'].map((axis) => (axes.includes(axis) ? lengths[axis] : 1));
    const [, , rows, columns] = dims;
    const numbers = Array.from({ length: dims.reduce((a, n) => a * n, 1) }, (_, i) =>
      element(i % columns, Math.floor(i / columns) % rows, Math.floor(i / (dims[1] * rows * columns))),
    );
    const missing = axes ? 'bhqk'.indexOf(axes[0]) : 3;
    return operandOf(type, dims.slice(missing), numbers);
  };
  if (c.bias) {
    const { axes, dtype: type = 'float32', hidden = 0, lowest = -Infinity, prefix = 0, structure } = c.bias;
    const isSeen = structure && structures[structure];
    const isOfKvHeads = c.bias.heads === 'kv';
    problem.bias = isSeen
      ? scores(axes, (k, q, b) => (isSeen(q, k, b, c.queries, c.keys) ? 0 : lowest), type, isOfKvHeads)
      : scores(axes, (k) => (k < prefix || random.chance(hidden) ? lowest : random.normal()), type, isOfKvHeads);
    if (isOfKvHeads) problem.biasHeads = 'kv';
  }
  if (c.factor) {
    // From -1 to 1: some turn scores around, some are about 0, none makes rounding errors of a score larger.
    problem.scoreFactor = scores(c.factor.axes, () => 2 * random.uniform() - 1, c.factor.dtype ?? 'float32');
  }
  if (c.mask) {
    const { axes, hidden = 0, prefix = 0, structure } = c.mask;
    const isSeen = structure && structures[structure];
    problem.mask = isSeen
      ? scores(axes, (k, q, b) => (isSeen(q, k, b, c.queries, c.keys) ? 1 : 0), 'bool')
      : scores(axes, (k) => (k < prefix || random.chance(hidden) ? 0 : 1), 'bool');
  }
  if (c.keyMask) {
    const { hidden = 0, structure } = c.keyMask;
    const isSeen = structure && structures[structure];
    const sequences = c.cuSeqlensQ && c.keyLengths ? c.keyLengths.length : batch;
    const numbers = Array.from({ length: sequences * c.keys }, (_, i) => {
      const isShown = isSeen
        ? isSeen(0, i % c.keys, Math.floor(i / c.keys), c.queries, c.keys)
        : !random.chance(hidden);
      return isShown ? 1 : 0;
    });
    problem.keyMask = operandOf('bool', [sequences, c.keys], numbers);
  }
  if (c.alibi) {
    const dims = c.alibi === 'h' ? [heads] : [batch, heads];
    problem.alibiSlopes = filled('float32', dims, () => round('float32', random.uniform()));
  }
  if (c.sinks) problem.sinks = filled('float32', [heads], () => random.normal());
}

/** Open heads alternate with closed ones, too. */
function gateOf(
  { run, dtype = 'float32', withoutLse }: NonNullable<Case['gate']>,
  dims: number[],
  random: Random,
): Gate {
  const [, queries, heads] = dims;
  let row = 0;
  const rows = filled(dtype, dims, () => {
    const query = Math.floor(row / heads) % queries;
    return (Math.floor(query / run) + (row++ % heads)) % 2 === 0 ? 0 : random.normal();
  });
  return { rows, withoutLse: withoutLse === true };
}

/** The problem of a case: all data, in memory as the case says. */
export function build(c: Case): Built {
  const random = new Random(c.seed ?? 1);
  const dtype = c.dtype ?? 'float32';
  const layout = c.layout ?? 'bnhd';
  const storage = c.storage ?? 'dense';
  const batch = c.batch ?? 1;
  const [queryHeads, kvHeads] = c.heads ?? [1, 1];
  const [headDim, valueDim] = c.dims ?? [16, 16];
  const heads = Math.max(queryHeads, kvHeads);
  const amplitude = c.amplitude ?? 1;

  const isRagged = c.cuSeqlensQ !== undefined && c.keyLengths !== undefined;
  const sequences = isRagged ? c.keyLengths!.length : batch;
  const longest = isRagged ? Math.max(0, ...c.cuSeqlensQ!.map((end, s, all) => end - (all[s - 1] ?? 0))) : c.queries;
  const fill = (h: number, t: number, d: number, size: number, b = batch): Operand =>
    store(dtype, [b, h, t, d], layout, storage, () => size * random.normal());
  const query = fill(queryHeads, c.queries, headDim, amplitude);
  const key = fill(kvHeads, c.keys, headDim, amplitude, sequences);
  const value = fill(kvHeads, c.keys, valueDim, 1, sequences);

  const problem: Problem = { query, key, value };
  for (const name of named) if (c[name] !== undefined) Object.assign(problem, { [name]: c[name] });
  addScoreRules(c, problem, random);
  for (const name of lists) if (c[name]) problem[name] = c[name];
  if (c.neighborhood) problem.pattern = neighborhoodOf(c.grid ?? [c.queries], c.neighborhood);
  if (c.shards) problem.pattern = { kind: 'stridedShards', ...c.shards };
  if (c.blocks)
    problem.pattern = blocksOf(c.blocks, { batch: sequences, heads, kvHeads, queries: longest, keys: c.keys }, random);
  if (c.ranges)
    problem.pattern = rangesOf(c.ranges, { batch, heads, kvHeads, queries: c.queries, keys: c.keys }, random);
  if (c.documents) problem.pattern = { kind: 'documents', ...c.documents };
  if (c.slices) problem.pattern = { kind: 'slices', lists: c.slices };
  if (c.power) problem.pattern = { kind: 'power', ...c.power };
  if (c.sampled) problem.pattern = { kind: 'sampledBlocks', ...c.sampled };
  if (c.moa) problem.pattern = { kind: 'moa', ...c.moa };
  if (c.pages?.lists) problem.pageLists = listsOf(c.pages, c.keyLengths ?? [], kvHeads, random);
  if (c.hip) problem.pattern = { kind: 'hierarchical', options: c.hip, selected: [] };
  if (c.relativeBias && problem.pattern?.kind === 'neighborhood') {
    const dims = [heads, ...problem.pattern.axes.map((axis) => 2 * axis.kernelSize - 1)];
    problem.relativeBias = filled('float32', dims, () => random.normal());
  }
  if (c.extra) {
    problem.extraKey = fill(kvHeads, c.extra, headDim, amplitude);
    problem.extraValue = fill(kvHeads, c.extra, valueDim, 1);
  }
  if (c.gate) problem.gate = gateOf(c.gate, [batch, c.queries, heads], random);
  const built: Built = { layout, storage, is3d: c.is3d ?? false, problem, seed: c.seed ?? 1 };
  if (c.grid) built.grid = c.grid;
  if (c.blocks?.form) built.form = c.blocks.form;
  if (c.pages) built.pages = c.pages;
  return built;
}

/** With the axes of tokens that q has. */
function gateTensor(rows: Operand, is3d: boolean, grid: number[] | undefined): TensorLike {
  const [batch, queries, heads] = rows.dims;
  const { type, data } = toPlainTensor(rows);
  return { type, data, dims: is3d ? [queries, heads] : [batch, ...(grid ?? [queries]), heads] };
}

/** The call of the public API that states a problem. */
export function callOf({ layout, storage, is3d, problem, grid, form, pages, seed = 1 }: Built): Call {
  const options: AttentionOptions = { layout };
  if (problem.activation) options.activation = problem.activation;
  else if (!problem.gate?.withoutLse) options.returnLse = true;
  if (problem.activationBias !== undefined) options.activationBias = problem.activationBias;
  const { scale, softcap, causal, left, right, recentTokens, sinkTokens, align, pairing } = problem;
  if (problem.rotary) options.rotary = problem.rotary;
  if (problem.cosine) options.similarity = 'cosine';
  if (scale !== undefined) Object.assign(options, problem.cosine ? { temperature: 1 / scale } : { scale });
  if (softcap !== undefined) options.softcap = softcap;
  if (problem.pattern) {
    options.pattern = patternOf(problem, form);
  } else {
    if (causal) options.causal = true;
    if (left !== undefined || right !== undefined) {
      options.window = { ...(left !== undefined && { left }), ...(right !== undefined && { right }) };
    }
    if (recentTokens !== undefined) options.recentTokens = recentTokens;
    if (sinkTokens !== undefined) options.sinkTokens = sinkTokens;
    if (align !== undefined) options.align = typeof align === 'number' ? { offset: align } : align;
  }
  if (problem.positions) options.positions = problem.positions;
  const isReversed = problem.key.dims[1] > problem.query.dims[1];
  if (pairing !== undefined || isReversed) options.pairing = pairing ?? 'tile';
  if (problem.scoreFactor) options.scoreFactor = toPlainTensor(problem.scoreFactor);
  if (problem.bias) options.bias = toPlainTensor(problem.bias);
  if (problem.biasHeads) options.biasHeads = problem.biasHeads;
  if (problem.mask) options.mask = toPlainTensor(problem.mask);
  if (problem.keyMask) options.keyMask = toPlainTensor(problem.keyMask);
  if (problem.alibiSlopes) options.alibiSlopes = toPlainTensor(problem.alibiSlopes);
  if (problem.sinks) options.sinks = Float32Array.from(toNumbers(problem.sinks));
  if (problem.gate) options.gate = gateTensor(problem.gate.rows, is3d, grid);
  if (problem.relativeBias) options.relativeBias = toPlainTensor(problem.relativeBias);
  if (problem.extraKey) options.extraKeys = toTensor(problem.extraKey, layout, storage, is3d);
  if (problem.extraValue) options.extraValues = toTensor(problem.extraValue, layout, storage, is3d);
  for (const name of lists) {
    const list = problem[name];
    if (list) options[name] = Int32Array.from(list);
  }
  const query = toTensor(problem.query, layout, storage, is3d, grid);
  if (pages) {
    const { key, value, keyLengths: lengths, keyStarts: starts } = problem;
    if (!lengths) throw new Error('pages need keyLengths');
    const paged = pagesOf(pages, { key, value, inUse: { lengths, ...(starts && { starts }) }, layout, seed });
    const lists = problem.pageLists?.lists.map((ofHeads) => (pages.lists === 'kv' ? ofHeads : ofHeads[0]));
    return {
      query,
      key: paged.key,
      value: paged.value,
      options: { ...options, pages: paged.pages, ...(lists && { pageLists: lists }) },
    };
  }
  return {
    query,
    key: toTensor(problem.key, layout, storage, is3d, grid),
    value: toTensor(problem.value, layout, storage, is3d, grid),
    options,
  };
}
