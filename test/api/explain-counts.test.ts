// The counts of explain(): tiles and pairs against the rules themselves, bounds that others have published, and bounds
// where the data decides. Reader: someone who asks whether explain() is right. That the CPU's loop computes as many pairs
// as planned is checked where the loop counts itself: test/native/core/plan_checks.cc.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  blocks,
  causal,
  type ExplainShape,
  explain,
  full,
  hierarchical,
  neighborhood,
  type Pattern,
  slidingWindow,
  stridedShards,
} from '../../dist/index.js';
import { chance, integers, places, seeds, within } from '../conformance/draw.js';
import { Random } from '../conformance/random.js';
import { neighborhoodRule } from '../references/neighborhood.js';
import { range } from '../references/operand.js';
import { shardsRule } from '../references/strided-shards.js';
import { expectForAll } from '../support/property.js';

const one = { queryHeads: 1, kvHeads: 1, headDim: 64 };
const product = (lengths: readonly number[]): number => lengths.reduce((a, n) => a * n, 1);

/** [query tile][queries], in tiles of at most `size` that begin anew at multiples of `block`. */
function cut(length: number, size: number, block = length): number[][] {
  const tiles: number[][] = [];
  for (let begin = 0; begin < length; ) {
    const end = Math.min(length, begin + size, (Math.floor(begin / block) + 1) * block);
    tiles.push(range(0, end - begin).map((i) => begin + i));
    begin = end;
  }
  return tiles;
}

interface Tiles {
  queries: number[][];
  keys: number[][];
  /** Keys of a whole tile: a shorter one at the end is never interior. */
  size: number;
}

/** Counts by asking for every pair of every tile. */
function count({ queries, keys, size }: Tiles, sees: (query: number, key: number) => boolean) {
  const total = { visited: 0, interior: 0, computed: 0, useful: 0, worst: 0 };
  for (const rows of queries) {
    let visited = 0;
    for (const columns of keys) {
      const seen = rows.reduce((n, query) => n + columns.filter((key) => sees(query, key)).length, 0);
      total.useful += seen;
      if (seen === 0) continue;
      ++visited;
      total.computed += rows.length * columns.length;
      if (seen === rows.length * columns.length && columns.length === size) ++total.interior;
    }
    total.visited += visited;
    total.worst = Math.max(total.worst, visited);
  }
  return total;
}

type Counts = ReturnType<typeof count>;

function expectCounts(pattern: Pattern, shape: ExplainShape, tile: object, perHead: Counts[]): void {
  const { tiles, pairs, worstHead } = explain(pattern, shape, tile);
  const sum = (name: keyof Counts) => perHead.reduce((n, counts) => n + counts[name], 0);
  const heads = perHead.length;
  expect(tiles.visited * heads).toBeCloseTo(sum('visited'), 6);
  expect(tiles.interior * heads).toBeCloseTo(sum('interior'), 6);
  expect(pairs.computed * heads).toBeCloseTo(sum('computed'), 6);
  expect(pairs.useful * heads).toBeCloseTo(sum('useful'), 6);
  expect(tiles.worst.visited).toBe(Math.max(...perHead.map(({ worst }) => worst)));
  if (!worstHead) return;
  const most = Math.max(...perHead.map(({ computed }) => computed));
  const { visited, computed, useful } = perHead[worstHead.head];
  expect(worstHead.head, 'the first of equals').toBe(perHead.findIndex((head) => head.computed === most));
  expect(computed).toBe(most);
  expect(worstHead).toMatchObject({ visited, computed, useful });
}

describe('tiles are counted as the rules say', () => {
  const sizes = {
    queries: integers(1, 60),
    keys: integers(1, 60),
    queryTile: integers(1, 20),
    keyTile: integers(1, 20),
  };

  it('of windows', () => {
    const problems = fc.record({
      ...sizes,
      left: fc.constantFrom(0, 3, 20, Number.POSITIVE_INFINITY),
      right: fc.constantFrom(0, 5, Number.POSITIVE_INFINITY),
      sinkTokens: fc.constantFrom(0, 4, 17),
    });
    expectForAll(problems, 100, ({ queries, keys, queryTile, keyTile, left, right, sinkTokens }) => {
      const sees = (query: number, key: number) => {
        const position = query + keys - queries;
        return key <= position + right && (key >= position - left || key < sinkTokens);
      };
      const counts = count({ queries: cut(queries, queryTile), keys: cut(keys, keyTile), size: keyTile }, sees);
      const pattern = slidingWindow({ left, right, sinkTokens });
      expectCounts(pattern, { ...one, queries, keys }, { queryTile, keyTile }, [counts]);
    });
  });

  it('of neighborhoods, dilation groups being grids of their own', () => {
    const axis = fc.record({
      length: places,
      dilation: places,
      kernelSize: places,
      stride: places,
      causal: chance(0.25),
      queryTile: integers(1, 4),
      keyTile: integers(1, 4),
    });
    expectForAll(fc.array(axis, { minLength: 1, maxLength: 3 }), 60, (drawn) => {
      const axes = drawn.map((axis) => {
        const length = within(axis.length, 1, [40, 10, 6][drawn.length - 1]);
        const dilation = within(axis.dilation, 1, Math.min(3, length));
        const kernelSize = within(axis.kernelSize, 1, Math.floor(length / dilation));
        return { length, dilation, kernelSize, stride: within(axis.stride, 1, kernelSize), causal: axis.causal };
      });
      const queryTile = drawn.map((axis) => axis.queryTile);
      const keyTile = drawn.map((axis) => axis.keyTile);
      const tokens = axes.map(({ length }) => length);
      // Tiles of every dilation group: a product over the axes.
      const tilesOf = (sizes: number[]) =>
        axes.reduce<number[][]>(
          (sofar, { length, dilation }, axis) => {
            const parts = range(0, dilation).flatMap((residue) => {
              const group = range(0, length).filter((token) => token % dilation === residue);
              return cut(group.length, sizes[axis]).map((part) => part.map((place) => group[place]));
            });
            return sofar.flatMap((outer) =>
              parts.map((part) => outer.flatMap((token) => part.map((t) => token * length + t))),
            );
          },
          [[0]],
        );
      const sees = neighborhoodRule({ kind: 'neighborhood', axes });
      const counts = count({ queries: tilesOf(queryTile), keys: tilesOf(keyTile), size: product(keyTile) }, sees);
      const [kernelSize, stride, dilation] = (['kernelSize', 'stride', 'dilation'] as const).map((name) =>
        axes.map((axis) => axis[name]),
      );
      const pattern = neighborhood({ kernelSize, stride, dilation, causal: axes.map((axis) => axis.causal) });
      expectCounts(pattern, { ...one, tokens }, { queryTile, keyTile }, [counts]);
    });
  });

  it('of strided shards, head by head', () => {
    const problems = fc.record({
      ...sizes,
      options: fc.record({
        blockSize: integers(1, 9),
        localBlocks: integers(1, 3),
        vertStride: integers(1, 4),
        positions: fc.constantFrom('absolute', 'absolute', 'relative'),
        requireFullCoverage: fc.constant(false),
      }),
    });
    expectForAll(problems, 60, ({ queries, keys, queryTile, keyTile, options }) => {
      const tiles = { queries: cut(queries, queryTile), keys: cut(keys, keyTile), size: keyTile };
      const counts = range(0, 4).map((head) => {
        const sees = shardsRule({ kind: 'stridedShards', ...options }, head, 4, 2);
        return count(tiles, (query, key) => sees(query + keys - queries, key));
      });
      const shape = { queryHeads: 4, kvHeads: 2, headDim: 8, queries, keys };
      expectCounts(stridedShards(options), shape, { queryTile, keyTile }, counts);
    });
  });

  it('of block lists, query tiles ending where blocks of queries do', () => {
    const problems = fc.record({
      ...sizes,
      blockQ: integers(1, 20),
      blockK: integers(1, 9),
      isCausal: fc.boolean(),
      seed: seeds,
    });
    expectForAll(problems, 60, ({ queries, keys, queryTile, keyTile, blockQ, blockK, isCausal, seed }) => {
      const random = new Random(seed);
      const [rows, columns] = [Math.ceil(queries / blockQ), Math.ceil(keys / blockK)];
      const listed = range(0, rows).map(() => range(0, columns).filter(() => random.chance(1 / 3)));
      const sees = (query: number, key: number) =>
        listed[Math.floor(query / blockQ)].includes(Math.floor(key / blockK)) &&
        (!isCausal || key <= query + keys - queries);
      const rowOffsets = Int32Array.from({ length: rows + 1 }, (_, m) => listed.slice(0, m).flat().length);
      const csr = { rowOffsets, columns: Int32Array.from(listed.flat()) };
      const pattern = blocks({ blockQ, blockK, csr, causal: isCausal });
      const tiles = { queries: cut(queries, queryTile, blockQ), keys: cut(keys, keyTile), size: keyTile };
      expectCounts(pattern, { ...one, queries, keys }, { queryTile, keyTile }, [count(tiles, sees)]);
    });
  });

  it('and a predicate hides pairs', () => {
    const rowOffsets = Int32Array.of(0, 1, 3);
    const pattern = blocks({
      blockQ: 4,
      blockK: 4,
      csr: { rowOffsets, columns: Int32Array.of(0, 0, 1) },
      predicate: (_b, _h, query, key) => (query + key) % 2 === 0 || key < 4,
    });
    const { pairs, tiles } = explain(pattern, { ...one, queries: 8, keys: 8 }, { queryTile: 4, keyTile: 4 });
    expect(pairs).toMatchObject({ useful: 16 + 16 + 8, computed: 48, interior: 32 });
    expect(tiles).toMatchObject({ visited: 3, interior: 2 });
  });
});

describe('published bounds of NATTENSim (arXiv 2504.16922)', () => {
  // Bounds on dense attention over the worst query tile; what no one printed is null. Then the end-to-end speed-ups that the
  // paper simulates, from the share of attention in the model's time.
  const flux = { tokens: [256, 256], queryTile: [16, 16], keyTile: [16, 8], share: 0.518 };
  const hunyuan = { tokens: [30, 48, 80], queryTile: [4, 8, 8], keyTile: [2, 8, 8], share: 0.607 };
  const cosmos = { tokens: [16, 44, 80], queryTile: [8, 4, 8], keyTile: [4, 4, 8], share: 0.587 };
  const rows: [string, typeof flux, number[], number[], visited: number | null, bound: number | null, end: number][] = [
    ['FLUX', flux, [80, 80], [1, 1], 84, 6.1, 1.76],
    ['FLUX', flux, [80, 80], [16, 1], 60, null, 1.84],
    ['FLUX', flux, [80, 80], [16, 16], 50, 10.2, 1.88],
    ['Hunyuan', hunyuan, [18, 24, 24], [1, 1, 1], 275, 3.3, 1.73],
    ['Hunyuan', hunyuan, [18, 24, 24], [2, 1, 1], 250, null, 1.78],
    ['Hunyuan', hunyuan, [18, 24, 24], [1, 1, 8], 165, null, 1.99],
    ['Hunyuan', hunyuan, [18, 24, 24], [2, 1, 8], 150, null, 2.02],
    ['Hunyuan', hunyuan, [18, 24, 24], [1, 8, 8], 99, null, 2.17],
    ['Hunyuan', hunyuan, [18, 24, 24], [2, 8, 8], 90, null, 2.2],
    ['Hunyuan', hunyuan, [18, 24, 24], [16, 8, 8], 81, 11.1, 2.23],
    ['Hunyuan 58 %', hunyuan, [30, 40, 40], [1, 1, 1], 630, null, 1.21],
    ['Hunyuan 58 %', hunyuan, [30, 40, 40], [1, 1, 8], 450, null, 1.44],
    ['Hunyuan 58 %', hunyuan, [30, 40, 40], [1, 32, 8], 375, null, 1.55],
    ['Cosmos', cosmos, [16, 24, 16], [1, 1, 1], 84, 5.2, 1.9],
    ['Cosmos', cosmos, [16, 24, 16], [1, 8, 1], 72, null, 1.96],
    ['Cosmos', cosmos, [16, 24, 16], [1, 1, 16], 56, null, 2.05],
    ['Cosmos', cosmos, [16, 24, 16], [1, 8, 16], 48, 9.2, 2.1],
    ['Cosmos 56 %', cosmos, [16, 32, 48], [1, 1, 1], null, null, 1.35],
    ['Cosmos 56 %', cosmos, [16, 32, 48], [1, 8, 1], null, null, 1.42],
    ['Cosmos 56 %', cosmos, [16, 32, 48], [1, 1, 16], null, null, 1.42],
    ['Cosmos 56 %', cosmos, [16, 32, 48], [1, 8, 16], null, null, 1.5],
  ];

  it.each(rows)('%s %#', (_name, { tokens, share, ...tile }, kernelSize, stride, visited, bound, end) => {
    const { tiles, idealSpeedup } = explain(neighborhood({ kernelSize, stride }), { ...one, tokens }, tile);
    if (visited !== null) expect(tiles.worst.visited).toBe(visited);
    if (bound !== null) expect(Number(idealSpeedup.worst.toFixed(1))).toBe(bound);
    expect(Math.abs(1 / (1 - share + share / idealSpeedup.worst) - end)).toBeLessThanOrEqual(0.02);
  });
});

describe('a plan', () => {
  it('of 115 thousand tokens takes a moment', () => {
    const begin = process.cpuUsage(); // not the clock: other programs may have the cores
    explain(neighborhood({ kernelSize: [18, 24, 24] }), { ...one, tokens: [30, 48, 80] });
    explain(causal(), { ...one, queryHeads: 2 ** 20, batch: 2 ** 20, tokens: 115_200 });
    explain(stridedShards({ blockSize: 64, localBlocks: 16, vertStride: 8 }), {
      ...one,
      queryHeads: 32,
      kvHeads: 8,
      tokens: 65_536,
    });
    expect(process.cpuUsage(begin).user / 1000, 'ms').toBeLessThan(2000);
  });

  it('says what it is counted on, and why', () => {
    const grid = explain(neighborhood({ kernelSize: 7 }), { ...one, tokens: [56, 56] });
    expect(grid.tiles.queryTile).toHaveLength(2);
    expect(grid.tiles.keyTile).toEqual([1, 1]);
    expect(grid.tiles.why).toContain('windows together hold the fewest keys');
    expect(grid.tiles.visited * grid.tiles.shape.queries).toBeGreaterThanOrEqual(grid.pairs.computed);
    const shards = explain(stridedShards({ blockSize: 48, localBlocks: 2, vertStride: 3 }), { ...one, tokens: 500 });
    expect(shards.tiles.keyTile).toEqual([48]);
    const asked = explain(full(), { ...one, tokens: 500 }, { queryTile: 128 });
    expect(asked.tiles).toMatchObject({ queryTile: [128], keyTile: [192], why: 'as asked for' });
  });

  it('on tiles of the device is what the device computes: no more than the visited tiles, no less than what is visible', () => {
    for (const pattern of [causal(), slidingWindow({ left: 90, sinkTokens: 5, causal: true })]) {
      const shape = { ...one, tokens: 1000 };
      const own = explain(pattern, shape);
      const asked = explain(pattern, shape, { queryTile: own.tiles.queryTile, keyTile: own.tiles.keyTile });
      expect(asked.tiles.visited).toBe(own.tiles.visited);
      expect(own.pairs.useful).toBe(asked.pairs.useful);
      expect(own.pairs.computed).toBeLessThan(asked.pairs.computed);
      expect(own.pairs.computed).toBeGreaterThan(own.pairs.useful);
      expect(own.pairs.interior).toBeLessThan(own.pairs.useful);
    }
  });

  it('counts the bytes of keys that some query reads', () => {
    const shape = { queryHeads: 8, kvHeads: 2, headDim: 16, valueDim: 8, queries: 1, keys: 1000 };
    const step = explain(slidingWindow({ left: 99, causal: true, sinkTokens: 4 }), shape);
    const rows = 4 * 8 * (16 + 8);
    expect(step.bytes).toBe(rows + 4 * 2 * 1000 * (16 + 8));
    expect(step.bytesTouched).toBe(rows + 4 * 2 * 104 * (16 + 8));
    // One far block for each KV head, another one for the other.
    const shards = stridedShards({ blockSize: 10, localBlocks: 1, vertStride: 2 });
    expect(explain(shards, { ...shape, keys: 40 }).bytesTouched).toBe(rows + 4 * (20 + 30) * (16 + 8));
  });

  it('of shared tiles counts heads together: few queries of a group fill a tile', () => {
    const { tiles, pairs, flops } = explain(causal(), { queryHeads: 8, kvHeads: 2, headDim: 8, queries: 3, keys: 50 });
    expect(tiles.dense).toBeGreaterThan(0);
    expect(pairs.useful).toBe(48 + 49 + 50);
    expect(flops).toBe(2 * (48 + 49 + 50) * 16 * 8);
  });
});

describe('chosen pages', () => {
  const shape = { queryHeads: 8, kvHeads: 2, headDim: 16, queries: 1, keys: 1000, pageSize: 16 };

  it('are what a step sees, and their choice two products per page', () => {
    const { pairs, selection, flops } = explain(causal(), { ...shape, selectedPages: 8 });
    expect(pairs.useful).toBe(128);
    expect(pairs.dense).toBe(1000);
    expect(selection).toEqual({ dots: 2 * 63, flops: 2 * 2 * 63 * 16 * 8 });
    expect(flops).toBe(2 * 128 * 32 * 8);
    expect(explain(causal(), { ...shape, selectedPages: 63 }).pairs.useful).toBe(1000);
    expect(explain(causal(), { ...shape, batch: 2, keyLengths: [1000, 20], selectedPages: 8 }).selection?.dots).toBe(
      2 * 65,
    );
  });

  it.each<[string, object]>([
    ['several queries', { ...shape, queries: 2 }],
    ['keys that are on no pages', { ...shape, pageSize: undefined }],
  ])('are refused for %s', (_, wrong) => {
    expect(() => explain(causal(), { ...wrong, selectedPages: 8 } as never)).toThrow('`selectedPages`');
  });
});

describe('hierarchical() gets bounds', () => {
  const sizes = { queryHeads: 4, kvHeads: 2, headDim: 16 };

  it('on keys: sinks, window and what the last stage keeps', () => {
    const stages = [
      { chunk: 32, keep: 256, strideQ: 4 },
      { chunk: 8, keep: 100, strideQ: 1 },
    ];
    const pattern = hierarchical({ stages, sink: 16, window: 64 });
    const { pairs, selection } = explain(pattern, { ...sizes, tokens: 1000 });
    // 100 keys are 12 whole chunks of 8.
    expect(pairs.useful).toBe(range(0, 1000).reduce((sum, p) => sum + Math.min(p + 1, 16 + 64 + 96), 0));
    expect(selection?.flops).toBe(2 * selection!.dots * 16 * 4);
  });

  it('on the products of the selection', () => {
    // One stage of single tokens: every sampled query meets every candidate once.
    const pattern = hierarchical({ stages: [{ chunk: 1, keep: 8, strideQ: 2 }], blockQ: 4, sink: 2, window: 8 });
    let dots = 0;
    for (let begin = 0; begin < 30; begin += 4) {
      const end = Math.min(30, begin + 4);
      const candidates = range(0, 30).filter((key) => key >= 2 && key <= end - 1 - 8).length;
      dots += Math.ceil((end - begin) / 2) * candidates;
    }
    expect(explain(pattern, { ...sizes, batch: 3, tokens: 30 }).selection?.dots).toBe(3 * dots);
  });

  it('and says so', () => {
    const text = String(explain(hierarchical('3k'), { ...sizes, tokens: 8192 }));
    expect(text).toContain('depends on the data');
    expect(text).toContain('selection');
  });
});
