// Random cases of the other patterns, as sweep.ts makes them of windows: every option at every size, small ones most often.
// Reader: someone chasing a failure of the pattern sweeps.

import fc from 'fast-check';
import type { SelectionOptions, Stage } from '../references/hierarchical.js';
import type { StridedShards } from '../references/strided-shards.js';
import { activated, activations, gates } from './activations.js';
import type { Case } from './case.js';
import {
  chance,
  defined,
  either,
  integers,
  type Of,
  places,
  seeds,
  sizes,
  sizeWithin,
  sometimes,
  within,
  yes,
} from './draw.js';
import { storages } from './memory.js';

const dims = fc.constantFrom(1, 3, 8, 16, 17, 32, 33, 64, 80, 128);

/** What every pattern goes with. */
export const common = fc
  .record({
    seed: seeds,
    dtype: fc.constantFrom('float32', 'float32', 'float16', 'bfloat16'),
    layout: fc.constantFrom('bnhd', 'bhnd'),
    storage: either(0.5, fc.constantFrom(...storages), fc.constant('dense')),
    batch: fc.constantFrom(1, 1, 2),
    kv: fc.constantFrom(1, 1, 2, 3),
    ratio: fc.constantFrom(1, 1, 2, 4),
    headDim: dims,
    valueDim: sometimes(0.3, dims),
    scale: sometimes(0.15, fc.constantFrom(0.5, 0.1, -0.25)),
    softcap: sometimes(0.15, fc.constantFrom(0.5, 5, 30)),
    sinks: sometimes(0.15, yes),
    extra: sometimes(0.2, sizes(1, 40)),
    activation: activations,
    gate: gates,
  })
  .map(({ kv, ratio, headDim, valueDim = headDim, activation, ...rest }) => {
    const heads: [number, number] = [kv * ratio, kv];
    const pairOfDims: [number, number] = [headDim, valueDim];
    return activated({ ...rest, heads, dims: pairOfDims }, activation);
  });
export type Common = Of<typeof common>;

const axes = fc.constantFrom('', 'k', 'qk', 'hqk', 'bqk');
export const addends = fc.record({
  bias: sometimes(
    0.15,
    fc.record({ axes, dtype: fc.constantFrom('float32', 'float16'), hidden: fc.constantFrom(0, 0.3) }),
  ),
  mask: sometimes(0.15, fc.record({ axes, hidden: fc.constantFrom(0.3, 0.9) })),
});

/** Multiply-adds per pair of a query and a key. */
const workOf = ({ batch, heads, dims: [headDim, valueDim] }: Common): number =>
  batch * Math.max(...heads) * (headDim + valueDim);

/** Queries among keys: a prefill, a chunk at the end of it, a few decode steps. */
export const lengths = fc.record({
  keys: places,
  queries: either(0.3, fc.constant('one'), either(0.4, fc.constant('all'), places)),
});
type Lengths = Of<typeof lengths>;

/** Halves the keys until a problem is small enough for the float64 reference. */
export function lengthsOf(c: Common, drawn: Lengths, largest: number): { queries: number; keys: number } {
  let keys = sizeWithin(drawn.keys, 1, largest);
  while (keys > 1 && (workOf(c) * keys * keys) / 2 > 1.5e6) keys = Math.ceil(keys / 2);
  if (drawn.queries === 'all') return { queries: keys, keys };
  return { queries: drawn.queries === 'one' ? 1 : sizeWithin(drawn.queries, 1, keys), keys };
}

/** An axis of a grid: its length, and what a neighborhood is along it. */
const gridAxis = fc.record({
  length: sometimes(0.92, places),
  dilation: sometimes(0.4, places),
  kernelSize: either(0.15, fc.constant('all'), places),
  stride: sometimes(0.5, places),
  causal: chance(0.25),
});
type GridAxis = Of<typeof gridAxis>;

/** Lengths of a grid, the longest halved until a problem is small enough for the float64 reference. */
function gridOf(c: Common, drawn: readonly GridAxis[]): number[] {
  const most = [300, 24, 9][drawn.length - 1];
  const grid = drawn.map(({ length }) => (length === undefined ? 1 : sizeWithin(length, 2, most)));
  while (workOf(c) * grid.reduce((a, n) => a * n, 1) ** 2 > 2e6) {
    const longest = grid.indexOf(Math.max(...grid));
    grid[longest] = Math.ceil(grid[longest] / 2);
  }
  return grid;
}

function alongAxis({ dilation, kernelSize, stride, causal }: GridAxis, length: number, isTight: boolean) {
  const step = dilation === undefined ? 1 : sizeWithin(dilation, 1, length);
  const longest = Math.floor(length / step);
  const most = isTight ? Math.min(longest, 8) : longest;
  const kernel = kernelSize === 'all' ? longest : sizeWithin(kernelSize, 1, most);
  return { dilation: step, kernelSize: kernel, stride: stride === undefined ? 1 : within(stride, 1, kernel), causal };
}

export const neighborhoodCases: fc.Arbitrary<Case> = fc
  .record({
    common,
    rank: fc.constantFrom(1, 1, 2, 2, 3),
    axes: fc.tuple(gridAxis, gridAxis, gridAxis),
    isTight: chance(0.5),
    border: sometimes(0.3, fc.constant('clip' as const)),
    relativeBias: sometimes(0.25, yes),
    addends,
  })
  .map(({ common: c, rank, axes, isTight, border, relativeBias, addends }): Case => {
    const grid = gridOf(c, axes.slice(0, rank));
    const along = grid.map((length, n) => alongAxis(axes[n], length, isTight));
    const tokens = grid.reduce((a, n) => a * n, 1);
    const neighborhood = {
      // Windows that are cut may be longer than their axes.
      kernelSize: along.map(({ kernelSize }) => (border && !isTight ? kernelSize + 3 : kernelSize)),
      stride: along.map(({ stride }) => stride),
      dilation: along.map(({ dilation }) => dilation),
      causal: along.map(({ causal }) => causal),
      border,
    };
    return defined({ ...c, queries: tokens, keys: tokens, grid, neighborhood, relativeBias, ...addends });
  });

/** Who counts layouts, and where heads begin in them; without any of these options where positions are relative. */
const layouts = fc.record({
  preset: sometimes(0.2, fc.constantFrom('phi3', 'dkernel')),
  layoutPer: sometimes(0.7, fc.constantFrom('q', 'kv')),
  headStep: sometimes(0.3, integers(0, 5)),
  headOffset: sometimes(0.3, integers(0, 9)),
  special: either(0.5, fc.constantFrom('homo', 'dense', 'relative'), fc.constant('none')),
  denseHeads: places,
  relativeBlocks: sometimes(0.5, fc.tuple(integers(1, 5), integers(1, 5))),
});
type Layouts = Of<typeof layouts>;

function layoutOf(drawn: Layouts, [heads, kvHeads]: [number, number]): Partial<StridedShards> {
  const { preset, headStep, headOffset, special, denseHeads, relativeBlocks } = drawn;
  const layoutPer = preset === undefined ? drawn.layoutPer : undefined;
  if (special === 'relative') {
    return { layoutPer, positions: 'relative', ...(relativeBlocks && { localBlocks: relativeBlocks }) };
  }
  const own: Partial<StridedShards> = { preset, layoutPer, headStep, headOffset };
  if (special === 'homo') own.homoHead = true;
  const counted = layoutPer === 'q' || preset === 'phi3' ? heads : kvHeads;
  if (special === 'dense') own.numDenseHeads = within(denseHeads, 0, counted);
  return own;
}

export const aligns = sometimes(0.2, fc.oneof(fc.constantFrom('top-left', 'bottom-right'), integers(-20, 20)));
export const alibi = sometimes(0.15, fc.constant('h' as const));

export const shardCases: fc.Arbitrary<Case> = fc
  .record({
    common,
    lengths,
    blockSize: fc.constantFrom(1, 2, 3, 5, 7, 16, 16, 20, 32, 64),
    localBlocks: sizes(1, 12),
    vertStride: fc.constantFrom(1, 2, 3, 4, 5, 8, 16),
    layouts,
    align: aligns,
    alibi,
    keyLengths: sometimes(0.15, fc.tuple(places, places)),
    addends,
  })
  .map(({ common: c, lengths, blockSize, localBlocks, vertStride, layouts, keyLengths, addends, ...rest }): Case => {
    const whole = lengthsOf(c, lengths, 500);
    const shards = defined({ blockSize, localBlocks, vertStride, ...layoutOf(layouts, c.heads) });
    const keysOf = keyLengths?.slice(0, c.batch).map((place) => within(place, 0, whole.keys));
    return defined({ ...c, ...whole, shards, ...rest, keyLengths: keysOf, ...addends });
  });

export const blockCases: fc.Arbitrary<Case> = fc
  .record({
    common,
    lengths,
    blocks: fc.record({
      blockQ: fc.constantFrom(1, 2, 5, 16, 17, 32, 64, 128),
      blockK: fc.constantFrom(1, 2, 3, 8, 16, 17, 32, 64, 128),
      density: fc.constantFrom(0, 0.1, 0.3, 0.7, 1),
      form: fc.constantFrom('csr', 'lists', 'blockMask'),
      perBatch: sometimes(0.3, yes),
      per: sometimes(0.5, fc.constantFrom('head', 'kv')),
      predicate: sometimes(0.25, yes),
    }),
    causal: sometimes(0.4, yes),
    align: aligns,
    alibi,
    addends,
  })
  .map(({ common: c, lengths, blocks, addends, ...rest }): Case => {
    return defined({ ...c, ...lengthsOf(c, lengths, 400), blocks: defined(blocks), ...rest, ...addends });
  });

export const rangeCases: fc.Arbitrary<Case> = fc
  .record({
    common,
    lengths,
    ranges: fc.record({
      form: fc.constantFrom('any', 'alike', 'documents'),
      most: fc.constantFrom(0, 1, 2, 3, 9),
      perBatch: sometimes(0.3, yes),
      per: sometimes(0.5, fc.constantFrom('head', 'kv')),
    }),
    align: aligns,
    alibi,
    keyLengths: sometimes(0.15, fc.tuple(places, places)),
    addends,
  })
  .map(({ common: c, lengths, ranges, keyLengths, addends, ...rest }): Case => {
    const whole = lengthsOf(c, lengths, 500);
    const keysOf = keyLengths?.slice(0, c.batch).map((place) => within(place, 0, whole.keys));
    return defined({ ...c, ...whole, ranges: defined(ranges), ...rest, keyLengths: keysOf, ...addends });
  });

/** A stage of a search, with how many times the blocks and chunks of the next one its own are. */
const stage = fc.record({
  strideQ: fc.constantFrom(1, 2, 3, 4),
  keep: places,
  timesChunk: fc.constantFrom(1, 2, 4),
  timesQueries: fc.constantFrom(1, 1, 2),
});

/** Stages, the last first as drawn, whose blocks and chunks divide those of the stage before. */
function stagesOf(drawn: Of<typeof stage>[], last: { blockQ: number; chunk: number }, keys: number): Stage[] {
  let { blockQ, chunk } = last;
  const stages: Stage[] = [];
  for (const { strideQ, keep, timesChunk, timesQueries } of drawn) {
    const most = Math.max(1, Math.ceil(keys / chunk / 3));
    stages.unshift({ blockQ, strideQ, chunk, keep: chunk * within(keep, 1, most) });
    chunk *= timesChunk;
    blockQ *= timesQueries;
  }
  return stages;
}

const staged = fc.record({
  stages: fc.array(stage, { minLength: 1, maxLength: 3 }),
  chunk: fc.constantFrom(1, 2, 4, 8, 16),
});

const tree = fc.record({
  blockK: fc.constantFrom(1, 2, 4, 8),
  blocks: integers(1, 12),
  strideQ: fc.constantFrom(1, 2, 4),
  strideK: fc.constantFrom(1, 2),
});

export const selectionCases: fc.Arbitrary<Case> = fc
  .record({
    common,
    lengths,
    blockQ: fc.constantFrom(1, 4, 8, 16),
    scope: fc.constantFrom('head', 'kv', 'layer'),
    sink: fc.constantFrom(0, 1, 4, 10),
    window: integers(0, 30),
    staged: sometimes(0.65, staged),
    tree,
    alibi,
  })
  .map(({ common: c, lengths, blockQ, scope, sink, window, staged, tree, alibi }): Case => {
    const whole = lengthsOf(c, lengths, 400);
    const shared = { blockQ, scope, sink };
    let hip: SelectionOptions;
    if (staged) {
      const stages = stagesOf(staged.stages, { blockQ, chunk: staged.chunk }, whole.keys);
      hip = { method: 'staged', ...shared, window: stages[0].blockQ + window, stages };
    } else {
      const { blocks, ...rest } = tree;
      hip = { method: 'tree', ...shared, window: blockQ + window, maskK: tree.blockK * blocks, ...rest };
    }
    return defined({ ...c, ...whole, hip, alibi });
  });
