// Rows that see no key, and rows that see none for a while. Decided by the mask, never by the scores.
// Reader: someone who changed the online softmax or the skipping of tiles.

import { expect, it } from 'vitest';
import { type Built, build, type Case } from '../conformance/case.js';
import { expectedOf, run } from '../conformance/judge.js';
import { operandOf } from '../conformance/memory.js';
import { expectCase, expectCases, expectRight, onEveryBackend, runCase } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { toNumbers } from '../references/operand.js';

onEveryBackend((backend) => {
  it('[fully masked rows] an empty row gives output 0 and lse -Infinity, whatever empties it', () => {
    const emptied: Case[] = [
      { queries: 40, keys: 70, mask: { axes: 'k', hidden: 1 } },
      { queries: 40, keys: 70, bias: { axes: 'k', hidden: 1 } },
      { queries: 40, keys: 70, bias: { axes: 'bhqk', hidden: 1, dtype: 'float16' } },
      { queries: 40, keys: 70, causal: true, align: -40 },
      { queries: 40, keys: 70, left: 5, align: 1000 },
      { queries: 40, keys: 70, keyLengths: [0] },
      { queries: 1, keys: 70, mask: { axes: '', hidden: 1 } },
      { queries: 1, keys: 70, keyLengths: [0] },
    ];
    for (const c of emptied) {
      for (const dtype of dtypes) {
        const { out, lse } = runCase({ ...c, dtype, seed: 3 }, backend);
        expect(new Set(toNumbers(out)), JSON.stringify(c)).toEqual(new Set([0]));
        expect(new Set(toNumbers(lse)), JSON.stringify(c)).toEqual(new Set([-Infinity]));
      }
    }
  });

  it('[fully masked rows] empty rows beside others in one tile', () => {
    const mixed: Case = { queries: 70, keys: 90, dims: [8, 8] };
    expectCases(
      [
        { ...mixed, mask: { axes: 'q', hidden: 0.5 } },
        { ...mixed, bias: { axes: 'hq', hidden: 0.5 }, heads: [2, 2] },
        { ...mixed, mask: { axes: 'qk', hidden: 0.98 } },
        { ...mixed, bias: { axes: 'bhqk', hidden: 0.98, dtype: 'bfloat16' }, batch: 2, heads: [3, 1] },
        { ...mixed, queries: 90, keys: 70, causal: true },
        { ...mixed, queries: 90, keys: 3, causal: true, dtype: 'float16' },
        { ...mixed, left: 4, right: 0, align: 60 },
      ],
      backend,
    );
  });

  it('[fully masked rows] rows whose first tiles are fully masked', () => {
    const late: Case = { queries: 50, keys: 600, dims: [8, 8] };
    expectCases(
      [64, 130, 256, 599].flatMap((prefix): Case[] => [
        { ...late, mask: { axes: 'k', prefix } },
        { ...late, bias: { axes: 'k', prefix } },
        { ...late, mask: { axes: 'qk', prefix, hidden: 0.5 }, dtype: 'float16' },
        { ...late, queries: 1, mask: { axes: 'k', prefix } },
        { ...late, queries: 1, bias: { axes: 'hk', prefix }, heads: [4, 1] },
      ]),
      backend,
    );
  });

  it('[fully masked rows] rows whose last tiles are fully masked', () => {
    const built = build({ queries: 30, keys: 500, dims: [8, 8] });
    built.problem.mask = operandOf(
      'bool',
      [500],
      Array.from({ length: 500 }, (_, j) => (j < 10 ? 1 : 0)),
    );
    expectRight(run(built, backend), expectedOf(built.problem));
  });

  it('a row with a sink and no key gives output 0 and lse = the sink', () => {
    const c: Case = { queries: 5, keys: 9, heads: [2, 2], sinks: true, keyLengths: [0] };
    expectCase(c, backend);
    const { lse } = runCase(c, backend);
    const sinks = toNumbers(build(c).problem.sinks!);
    expect([...toNumbers(lse)].map((x) => x.toFixed(5))).toEqual(
      [...sinks].flatMap((x) => new Array(5).fill(x.toFixed(5))),
    );
  });

  it('a sink of -Infinity is no sink', () => {
    const without: Case = { queries: 20, keys: 30, heads: [2, 1], causal: true, align: -5 };
    const built = build(without);
    built.problem.sinks = operandOf('float32', [2], [-Infinity, -Infinity]);
    expectRight(run(built, backend), expectedOf(build(without).problem));
  });

  it('[finite minus infinity sentinel] scores far below any sentinel still count', () => {
    const lowest = -3.3895313892515355e38; // finfo.min of bfloat16; float32's is tried too
    for (const bias of [-1e4, -5e4, -1e9, -1e30, lowest, -3.4028234663852886e38]) {
      const only = (queries: number, keys: number): Built => {
        const built = build({ queries, keys, dims: [4, 4] });
        built.problem.bias = operandOf('float32', [1], [bias]);
        return built;
      };
      for (const [queries, keys] of [
        [1, 1],
        [1, 300],
        [20, 300],
      ] as const) {
        const built = only(queries, keys);
        const { out, lse } = run(built, backend);
        const got = toNumbers(out);
        expect(
          [...got].every((x) => Number.isFinite(x)),
          `bias ${bias}`,
        ).toBe(true);
        expect(
          [...got].some((x) => x !== 0),
          `bias ${bias}`,
        ).toBe(true);
        for (const x of toNumbers(lse)) expect(x / bias).toBeCloseTo(1, bias < -1e6 ? 6 : 2);
      }
    }
  });

  it('[fully masked rows] additive masks made of finfo.min: the keys at 0 decide, a row of finfo.min alone is a mean', () => {
    const lowest = { float32: -3.4028234663852886e38, float16: -65504, bfloat16: -3.3895313892515355e38 };
    for (const dtype of ['float32', 'bfloat16', 'float16'] as const) {
      const keys = 200;
      const built = build({ queries: 3, keys, dims: [4, 4], amplitude: 0.1, dtype });
      const rows = [0, 1, 2].flatMap((i) =>
        Array.from({ length: keys }, (_, j) => (i === 2 || j < 70 ? lowest[dtype] : 0)),
      );
      built.problem.bias = operandOf(dtype, [3, keys], rows);
      const { out } = run(built, backend);
      const exact = build({ queries: 3, keys, dims: [4, 4], amplitude: 0.1, dtype });
      exact.problem.mask = operandOf(
        'bool',
        [3, keys],
        rows.map((x) => (x === 0 ? 1 : 0)),
      );
      const want = expectedOf(exact.problem).exact.out;
      const got = toNumbers(out);
      const digits = dtype === 'float32' ? 6 : 2;
      for (let d = 0; d < 8; d++) expect(got[d]).toBeCloseTo(want[d], digits);
      if (dtype === 'float16') continue; // at -65504 the scores are not yet absorbed
      const values = toNumbers(built.problem.value);
      for (let d = 0; d < 4; d++) {
        let mean = 0;
        for (let j = 0; j < keys; j++) mean += values[j * 4 + d] / keys;
        expect(got[8 + d]).toBeCloseTo(mean, digits);
      }
    }
  });
});
