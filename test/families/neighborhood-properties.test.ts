// Laws of neighborhood attention: its rule, what other attentions it contains, grids seen another way, and a random sweep.
// Reader: someone who changed the rule, tiling or regions.

import { describe, expect, it } from 'vitest';
import { build } from '../conformance/case.js';
import { expectedOf, type Output, run } from '../conformance/judge.js';
import { neighborhoodCases } from '../conformance/pattern-sweep.js';
import { neighborhoodOf } from '../conformance/patterns.js';
import { expectCases, expectMatrix, expectRight, onEveryBackend, runCase, sweep } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { coordinates, keysOfAxis, neighborhoodRule } from '../references/neighborhood.js';
import { range } from '../references/operand.js';
import type { Problem } from '../references/problem.js';
import { on } from '../support/grids.js';
import { part, rowsOf, view } from '../support/views.js';

/** Expects two problems to mean the same: each has to be right by the other's exact result. */
function expectSame(one: Output, other: Problem, about = ''): void {
  expectRight(one, expectedOf(other), about);
}

describe('the rule', () => {
  const axes = range(1, 15).flatMap((length) =>
    range(1, length + 1).flatMap((kernelSize) =>
      range(1, kernelSize + 1).flatMap((stride) =>
        range(1, Math.floor(length / kernelSize) + 1).flatMap((dilation) =>
          [false, true].map((causal) => ({ length, kernelSize, stride, dilation, causal })),
        ),
      ),
    ),
  );

  it('every token sees itself', () => {
    for (const axis of axes) {
      keysOfAxis(axis).forEach((keys, token) => {
        expect(keys, JSON.stringify(axis)).toContain(token);
      });
    }
  });

  it('without causal every token sees exactly kernelSize keys', () => {
    for (const axis of axes) {
      for (const keys of keysOfAxis(axis)) {
        if (axis.causal) expect(keys.length).toBeLessThanOrEqual(axis.kernelSize);
        else expect(keys.length, JSON.stringify(axis)).toBe(axis.kernelSize);
      }
    }
  });

  it('windows never step back: first and last keys rise from token to token of a dilation group', () => {
    for (const axis of axes) {
      const keys = keysOfAxis(axis);
      for (let token = axis.dilation; token < axis.length; token++) {
        const before = keys[token - axis.dilation];
        expect(keys[token][0]).toBeGreaterThanOrEqual(before[0]);
        expect(keys[token].at(-1)).toBeGreaterThanOrEqual(before.at(-1)!);
      }
    }
  });

  it('causal axes hide an orthant, not what comes later in memory', () => {
    const rule = neighborhoodRule(neighborhoodOf([4, 4], { kernelSize: 3, causal: true }));
    expect(rule(1 * 4 + 0, 0 * 4 + 1)).toBe(false);
    expect(rule(1 * 4 + 1, 0 * 4 + 1)).toBe(true);
  });
});

onEveryBackend((backend) => {
  it('a window over all of every axis is full attention, whatever the stride', () => {
    for (const [grid, stride] of [
      [[90], 1],
      [[90], 7],
      [
        [9, 11],
        [9, 2],
      ],
      [
        [4, 5, 6],
        [1, 4, 6],
      ],
    ] as [number[], number | number[]][]) {
      for (const dtype of dtypes) {
        const c = on(grid, { dtype, neighborhood: { kernelSize: grid, stride } });
        const { pattern, ...full } = build(c).problem;
        expectSame(runCase(c, backend), full, JSON.stringify(c));
      }
    }
  });

  it('in one dimension a causal window over everything is causal attention', () => {
    for (const stride of [1, 6, 80]) {
      const c = on([80], { neighborhood: { kernelSize: 80, stride, causal: true } });
      const { pattern, ...rest } = build(c).problem;
      expectSame(runCase(c, backend), { ...rest, causal: true }, `stride ${stride}`);
    }
  });

  it('in one dimension a causal window of K is a sliding window over the K - 1 keys before', () => {
    for (const kernelSize of [1, 2, 17, 64]) {
      const c = on([130], { neighborhood: { kernelSize, causal: true } });
      const { pattern, ...rest } = build(c).problem;
      expectSame(runCase(c, backend), { ...rest, causal: true, left: kernelSize - 1 }, `window ${kernelSize}`);
    }
  });

  it('[stride = kernelSize] blocks attend to themselves, as in Swin', () => {
    const [grid, kernel] = [
      [6, 8],
      [3, 4],
    ];
    const c = on(grid, { batch: 2, neighborhood: { kernelSize: kernel, stride: kernel } });
    const { pattern, ...rest } = build(c).problem;
    const whole = runCase(c, backend);
    for (const block of range(0, 4)) {
      const tokens = range(0, 48).filter((token) => {
        const [y, x] = coordinates(token, grid);
        return Math.floor(y / 3) * 2 + Math.floor(x / 4) === block;
      });
      expectSame(rowsOf(whole, tokens), part(rest, tokens, tokens), `block ${block}`);
    }
  });

  it('[kernelSize = stride + 2 halo] inner blocks attend to themselves and a halo, as in HaloNet', () => {
    const [block, halo] = [4, 3];
    const c = on([32], { neighborhood: { kernelSize: block + 2 * halo, stride: block } });
    const { pattern, ...rest } = build(c).problem;
    const whole = runCase(c, backend);
    for (let begin = block; begin + block + halo <= 32; begin += block) {
      const queries = range(begin, begin + block);
      expectSame(rowsOf(whole, queries), part(rest, queries, range(begin - halo, begin + block + halo)));
    }
  });

  it('dilation groups are problems of their own', () => {
    const grid = [11, 10];
    const dilation = [3, 2];
    const c = on(grid, { neighborhood: { kernelSize: [3, 4], stride: [2, 1], dilation, causal: [false, true] } });
    const whole = runCase(c, backend);
    const { problem } = build(c);
    for (const residues of [
      [0, 0],
      [1, 1],
      [2, 0],
    ]) {
      const tokens = range(0, 110).filter((token) =>
        coordinates(token, grid).every((i, axis) => i % dilation[axis] === residues[axis]),
      );
      const own = grid.map((length, axis) => Math.ceil((length - residues[axis]) / dilation[axis]));
      const pattern = neighborhoodOf(own, { kernelSize: [3, 4], stride: [2, 1], causal: [false, true] });
      const group = { ...part(problem, tokens, tokens), pattern };
      expectSame(rowsOf(whole, tokens), group, `group ${residues}`);
      expectRight(run(view(group, own), backend), expectedOf(group), `group ${residues} alone`);
    }
  });

  it('a grid turned over gives the result turned over', () => {
    const c = on([9, 14], { neighborhood: { kernelSize: [4, 5], stride: [3, 1], dilation: [1, 2] } });
    const { problem } = build(c);
    const turn = range(0, 126).map((n) => (n % 9) * 14 + Math.floor(n / 9));
    const pattern = neighborhoodOf([14, 9], { kernelSize: [5, 4], stride: [1, 3], dilation: [2, 1] });
    const turned = { ...part(problem, turn, turn), pattern };
    expectSame(rowsOf(runCase(c, backend), turn), turned);
    expectRight(run(view(turned, [14, 9]), backend), expectedOf(turned));
  });

  it('axes of length 1 change nothing', () => {
    const flat = on([40], { neighborhood: { kernelSize: 6, stride: 2, dilation: 3 } });
    const { problem } = build(flat);
    for (const [grid, kernelSize, stride, dilation] of [
      [
        [1, 40],
        [1, 6],
        [1, 2],
        [1, 3],
      ],
      [
        [40, 1],
        [6, 1],
        [2, 1],
        [3, 1],
      ],
      [
        [1, 40, 1],
        [1, 6, 1],
        [1, 2, 1],
        [1, 3, 1],
      ],
    ]) {
      expectSame(runCase(on(grid, { neighborhood: { kernelSize, stride, dilation } }), backend), problem, `${grid}`);
    }
  });

  it('sizes that have gone wrong elsewhere', () => {
    expectCases(
      [
        on([5, 25], { heads: [1, 1], neighborhood: { kernelSize: [5, 16], stride: [1, 16] } }),
        on([67, 20], {
          heads: [1, 1],
          dims: [8, 8],
          neighborhood: { kernelSize: [12, 7], stride: [8, 4], dilation: [5, 2] },
        }),
        on([18, 9, 6], {
          heads: [1, 1],
          dims: [8, 8],
          neighborhood: { kernelSize: [14, 4, 6], stride: [12, 4, 1], dilation: [1, 2, 1] },
        }),
        on([13, 11, 9], {
          heads: [1, 1],
          dims: [8, 8],
          neighborhood: { kernelSize: [3, 4, 3], stride: [2, 3, 3], dilation: [3, 2, 2] },
        }),
        on([8], { neighborhood: { kernelSize: 4 } }),
        on([1], { neighborhood: { kernelSize: 1 } }),
        on([2], { neighborhood: { kernelSize: 2, stride: 2 } }),
        on([1, 1, 1], { neighborhood: { kernelSize: 1 } }),
      ],
      backend,
    );
  });

  it('grids of many tiles', () => {
    const small = { heads: [1, 1] as [number, number], dims: [8, 8] as [number, number] };
    expectMatrix(
      [
        on([2100], { ...small, neighborhood: { kernelSize: 130 } }),
        on([2100], {
          ...small,
          neighborhood: { kernelSize: 64, stride: 10, dilation: 3, causal: true },
          dtype: 'float16',
        }),
        on([46, 50], { ...small, neighborhood: { kernelSize: 13 } }),
        on([50, 46], { ...small, neighborhood: { kernelSize: [20, 30], stride: [8, 16], dilation: [2, 1] } }),
        on([10, 15, 14], { ...small, neighborhood: { kernelSize: [4, 7, 6], stride: [2, 1, 4] }, relativeBias: true }),
      ],
      backend,
    );
  });
});

sweep('grids', neighborhoodCases, 120);
