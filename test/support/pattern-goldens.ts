// The golden files of the patterns, typed, and their parameters in the words of the references.
// Reader: someone who compares with a golden file. What the fields mean is in each file's `about`.

import type { Scope, SelectionOptions, Stage } from '../references/hierarchical.js';
import type { NeighborhoodAxis } from '../references/neighborhood.js';
import type { StridedShards } from '../references/strided-shards.js';
import { type Heads, type Rows, readGolden } from './golden.js';

interface NeighborhoodParameters {
  shape: number[];
  kernel_size: number[];
  stride: number[];
  dilation: number[];
  is_causal: boolean[];
}

export interface NeighborhoodGolden extends NeighborhoodParameters {
  id: string;
  note: string;
  per_axis_keys: number[][][];
  keys: number[][];
}

interface TileCounts {
  q_tiles: number;
  kv_tiles_dense_per_q: number;
  visited_total: number;
  interior_total: number;
  worst_visited_per_q: number;
  bound_worst: number;
  bound_average: number;
}

export const neighborhood = readGolden<{
  tiles: (Omit<NeighborhoodParameters, 'dilation'> & {
    id: string;
    q_tile: number[];
    kv_tile: number[];
    static: TileCounts;
    dynamic: TileCounts;
  })[];
  cases: NeighborhoodGolden[];
  invalid: { args: Partial<NeighborhoodParameters>; why: string }[];
}>('neighborhood');

export const axesOf = (golden: NeighborhoodParameters): NeighborhoodAxis[] =>
  golden.shape.map((length, axis) => ({
    length,
    kernelSize: golden.kernel_size[axis],
    stride: golden.stride[axis],
    dilation: golden.dilation[axis],
    causal: golden.is_causal[axis],
  }));

interface ShardParameters {
  localBlocks: number;
  vertStride: number;
  headStep: number;
  offset: number;
  denseLayouts?: number;
}

export interface ShardGolden extends ShardParameters {
  name: string;
  note: string;
  numLayouts: number;
  numBlocks: number;
  remoteResidue: number[];
  nnzPerLayout: number[];
  unionIsFullCausal: boolean;
  unionMissingPairs: number;
  sha256: string;
  bitmaps?: string[][];
}

export const s2 = readGolden<{
  cases: ShardGolden[];
  bidirectionalRelative: {
    numBlocks: number;
    localLeft: number;
    localRight: number;
    vertStride: number;
    bitmap: string[];
  };
  chunkedPrefill: { base: string; qStartBlock: number; bitmaps: string[][] };
  kvRetention: {
    name: string;
    Hq: number;
    Hkv: number;
    localBlocks: number;
    vertStride: number;
    offset: number;
    layoutPer: 'q' | 'kv';
    queryBlock: number;
    retainedBlocksTotal: number;
    retained?: number[][];
  }[];
  numeric: ShardParameters & {
    blockSize: number;
    Hq: number;
    Hkv: number;
    scale: number;
    q: Heads;
    k: Heads;
    v: Heads;
    out_per_q: Heads;
    lse_per_q: Rows;
    out_per_kv: Heads;
    lse_per_kv: Rows;
  };
  ceilings_block64_layout0: { N: number; localBlocks: number; vertStride: number; ceiling: number }[];
}>('s2');

/** A golden layout as a pattern of blocks of one token, one layout per head. */
export const shardsOf = ({
  localBlocks,
  vertStride,
  headStep,
  offset,
  denseLayouts,
}: ShardParameters): StridedShards => ({
  kind: 'stridedShards',
  blockSize: 1,
  localBlocks,
  vertStride,
  headStep,
  headOffset: offset,
  numDenseHeads: denseLayouts,
});

export interface HipGolden {
  name: string;
  algo: 'staged' | 'tree';
  Tq: number;
  Tk: number;
  Hq: number;
  Hkv: number;
  sink: number;
  window: number;
  scope: Scope;
  scale: number;
  stages?: Stage[];
  blockQ?: number;
  strideQ?: number;
  blockK?: number;
  strideK?: number;
  maskK?: number;
  selected: number[][][]; // [scope][query block]
  q: Heads;
  k: Heads;
  v?: Heads;
  out?: Heads;
  lse?: Rows;
  attendedCount?: Rows;
  trace?: { heads: number[]; stage?: number; chunkStarts?: number[][] }[];
}

export const hip = readGolden<{ cases: HipGolden[] }>('hip');

export function selectionOf(golden: HipGolden): SelectionOptions {
  const { algo, sink, window, scope, stages, blockQ, strideQ, blockK, strideK, maskK } = golden;
  return algo === 'tree'
    ? { method: 'tree', sink, window, scope, blockQ: blockQ!, strideQ, blockK, strideK, maskK }
    : { method: 'staged', sink, window, scope, blockQ: stages![stages!.length - 1].blockQ, stages };
}
