// Patterns of a case: how a few words of JSON become the reference's pattern, and that one a pattern of the public API.
// Reader: someone adding a pattern to the conformance suite.

import {
  attentionSlices,
  type BlocksOptions,
  blocks,
  documents,
  hierarchical,
  moaWindows,
  neighborhood,
  type Pattern,
  power,
  ranges,
  sampledBlocks,
  slidingWindow,
  stridedShards,
  type TensorLike,
} from '../../dist/index.js';
import type { Blocks } from '../references/blocks.js';
import type { Neighborhood } from '../references/neighborhood.js';
import type { Problem } from '../references/problem.js';
import type { KeyRange, Ranges } from '../references/ranges.js';
import type { Random } from './random.js';

/** One value per axis, or one for all. */
export interface NeighborhoodCase {
  kernelSize: number | number[];
  stride?: number | number[];
  dilation?: number | number[];
  causal?: boolean | boolean[];
  border?: 'shift' | 'clip';
}

/** How lists are handed over; a block mask also has full blocks. */
export type BlockForm = 'csr' | 'lists' | 'blockMask';

export interface BlockCase {
  blockQ: number;
  blockK: number;
  density: number; // share of blocks that are listed
  form?: BlockForm;
  perBatch?: true; // lists of their own; otherwise shared
  per?: 'head' | 'kv';
  predicate?: true; // hides two of three keys, another two for every head and query
}

export interface RangesCase {
  form: 'any' | 'alike' | 'documents'; // unlike each other; like the query before, mostly; of causal documents with a prefix
  most: number; // ranges of a query
  perBatch?: true; // ranges of their own; otherwise shared
  per?: 'head' | 'kv';
}

const onAxis = <T>(value: T | T[] | undefined, axis: number, absent: T): T =>
  Array.isArray(value) ? value[axis] : (value ?? absent);

export function neighborhoodOf(grid: number[], c: NeighborhoodCase): Neighborhood {
  const axes = grid.map((length, axis) => ({
    length,
    kernelSize: onAxis(c.kernelSize, axis, 1),
    stride: onAxis(c.stride, axis, 1),
    dilation: onAxis(c.dilation, axis, 1),
    causal: onAxis(c.causal, axis, false),
    border: c.border ?? 'shift',
  }));
  return { kind: 'neighborhood', axes };
}

interface Sizes {
  batch: number;
  heads: number;
  kvHeads: number;
  queries: number;
  keys: number;
}

/** Random lists; a block mask puts a listed block into one of its two lists. */
export function blocksOf(c: BlockCase, { batch, heads, kvHeads, queries, keys }: Sizes, random: Random): Blocks {
  const ofBatch = c.perBatch ? batch : 1;
  const ofHead = c.per === 'head' ? heads : c.per === 'kv' ? kvHeads : 1;
  const fill = <T>(length: number, next: () => T): T[] => Array.from({ length }, next);
  const keyBlocks = fill(Math.ceil(keys / c.blockK), () => 0).map((_, n) => n);
  const tables = (next: () => number[]) =>
    fill(ofBatch, () => fill(ofHead, () => fill(Math.ceil(queries / c.blockQ), next)));
  const lists = tables(() => keyBlocks.filter(() => random.chance(c.density)));
  const pattern: Blocks = { kind: 'blocks', blockQ: c.blockQ, blockK: c.blockK, lists };
  if (c.predicate) pattern.predicate = (b, head, query, key) => (b + head + query + key) % 3 === 0;
  if (c.form === 'blockMask') {
    const isFull = lists.map((table) => table.map((rows) => rows.map((row) => row.map(() => random.chance(0.5)))));
    const part = (want: boolean) =>
      lists.map((table, b) =>
        table.map((rows, h) => rows.map((row, m) => row.filter((_, n) => isFull[b][h][m][n] === want))),
      );
    pattern.fullLists = part(true);
    pattern.lists = part(false);
  }
  return pattern;
}

/** int32 numbers under the leading axes of lists: [batch, heads, ...], or [...] alone where all share one list. */
function tensorOf(lists: number[][][][], inner: number[], numbers: number[]): TensorLike {
  const dims = lists.length === 1 && lists[0].length === 1 ? inner : [lists.length, lists[0].length, ...inner];
  return { type: 'int32', data: Int32Array.from(numbers), dims };
}

/** Lists as counts and padded indices; padding is -1, which nobody may read as a block. */
export function padded(lists: number[][][][]): { counts: TensorLike; indices: TensorLike } {
  const rows = lists.flat(2);
  const most = Math.max(0, ...rows.map((row) => row.length));
  const count = lists[0][0].length;
  return {
    counts: tensorOf(
      lists,
      [count],
      rows.map((row) => row.length),
    ),
    indices: tensorOf(
      lists,
      [count, most],
      rows.flatMap((row) => [...row, ...new Array<number>(most - row.length).fill(-1)]),
    ),
  };
}

/** Lists as compressed rows; every table has its own, padded to one length. */
export function compressed(lists: number[][][][]): { rowOffsets: TensorLike; columns: TensorLike } {
  const tables = lists.flat();
  const most = Math.max(0, ...tables.map((rows) => rows.flat().length));
  const offsets = tables.flatMap((rows) => {
    let total = 0;
    return [0, ...rows.map((row) => (total += row.length))];
  });
  return {
    rowOffsets: tensorOf(lists, [lists[0][0].length + 1], offsets),
    columns: tensorOf(
      lists,
      [most],
      tables.flatMap((rows) => [...rows.flat(), ...new Array<number>(most - rows.flat().length).fill(-1)]),
    ),
  };
}

/** The lists of a pattern as an option of blocks(). */
export function listsOption(pattern: Blocks, form: BlockForm): Pick<BlocksOptions, 'csr' | 'lists' | 'blockMask'> {
  if (form === 'csr') return { csr: compressed(pattern.lists) };
  const { counts, indices } = padded(pattern.lists);
  if (form === 'lists') return { lists: { counts, indices } };
  const mask = { kvNumBlocks: counts, kvIndices: indices };
  if (!pattern.fullLists) return { blockMask: mask };
  const full = padded(pattern.fullLists);
  return { blockMask: { ...mask, fullKvNumBlocks: full.counts, fullKvIndices: full.indices } };
}

/** Random ranges of the keys. */
function anyRanges(keys: number, most: number, random: Random): KeyRange[] {
  const found: KeyRange[] = [];
  let at = random.chance(0.5) ? random.integer(0, keys) : 0;
  while (found.length < most && at < keys) {
    const end = Math.min(keys, at + 1 + random.integer(0, random.chance(0.5) ? 4 : keys));
    found.push([at, end]);
    at = end + random.integer(0, random.chance(0.5) ? 4 : keys);
  }
  return found;
}

/** What a query sees in causal documents of random lengths, of which the first keys of all are shared. */
function documentRanges(queries: number, keys: number, random: Random): KeyRange[][] {
  const shared = Math.min(keys, random.integer(0, 20));
  let begin = 0;
  return Array.from({ length: queries }, (_, query) => {
    if (random.chance(0.03)) begin = query;
    const [from, to] = [begin, query + 1].map((at) => Math.max(shared, Math.floor((at * keys) / queries)));
    return [
      [0, shared],
      [from, to],
    ];
  });
}

export function rangesOf(c: RangesCase, { batch, heads, kvHeads, queries, keys }: Sizes, random: Random): Ranges {
  const ofHead = c.per === 'head' ? heads : c.per === 'kv' ? kvHeads : 1;
  const table = (): KeyRange[][] => {
    if (c.form === 'documents') return documentRanges(queries, keys, random);
    let row = anyRanges(keys, c.most, random);
    return Array.from({ length: queries }, () => {
      if (c.form === 'any' || random.chance(0.1)) row = anyRanges(keys, c.most, random);
      return row;
    });
  };
  const perBatch = c.perBatch ? Math.max(batch, 1) : 1;
  const tables = Array.from({ length: perBatch }, () => Array.from({ length: ofHead }, table));
  return { kind: 'ranges', tables };
}

/** Ranges as tensors, with empty ones among them where a query has few. */
export function boundsOf({ tables }: Ranges): { begins: TensorLike; ends: TensorLike } {
  const rows = tables.flat(2);
  const most = Math.max(1, ...rows.map((row) => row.length));
  const padded = rows.map((row, r) =>
    r % 2 === 0
      ? [...row, ...new Array<KeyRange>(most - row.length).fill([0, 0])]
      : [...new Array<KeyRange>(most - row.length).fill([3, 3]), ...row],
  );
  const bounds = (end: 0 | 1) =>
    tensorOf(
      tables as unknown as number[][][][],
      [tables[0][0].length, most],
      padded.flatMap((row) => row.map((range) => range[end])),
    );
  return { begins: bounds(0), ends: bounds(1) };
}

/** The pattern of the public API that states the problem's. */
export function patternOf({ pattern, causal, align }: Problem, form?: BlockForm): Pattern {
  const position = align === undefined ? {} : { align: typeof align === 'number' ? { offset: align } : align };
  switch (pattern?.kind) {
    case undefined:
      throw new Error('the problem has no pattern');
    case 'neighborhood': {
      const { axes } = pattern;
      return neighborhood({
        kernelSize: axes.map((axis) => axis.kernelSize),
        stride: axes.map((axis) => axis.stride),
        dilation: axes.map((axis) => axis.dilation),
        causal: axes.map((axis) => axis.causal),
        border: axes[0].border,
      });
    }
    case 'stridedShards': {
      const { kind, ...options } = pattern;
      return stridedShards({ ...options, ...position });
    }
    case 'blocks': {
      const { blockQ, blockK, predicate } = pattern;
      const lists = listsOption(pattern, form ?? (pattern.fullLists ? 'blockMask' : 'lists'));
      return blocks({
        blockQ,
        blockK,
        ...lists,
        ...position,
        ...(causal && { causal }),
        ...(predicate && { predicate }),
      });
    }
    case 'ranges':
      return ranges({ ...boundsOf(pattern), ...position });
    case 'documents': {
      const { kind, lists, ...options } = pattern;
      return documents({ ...options, lengths: lists.length === 1 ? lists[0] : lists });
    }
    case 'slices':
      return attentionSlices(pattern.lists.length === 1 ? pattern.lists[0] : pattern.lists);
    case 'power': {
      const { kind, ...options } = pattern;
      return power({ ...options, ...position });
    }
    case 'sampledBlocks': {
      const { kind, ...options } = pattern;
      return sampledBlocks({ ...options, ...position });
    }
    case 'moa': {
      const { kind, ...options } = pattern;
      return slidingWindow({ ...moaWindows(options), ...position });
    }
    case 'hierarchical':
      return hierarchical(pattern.options);
  }
}
