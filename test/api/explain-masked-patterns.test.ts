// explain() of masks with patterns that are not counted query by query without one: grids and selections. Reader: someone who
// changes core/plan/masked_grid.h or the bounds of hierarchical().

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ExplainOptions, explain, hierarchical, neighborhood } from '../../dist/index.js';
import { integers } from '../conformance/draw.js';
import { type NeighborhoodAxis, neighborhoodRule } from '../references/neighborhood.js';
import { range } from '../references/operand.js';
import { expectForAll } from '../support/property.js';
import { masked } from '../support/tensors.js';

const heads = { queryHeads: 4, kvHeads: 2, headDim: 64 };

describe('explain of a grid with masks', () => {
  it('counts what a key mask leaves of windows along one axis', () => {
    // Windows of 3 keys, shifted inward at the ends; keys 0 to 3 are hidden. Queries 3 to 7 see 1, 2, 3, 3 and 3 keys.
    const keyMask = masked([1, 8], (key) => key >= 4);
    const shape = { ...heads, tokens: 8, keyMask };
    const plan = explain(neighborhood({ kernelSize: 3 }), shape, { queryTile: 4, keyTile: 4 });
    expect(plan.pairs).toEqual({ dense: 64, computed: 32, interior: 0, useful: 12 });
    // Both tiles of queries see keys 4 to 7, none whole; keys 0 to 3 are hidden from both.
    expect(plan.tiles).toMatchObject({ dense: 4, visited: 2, interior: 0, worst: { visited: 1, dense: 2 } });
    const bytesPerKey = 2 * 4 * (64 + 64);
    expect(plan.bytes - plan.bytesTouched).toBe(4 * bytesPerKey);
    expect(String(plan)).toContain('without its mask');
  });

  it('counts what a mask leaves of a plane, tokens in row-major order', () => {
    // A window as large as the grid: every query sees all keys but key 8; query 0 sees none.
    const mask = masked([9, 9], (i) => i >= 9 && i % 9 !== 8);
    const pattern = neighborhood({ kernelSize: [3, 3] });
    const shape = { ...heads, tokens: [3, 3], mask };
    expect(explain(pattern, shape, { queryTile: 1, keyTile: 1 })).toMatchObject({
      pairs: { dense: 81, computed: 64, interior: 64, useful: 64 },
      tiles: { dense: 81, visited: 64, interior: 64, worst: { visited: 8, dense: 9 } },
    });
    expect(explain(pattern, shape, { queryTile: 3, keyTile: [1, 3] })).toMatchObject({
      // One tile of all queries meets the three rows of keys; query 0 keeps each from being interior.
      pairs: { computed: 81, interior: 0, useful: 64 },
      tiles: { dense: 3, visited: 3, interior: 0 },
    });
  });

  it('counts dilation groups by the tokens that they hold', () => {
    // Groups 0 2 4 and 1 3 5, whole windows; tokens 0 and 1 are hidden.
    const keyMask = masked([1, 6], (key) => key >= 2);
    const pattern = neighborhood({ kernelSize: 3, dilation: 2 });
    const byKey = explain(pattern, { ...heads, tokens: 6, keyMask }, { queryTile: 1, keyTile: 1 });
    expect(byKey.pairs).toEqual({ dense: 36, computed: 12, interior: 12, useful: 12 });
    const bytesPerKey = 2 * 4 * (64 + 64);
    expect(byKey.bytes - byKey.bytesTouched).toBe(2 * bytesPerKey);
    // The CPU asks up to 32 keys of a line at once: it reads what some of them hide.
    const byLine = explain(pattern, { ...heads, tokens: 6, keyMask }, { device: 'cpu' });
    expect(byLine.pairs).toEqual({ dense: 36, computed: 18, interior: 0, useful: 12 });
    expect(byLine.bytesTouched).toBe(byLine.bytes);
  });

  const axis = fc
    .record({ length: integers(1, 9), kernelSize: integers(1, 9), stride: integers(1, 3), dilation: integers(1, 2) })
    .map((a) => ({ ...a, length: Math.max(a.length, a.dilation) }))
    .map((a) => ({ ...a, kernelSize: Math.min(a.kernelSize, Math.floor(a.length / a.dilation)) }))
    .map((a): NeighborhoodAxis => ({ ...a, stride: Math.min(a.stride, a.kernelSize), causal: false }));
  const drawn = fc.record({
    axes: fc.array(fc.tuple(axis, fc.boolean()), { minLength: 1, maxLength: 3 }),
    seed: integers(0, 1000),
    byHead: fc.boolean(),
    tile: integers(1, 4),
    tiling: fc.constantFrom('static', 'dynamic'),
  });
  const patternOf = (axes: readonly NeighborhoodAxis[]) =>
    neighborhood({
      kernelSize: axes.map(({ kernelSize }) => kernelSize),
      stride: axes.map(({ stride }) => stride),
      dilation: axes.map(({ dilation }) => dilation),
      causal: axes.map(({ causal }) => causal),
    });
  const batch = 2;

  it('counts the pairs of any grid that a mask and a key mask leave', () => {
    expectForAll(drawn, 40, ({ axes: pairs, seed, byHead, tile, tiling }) => {
      const axes = pairs.map(([one, causal]) => ({ ...one, causal }));
      const tokens = axes.map(({ length }) => length);
      const count = tokens.reduce((a, b) => a * b, 1);
      const maskHeads = byHead ? heads.queryHeads : 1;
      const mask = masked([batch, maskHeads, count, count], (i) => (i * 7 + seed) % 11 < 6);
      const keyMask = masked([batch, count], (i) => (i * 5 + seed) % 9 < 7);
      const isSeen = neighborhoodRule({ kind: 'neighborhood', axes });
      let useful = 0;
      for (const b of range(0, batch))
        for (const h of range(0, heads.queryHeads))
          for (const q of range(0, count))
            for (const key of range(0, count)) {
              const at = ((b * maskHeads + (byHead ? h : 0)) * count + q) * count + key;
              useful += Number(isSeen(q, key) && mask.data[at] === 1 && keyMask.data[b * count + key] === 1);
            }
      for (const options of [{}, { queryTile: tile, keyTile: tile, tiling }] satisfies ExplainOptions[]) {
        const plan = explain(patternOf(axes), { ...heads, batch, tokens, mask, keyMask }, options);
        expect(plan.pairs.useful).toBe(useful / heads.queryHeads);
        expect(plan.pairs.computed).toBeGreaterThanOrEqual(plan.pairs.useful);
      }
    });
  });

  it('counts a mask of ones as none', () => {
    expectForAll(drawn, 40, ({ axes: pairs, tile, tiling }) => {
      const axes = pairs.map(([one, causal]) => ({ ...one, causal }));
      const tokens = axes.map(({ length }) => length);
      const count = tokens.reduce((a, b) => a * b, 1);
      const mask = masked([count, count], () => true);
      for (const options of [{}, { queryTile: tile, keyTile: tile, tiling }] satisfies ExplainOptions[]) {
        const [ones, none] = [{ mask }, {}].map((more) =>
          explain(patternOf(axes), { ...heads, batch, tokens, ...more }, options),
        );
        const { why: _, ...tiles } = none.tiles;
        expect(ones).toMatchObject({ tiles, pairs: none.pairs, bytesTouched: none.bytesTouched });
      }
    });
  });
});

describe('explain of hierarchical() with masks and lengths', () => {
  const pattern = hierarchical({ stages: [{ chunk: 1, keep: 8, strideQ: 2 }], blockQ: 4, sink: 2, window: 8 });

  it('leaves out what is hidden of the sinks and the window, and nothing of what is selected', () => {
    const shape = { ...heads, tokens: 20 };
    // A query sees at most 2 sinks, 8 selected keys and 8 of its window: min(p + 1, 18) of 20.
    expect(explain(pattern, shape).pairs.useful).toBe((18 * 19) / 2 + 18 + 18);
    // Sinks 0 and 1 are seen by 20 and 19 queries, key 5 as a part of the window by queries 5 to 12.
    const keyMask = masked([1, 20], (key) => ![0, 1, 5].includes(key));
    const plan = explain(pattern, { ...shape, keyMask });
    expect(plan.pairs.useful).toBe(207 - 20 - 19 - 8);
    expect(plan.flops).toBe(2 * 160 * 128 * heads.queryHeads);
    expect(plan.selection).toEqual(explain(pattern, shape).selection);
    expect(plan.tiles.visited).toBe(explain(pattern, shape).tiles.visited);
    const byHead = masked([1, 4, 1, 20], (i) => i !== 0); // key 0, from head 0 alone
    expect(explain(pattern, { ...shape, mask: byHead }).pairs.useful).toBe(207 - 20 / 4);
  });

  it('counts every batch entry as far as its length', () => {
    const shape = { ...heads, queries: 4 };
    const plan = explain(pattern, { ...shape, batch: 2, keys: 20, keyLengths: [20, 10] });
    // Queries at positions 16 to 19 of the first entry, at 6 to 9 of the second.
    expect(plan.pairs.useful).toBe(17 + 18 + 18 + 18 + (7 + 8 + 9 + 10));
    const dots = [20, 10].map((keys) => explain(pattern, { ...shape, keys }).selection!.dots);
    expect(plan.selection!.dots).toBe(dots[0] + dots[1]);
    expect(dots[1]).toBeLessThan(dots[0]);
  });
});
