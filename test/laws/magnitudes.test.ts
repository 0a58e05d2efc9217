// Numbers at the ends of their ranges: large and equal scores, values near overflow, subnormals.
// Reader: someone who changed exp2, scaling or conversions.

import { expect, it } from 'vitest';
import type { Built, Case } from '../conformance/case.js';
import { expectedOf, run } from '../conformance/judge.js';
import { operandOf } from '../conformance/memory.js';
import { expectCases, expectRight, onEveryBackend } from '../conformance/suite.js';
import { dtypes, type FloatType } from '../references/half.js';
import { toNumbers } from '../references/operand.js';

/** One head; every query, key and value row is the given number in all dims. */
function constant(
  type: FloatType,
  rows: { query: number[]; key: number[]; value: number[] },
  dim: number,
  scale: number,
): Built {
  const operand = (list: number[]) =>
    operandOf(
      type,
      [1, 1, list.length, dim],
      list.flatMap((x) => new Array(dim).fill(x)),
    );
  const problem = { query: operand(rows.query), key: operand(rows.key), value: operand(rows.value), scale };
  return { layout: 'bhnd', storage: 'dense', is3d: false, problem };
}

onEveryBackend((backend) => {
  it.each(dtypes)('%s, scores of magnitude 10000 and more', (dtype) => {
    const cases: Case[] = [
      { queries: 60, keys: 150, dims: [64, 16], amplitude: 35, dtype },
      { queries: 60, keys: 150, dims: [64, 16], amplitude: 35, dtype, causal: true },
      { queries: 1, keys: 700, dims: [64, 64], amplitude: 35, dtype, heads: [4, 1] },
      { queries: 30, keys: 150, dims: [128, 16], amplitude: 100, dtype, softcap: 30 },
      { queries: 30, keys: 150, dims: [64, 16], amplitude: 60, dtype, scale: -1 },
    ];
    expectCases(cases, backend);
  });

  it('softcap of scores from tiny to huge', () => {
    expectCases(
      [1e-4, 1e-2, 0.1, 1, 10, 1000].flatMap((amplitude): Case[] => [
        { queries: 20, keys: 60, amplitude, softcap: 30 },
        { queries: 20, keys: 60, amplitude, softcap: 0.01 },
        { queries: 1, keys: 300, amplitude, softcap: 50 },
      ]),
      backend,
    );
  });

  it('equal scores, however large, make the mean', () => {
    for (const score of [0, 1e4, -1e4, 1e30, -1e30]) {
      const keys = Array.from({ length: 128 }, () => score);
      const values = Array.from({ length: 128 }, (_, j) => j);
      for (const queries of [1, 20]) {
        const built = constant('float32', { query: new Array(queries).fill(1), key: keys, value: values }, 4, 0.25);
        for (const x of toNumbers(run(built, backend).out)) expect(x).toBeCloseTo(63.5, 4);
      }
    }
  });

  it('a single key gives its value back, bit for bit', () => {
    for (const dtype of dtypes) {
      for (const [score, value] of [
        [0.3, 1 / 3],
        [300, -7],
        [-300, 65504],
        [0, 2 ** -24],
        [20000, 3e-5],
      ]) {
        for (const queries of [1, 20]) {
          const built = constant(dtype, { query: new Array(queries).fill(1), key: [score], value: [value] }, 3, 1 / 3);
          const stored = toNumbers(built.problem.value)[0];
          expect(new Set(toNumbers(run(built, backend).out))).toEqual(new Set([stored]));
        }
      }
    }
  });

  it('float16: scores past 65504 do not overflow, outputs at 65504 stay finite', () => {
    for (const queries of [1, 20]) {
      const query = new Array(queries).fill(300);
      const key = Array.from({ length: 100 }, (_, j) => (j === 63 ? 301 : -300));
      const values = Array.from({ length: 100 }, (_, j) => (j === 63 ? 2 : 1));
      const large = constant('float16', { query, key, value: values }, 16, 1);
      expect(new Set(toNumbers(run(large, backend).out))).toEqual(new Set([2]));
      expectRight(run(large, backend), expectedOf(large.problem));

      const top = constant(
        'float16',
        { query, key: new Array(100).fill(0.01), value: new Array(100).fill(65504) },
        16,
        1e-4,
      );
      expect(new Set(toNumbers(run(top, backend).out))).toEqual(new Set([65504]));
    }
  });

  it('subnormal inputs and outputs are not flushed to zero', () => {
    for (const [dtype, value] of [
      ['float16', 2 ** -22],
      ['bfloat16', 2 ** -130],
      // Tensor cores take float32 as bfloat16 numbers, whose smallest is 2^-133: see docs/reference/numerics.md.
      ['float32', backend.weights === 'storage' ? 2 ** -133 : 2 ** -140],
    ] as const) {
      for (const queries of [1, 20]) {
        const rows = {
          query: new Array(queries).fill(1),
          key: new Array(50).fill(0),
          value: new Array(50).fill(value),
        };
        expect(new Set(toNumbers(run(constant(dtype, rows, 5, 1), backend).out)), dtype).toEqual(new Set([value]));
      }
    }
    const small = constant(
      'float16',
      { query: [2 ** -20], key: [0, 2 ** -20, 2 ** -18], value: [1, 2, 3] },
      8,
      2 ** 38,
    );
    expectRight(run(small, backend), expectedOf(small.problem));
  });

  it('ALiBi over thousands of tokens lets far keys vanish, not overflow', () => {
    expectCases(
      [
        { queries: 300, keys: 300, causal: true, alibi: 'h', heads: [4, 2] },
        { queries: 1, keys: 5000, alibi: 'bh', heads: [4, 2], dims: [8, 8] },
        { queries: 3, keys: 3, alibi: 'h', align: 100000 },
      ],
      backend,
    );
  });
});
