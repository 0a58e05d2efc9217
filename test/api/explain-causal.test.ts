// The ideal speed-up over dense attention with the same causal rule, and the warning where tiles are more than dense ones.
// Reader: someone who compares a pattern with causal attention.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  blocks,
  causal,
  createBlockMaskSync,
  explain,
  full,
  hierarchical,
  neighborhood,
  type Pattern,
  slidingWindow,
  stridedShards,
} from '../../dist/index.js';
import { integers } from '../conformance/draw.js';
import { range } from '../references/operand.js';
import { expectForAll } from '../support/property.js';

const one = { queryHeads: 1, kvHeads: 1, headDim: 64 };

/** Tiles that hold a pair, one by one. */
function visited(queries: number, keys: number, tile: number[], sees: (query: number, key: number) => boolean): number {
  const starts = (length: number, size: number) => range(0, Math.ceil(length / size)).map((i) => i * size);
  const isSeen = (q: number, k: number) =>
    range(q, Math.min(queries, q + tile[0])).some((query) =>
      range(k, Math.min(keys, k + tile[1])).some((key) => sees(query, key)),
    );
  return starts(queries, tile[0]).reduce((n, q) => n + starts(keys, tile[1]).filter((k) => isSeen(q, k)).length, 0);
}

describe('idealSpeedup.overCausal', () => {
  it("counts what dense attention visits by the pattern's rule alone", () => {
    const problems = fc.record({
      queries: integers(1, 60),
      keys: integers(1, 60),
      queryTile: integers(1, 20),
      keyTile: integers(1, 20),
      left: fc.constantFrom(0, 3, 20, Number.POSITIVE_INFINITY),
      right: fc.constantFrom(0, 5),
      sinkTokens: fc.constantFrom(0, 4),
      align: fc.constantFrom('bottom-right' as const, 'top-left' as const, { offset: 7 }),
    });
    expectForAll(problems, 100, ({ queries, keys, queryTile, keyTile, left, right, sinkTokens, align }) => {
      const offset = align === 'bottom-right' ? keys - queries : align === 'top-left' ? 0 : align.offset;
      const rule = (query: number, key: number) => key <= query + offset + right;
      const sees = (query: number, key: number) =>
        rule(query, key) && (key >= query + offset - left || key < sinkTokens);
      const [ours, dense] = [sees, rule].map((seen) => visited(queries, keys, [queryTile, keyTile], seen));
      const pattern = slidingWindow({ left, right, sinkTokens, align });
      const { idealSpeedup } = explain(pattern, { ...one, queries, keys }, { queryTile, keyTile });
      expect(idealSpeedup.overCausal).toBeCloseTo(dense > 0 ? dense / ours : 1, 9);
    });
  });

  it('on a grid goes by the axes that are causal', () => {
    const pattern = neighborhood({ kernelSize: [3, 5], causal: [false, true] });
    const { idealSpeedup } = explain(pattern, { ...one, tokens: [12, 40] }, { queryTile: [2, 4], keyTile: [3, 8] });
    const down = (sees: (query: number, key: number) => boolean) => visited(12, 12, [2, 3], sees);
    const across = (sees: (query: number, key: number) => boolean) => visited(40, 40, [4, 8], sees);
    const dense = down(() => true) * across((query, key) => key <= query);
    const shifted = (query: number) => Math.min(12 - 3, Math.max(0, query - 1));
    const ours =
      down((query, key) => key >= shifted(query) && key < shifted(query) + 3) *
      across((query, key) => key <= query && key > query - 5);
    expect(idealSpeedup.overCausal).toBeCloseTo(dense / ours, 9);
  });

  it("halves what is said of HiP: its preset 'default' on 16k tokens", () => {
    const shape = { queryHeads: 32, kvHeads: 8, headDim: 128, tokens: 16384 };
    const { idealSpeedup } = explain(hierarchical('default'), shape, { queryTile: 64, keyTile: 64 });
    // 256 by 256 tiles. Query tile i sees those of 128 sink tokens and 512 selected ones, and those of a window of 1024.
    const tiles = range(0, 256).reduce((sum, i) => {
      const seen = range(0, i + 1).filter((tile) => tile < (128 + 512) / 64 || 64 * tile + 63 > 64 * i - 1024);
      return sum + seen.length;
    }, 0);
    expect(idealSpeedup.average).toBeCloseTo(256 ** 2 / tiles, 9);
    expect(idealSpeedup.overCausal).toBeCloseTo((256 * 257) / 2 / tiles, 9);
  });

  it('is 1 for causal attention on any tiles, those of the device included', () => {
    for (const tiles of [{}, { queryTile: 48, keyTile: 100 }]) {
      const { idealSpeedup } = explain(causal(), { ...one, tokens: 1000 }, tiles);
      expect(idealSpeedup.overCausal).toBe(1);
      expect(idealSpeedup.average).toBeGreaterThan(1.5);
    }
  });

  it('is there for patterns with a causal rule alone', () => {
    const shape = { ...one, tokens: 64 };
    const lists = { rowOffsets: Int32Array.of(0, 1, 3), columns: Int32Array.of(0, 0, 1) };
    const listed = { blockQ: 32, blockK: 32, csr: lists };
    const over = (pattern: Pattern) => explain(pattern, shape).idealSpeedup.overCausal;
    for (const pattern of [full(), slidingWindow({ left: 5 }), neighborhood({ kernelSize: 5 }), blocks(listed)]) {
      expect(over(pattern)).toBeUndefined();
    }
    for (const pattern of [
      stridedShards({ blockSize: 8, localBlocks: 2, vertStride: 2 }),
      neighborhood({ kernelSize: 5, causal: true }),
      blocks({ ...listed, causal: true }),
    ]) {
      expect(over(pattern)).toBeGreaterThanOrEqual(1);
    }
    // A predicate may be causal; it does not say so.
    const blockMask = createBlockMaskSync((_b, _h, query, key) => key <= query, { queries: 64, keys: 64 });
    expect(over(blocks({ blockMask }))).toBeUndefined();
  });

  it('has answers where there is nothing to see', () => {
    for (const shape of [
      { ...one, queries: 0, keys: 8 },
      { ...one, queries: 8, keys: 0 },
      { ...one, tokens: 8, batch: 0 },
    ]) {
      expect(explain(causal(), shape).idealSpeedup).toEqual({ average: 1, worst: 1, overCausal: 1 });
    }
    expect(explain(causal({ align: { offset: -99 } }), { ...one, tokens: 8 }).idealSpeedup.overCausal).toBe(1);
  });

  it('is in the text and in the picture', () => {
    const plan = explain(
      slidingWindow({ left: 15, causal: true }),
      { ...one, tokens: 256 },
      { queryTile: 16, keyTile: 16 },
    );
    // 16 by 16 tiles; the first query tile visits one, others two; causal 136.
    const words = `${(256 / 31).toFixed(2)}x over dense at best, ${(136 / 31).toFixed(2)}x over dense with the same causal rule`;
    expect(String(plan)).toContain(`speed-up  ${words}`);
    expect(plan.toSVG()).toContain(`>${words}</text>`);
    expect(String(explain(full(), { ...one, tokens: 8 }))).not.toContain('causal rule');
  });
});

describe('tiles that are more than dense ones', () => {
  const warning = 'more than dense attention would visit';

  it('are said to be: dynamic tiles begin anew with every run of keys', () => {
    // Queries of 3 runs at most: sinks, and the band; two tiles each where dense attention has one of 58 keys.
    const pattern = slidingWindow({ left: 5, sinkTokens: 3 });
    const shape = { ...one, queries: 17, keys: 58, headDim: 129 };
    const tiles = { queryTile: 17, keyTile: 58 };
    const dynamic = explain(pattern, shape, { ...tiles, tiling: 'dynamic' });
    expect([dynamic.tiles.visited, dynamic.tiles.dense]).toEqual([2, 1]);
    expect(dynamic.idealSpeedup.average).toBe(0.5);
    expect(String(dynamic)).toContain(warning);
    expect(dynamic.toSVG()).toContain(warning);
    const fixed = explain(pattern, shape, tiles);
    expect([fixed.tiles.visited, fixed.idealSpeedup.average]).toEqual([1, 1]);
    expect(String(fixed)).not.toContain(warning);
    expect(fixed.toSVG()).not.toContain(warning);
  });

  it('are said to be of the worst query tile, where they are of that one alone', () => {
    // The last five of 16 query tiles visit one tile of sinks and two of a band of 44 keys; dense ones visit two.
    const pattern = slidingWindow({ left: 40, right: 0, sinkTokens: 2 });
    const plan = explain(pattern, { ...one, tokens: 64 }, { queryTile: 4, keyTile: 32, tiling: 'dynamic' });
    expect(plan.tiles).toMatchObject({ visited: 8 + 3 * 2 + 5 * 3, dense: 32, worst: { visited: 3, dense: 2 } });
    expect(String(plan)).toContain(`those of the worst query tile are ${warning}`);
  });
});

describe('no batch entry', () => {
  it.each<[string, Pattern, object]>([
    ['a grid', neighborhood({ kernelSize: 2 }), { tokens: [6, 10] }],
    ['a window', causal(), { tokens: 16 }],
    ['shards', stridedShards({ blockSize: 4, localBlocks: 1, vertStride: 2 }), { tokens: 16 }],
  ])('of %s: nothing to draw, as text and as SVG', (_, pattern, tokens) => {
    const plan = explain(pattern, { ...one, ...tokens, batch: 0, headDim: 8 });
    expect(String(plan)).toMatch(/nothing to draw$/);
    expect(plan.toSVG()).not.toContain('<path');
    expect(plan.flops).toBe(0);
  });
});
