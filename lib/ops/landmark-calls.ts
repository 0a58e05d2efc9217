// The calls that landmarkAttention() is: for each chunk of queries its own blocks, and earlier blocks in groups, a batch entry each.
// Reader: someone who asks what is computed where. All tensors are [batch, heads, tokens, dim] here.

import { ranges } from '../patterns/ranges.js';
import type { DeviceName } from '../tensor/devices.js';
import { Tensor } from '../tensor/tensor.js';
import { readTensor, type TensorData } from '../tensor/views.js';
import type { Calls } from './calls.js';
import type { AttentionPart } from './merge.js';

export interface LandmarkSizes {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly valueDim: number;
  readonly blockSize: number;
  /** For each query head the earlier blocks that take part; undefined: all. */
  readonly blocks: readonly Int32Array[] | undefined;
}

/** Calls whose results, with the scores of landmarks as lse, are the parts of a result. */
export type BlockCalls = Calls<AttentionPart[]>;

/** Queries of a chunk: outputs of its groups of blocks stay in a cache. */
const chunkQueries = 64;
/** Numbers of the outputs of a group of blocks, and most blocks of one. */
const groupNumbers = 2 ** 18;
const groupBlocks = 256;

/** A call for each batch entry and chunk of queries, and where its merged parts go. */
export function* chunksOf(
  [q, k, v]: readonly Tensor[],
  out: Tensor,
  sizes: LandmarkSizes,
  options: { scale: number | undefined; device: DeviceName | undefined },
): Generator<{ calls: BlockCalls; out: Tensor }> {
  const { batch, queries, keys } = sizes;
  for (let b = 0; b < batch; ++b) {
    const entry = (tensor: Tensor) => tensor.slice(0, b, b + 1);
    for (let from = 0; from < queries; from += chunkQueries) {
      const to = Math.min(from + chunkQueries, queries);
      const positions = Int32Array.from({ length: to - from }, (_, i) => from + i + keys - queries);
      const rows = (tensor: Tensor) => entry(tensor).slice(2, from, to);
      yield { calls: callsOf(rows(q), entry(k), entry(v), positions, sizes, options), out: rows(out) };
    }
  }
}

function* callsOf(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  positions: Int32Array,
  sizes: LandmarkSizes,
  told: { scale: number | undefined; device: DeviceName | undefined },
): BlockCalls {
  const { blockSize, queryHeads, valueDim } = sizes;
  const options = { ...told, layout: 'bhnd' as const, returnLse: true as const };
  // The query's own block: up to itself, its landmark never.
  const begins = positions.map((p) => Math.max(0, p - (p % blockSize)));
  const ends = positions.map((p, i) => Math.max(begins[i], Math.min(p + 1, begins[i] + blockSize - 1)));
  const parts: AttentionPart[] = [
    yield { tensors: [q, k, v], options: { ...options, pattern: ranges({ begins, ends }) } },
  ];

  const last = positions.at(-1) ?? -1;
  const earlier = Math.max(0, Math.floor(last / blockSize));
  const most = Math.max(
    1,
    Math.min(groupBlocks, Math.floor(groupNumbers / (positions.length * queryHeads * valueDim))),
  );
  for (const [first, count] of groupsOf(earlier, most, sizes.blocks)) {
    const blocksOf = (tensor: Tensor) =>
      tensor
        .slice(2, first * blockSize, (first + count) * blockSize)
        .reshape([tensor.dims[1], count, blockSize, tensor.dims[3]])
        .transpose([1, 0, 2, 3]);
    const [ofK, ofV] = [blocksOf(k), blocksOf(v)];
    const queries = repeated(q, count);
    // A block is where the one behind it begins: queries from there on see all of it.
    const at = (tokens: number) => ({
      queries: positions,
      keys: new Tensor(
        'int32',
        Int32Array.from({ length: count * tokens }, (_, i) => (first + Math.floor(i / tokens) + 1) * blockSize),
        [count, tokens],
      ),
    });
    const ordinary = blockSize - 1;
    const { out } = yield {
      tensors: [queries, ofK.slice(2, 0, ordinary), ofV.slice(2, 0, ordinary)],
      options: { ...options, causal: true, positions: at(ordinary) },
    };
    // The lse over one key is its score. Of the values one dim will do: nobody reads them.
    const { lse } = yield {
      tensors: [queries, ofK.slice(2, ordinary, blockSize), ofV.slice(2, ordinary, blockSize).slice(3, 0, 1)],
      options: { ...options, causal: true, positions: at(1), mask: maskOf(sizes.blocks, first, count) },
    };
    const ofBlock = (tensor: unknown, i: number) => (tensor as Tensor).slice(0, i, i + 1);
    const group = Array.from({ length: count }, (_, i) => ({ out: ofBlock(out, i), lse: ofBlock(lse, i) }));
    parts.push(yield { parts: group, options: { layout: 'bhnd' } });
  }
  return parts;
}

/** Runs of blocks that some head sees, none longer than `most`. */
function* groupsOf(
  earlier: number,
  most: number,
  lists: readonly Int32Array[] | undefined,
): Generator<[first: number, count: number]> {
  const isSeen = lists && new Uint8Array(earlier);
  for (const list of lists ?? []) for (const block of list) if (isSeen && block < earlier) isSeen[block] = 1;
  let first = 0;
  while (first < earlier) {
    if (isSeen && !isSeen[first]) {
      ++first;
      continue;
    }
    let count = 1;
    while (count < most && first + count < earlier && (!isSeen || isSeen[first + count])) ++count;
    yield [first, count];
    first += count;
  }
}

/** Which heads see which blocks, [blocks, heads, 1, 1]. */
function maskOf(lists: readonly Int32Array[] | undefined, first: number, count: number): Tensor<'bool'> | undefined {
  if (!lists) return undefined;
  const isSeen = new Uint8Array(count * lists.length);
  lists.forEach((list, head) => {
    for (const block of list) {
      if (block >= first && block < first + count) isSeen[(block - first) * lists.length + head] = 1;
    }
  });
  return new Tensor('bool', isSeen, [count, lists.length, 1, 1]);
}

/** The same queries for each block, as a view. */
function repeated(q: Tensor, blocks: number): Tensor {
  const view = readTensor('q', q);
  const strides = q.strides.with(0, 0);
  return new Tensor(view.type, view.data as TensorData, q.dims.with(0, blocks), { strides, offset: view.offset });
}
