// Hierarchically pruned attention: which keys a block of queries selects, in float64. `staged` keeps the best chunks and
// splits them again (InfiniteHiP, arXiv 2502.08910), `tree` halves ranges and keeps the best halves (HiP, arXiv
// 2406.09827). Reader: someone who wants to know which keys are chosen and why. Ties go to the lower index.

import { type Operand, toNumbers } from './operand.js';

export type Scope = 'head' | 'kv' | 'layer';

export interface Stage {
  blockQ: number;
  strideQ: number;
  chunk: number;
  keep: number; // tokens
}

export interface SelectionOptions {
  blockQ: number;
  sink: number;
  window: number;
  scope: Scope;
  method: 'staged' | 'tree';
  stages?: Stage[]; // staged
  maskK?: number; // tree: tokens
  blockK?: number;
  strideQ?: number;
  strideK?: number;
}

/** First tokens of the selected chunks by [batch][scope][query block], ascending. */
export type Selected = number[][][][];

/** The pattern of attention over a selection; who selected it does not matter. */
export interface Hierarchical {
  kind: 'hierarchical';
  options: SelectionOptions;
  selected: Selected;
  /** First key of the window while lists are reused; 0 or absent: the window alone says. */
  windowStart?: number;
}

/** Last element of every group of `stride`. */
function sample(low: number, high: number, stride: number): number[] {
  const picked: number[] = [];
  for (let first = low; first < high; first += stride) picked.push(Math.min(first + stride, high) - 1);
  return picked;
}

/** The best `count` of a list by score, in the list's order; of equals the earlier. */
function best<T>(list: readonly T[], count: number, score: (item: T) => number): T[] {
  const scored = list.map((item, index) => ({ item, index, score: score(item) }));
  scored.sort((a, b) => b.score - a.score || a.index - b.index);
  return scored
    .slice(0, count)
    .sort((a, b) => a.index - b.index)
    .map(({ item }) => item);
}

/** How many lists a batch entry has. */
export const scopes = (scope: Scope, heads: number, kvHeads: number): number =>
  ({ head: heads, kv: kvHeads, layer: 1 })[scope];

export interface Selection {
  selected: Selected;
  /** staged: what each stage keeps, by [stage][batch][scope][query block of the stage]. */
  stages: Selected[];
}

/**
 * Selects for every block of queries; the last query is at the last key.
 * @param kept what the first stages kept before: they are not selected again
 */
export function select(query: Operand, key: Operand, options: SelectionOptions, kept: Selected[] = []): Selection {
  const [batch, heads] = query.dims;
  const lists = scopes(options.scope, heads, key.dims[1]);
  const dot = products(query, key);
  const stages: Selected[] = (options.stages ?? []).map(() => []);
  const selected: Selected = [];
  for (let b = 0; b < batch; b++) {
    const chosen = Array.from({ length: lists }, (_, list) => {
      const members = Array.from({ length: heads / lists }, (_, n) => list * (heads / lists) + n);
      const search = { options, queries: query.dims[2], keys: key.dims[2], members, dot: dot(b) };
      const before = kept.map((stage) => stage[b][list]);
      return options.method === 'tree' ? [trees(search)] : staged(search, before);
    });
    stages.forEach((stage, index) => {
      stage.push(chosen.map((list) => list[index]));
    });
    selected.push(chosen.map((list) => list[list.length - 1]));
  }
  return { selected, stages };
}

/** What one list of one batch entry is searched in. */
interface Search {
  options: SelectionOptions;
  queries: number;
  keys: number;
  members: readonly number[]; // heads that share the list
  dot: (head: number, row: number, token: number) => number;
}

/** q.k by batch entry, head, query row and key. */
function products(query: Operand, key: Operand) {
  const [, heads, queries, dim] = query.dims;
  const [, kvHeads, keys] = key.dims;
  const q = toNumbers(query);
  const k = toNumbers(key);
  return (b: number) =>
    (head: number, row: number, token: number): number => {
      const at = ((b * heads + head) * queries + row) * dim;
      const from = ((b * kvHeads + Math.floor(head / (heads / kvHeads))) * keys + token) * dim;
      let sum = 0;
      for (let d = 0; d < dim; d++) sum += q[at + d] * k[from + d];
      return sum;
    };
}

/** The blocks of queries, and for each where its candidates end and how a token scores for a head. */
function blocksOf({ options, queries, keys, dot }: Search, blockQ: number, strideQ: number) {
  return Array.from({ length: Math.ceil(queries / blockQ) }, (_, m) => {
    const first = m * blockQ;
    const last = Math.min(first + blockQ, queries) - 1;
    const position = keys - queries + last;
    const rows = sample(first, last + 1, strideQ);
    return {
      first,
      end: Math.max(options.sink, Math.min(keys, position - options.window + 1)),
      score: (head: number, token: number) => Math.max(...rows.map((row) => dot(head, row, token))),
    };
  });
}

/** What every stage keeps, by [stage][query block]. */
function staged(search: Search, kept: number[][][]): number[][][] {
  const { stages = [], sink } = search.options;
  const chosen: number[][][] = [];
  stages.forEach((stage, index) => {
    const parent = index === 0 ? undefined : { ...stages[index - 1], lists: chosen[index - 1] };
    const choose = ({ first, end, score }: ReturnType<typeof blocksOf>[number]): number[] => {
      const candidates = parent
        ? parent.lists[Math.floor(first / parent.blockQ)].flatMap((l) => multiples(l, l + parent.chunk, stage))
        : multiples(sink, end, stage);
      const scoreOf = (l: number, head: number): number =>
        descend(l, Math.min(l + stage.chunk, end), (token) => score(head, token));
      return best(
        candidates.filter((l) => l < end),
        Math.floor(stage.keep / stage.chunk),
        (l) => Math.max(...search.members.map((head) => scoreOf(l, head))),
      );
    };
    chosen.push(kept[index] ?? blocksOf(search, stage.blockQ, stage.strideQ).map(choose));
  });
  return chosen;
}

function trees(search: Search): number[][] {
  const { blockQ, strideQ = 1 } = search.options;
  return blocksOf(search, blockQ, strideQ).map(({ end, score }) => tree(search.options, end, search.members, score));
}

function multiples(begin: number, end: number, { chunk }: Stage): number[] {
  const starts: number[] = [];
  for (let l = begin; l < end; l += chunk) starts.push(l);
  return starts;
}

/** A chunk's score: follow the better half down to one token; the best score met on the way counts. */
function descend(low: number, high: number, score: (token: number) => number): number {
  if (high - low === 1) return score(low);
  let highest = -Infinity;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const left = score((low + middle) >> 1);
    const right = score((middle + high) >> 1);
    highest = Math.max(highest, left, right);
    if (right > left) low = middle;
    else high = middle;
  }
  return highest;
}

function tree(
  { sink, maskK = 0, blockK = 1, strideK = 1 }: SelectionOptions,
  end: number,
  heads: readonly number[],
  score: (head: number, token: number) => number,
): number[] {
  const count = Math.ceil((end - sink) / blockK);
  const kept = Math.floor(maskK / blockK);
  const start = (block: number): number => sink + block * blockK;
  if (count <= kept) return Array.from({ length: count }, (_, block) => start(block));
  const scoreOf = ([first, last]: readonly [number, number]): number => {
    const representative = first + Math.floor((last - first) / 2);
    const tokens = sample(start(representative), Math.min(start(representative + 1), end), strideK);
    return Math.max(...heads.flatMap((head) => tokens.map((token) => score(head, token))));
  };
  let groups = Array.from({ length: kept }, (_, j) => {
    const bound = (i: number): number => Math.floor((i * count) / kept);
    return [bound(j), bound(j + 1)] as const;
  });
  while (groups.some(([first, last]) => last - first > 1)) {
    const halves = groups.flatMap(([first, last]) => {
      const middle = first + Math.floor((last - first) / 2);
      return last - first === 1 ? [[first, last] as const] : [[first, middle] as const, [middle, last] as const];
    });
    groups = best(halves, kept, scoreOf);
  }
  return groups.map(([first]) => start(first));
}

/** Tokens of one entry of a list. */
export const chunkOf = ({ method, stages, blockK = 1 }: SelectionOptions): number =>
  method === 'tree' ? blockK : stages![stages!.length - 1].chunk;

/** Query rows that share one list. */
export const listRows = ({ method, stages, blockQ }: SelectionOptions): number =>
  method === 'tree' ? blockQ : stages![stages!.length - 1].blockQ;

/** Does a head see the key from a query row at a position? Sinks, window and selected chunks together. */
export function hierarchicalRule(
  { options, selected, windowStart = Infinity }: Hierarchical,
  batch: number,
  head: number,
  heads: number,
): (query: number, position: number, key: number) => boolean {
  const lists = selected[batch];
  const own = lists[Math.floor(head / (heads / lists.length))];
  const chunk = chunkOf(options);
  const rows = listRows(options);
  return (query, position, key) => {
    if (key > position) return false;
    if (key < options.sink || key > position - options.window || key >= windowStart) return true;
    return own[Math.floor(query / rows)].some((start) => key >= start && key < start + chunk);
  };
}
