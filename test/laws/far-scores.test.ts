// Scores, biases, sinks, slopes and lse as large as float32 allows: the heaviest key has the weight, its score is lse, and
// no key vanishes by its size. Reader: someone who changed the units of scores, their scaling or the softmax.

import { expect, it } from 'vitest';
import { mergeAttentionSync, Tensor } from '../../dist/index.js';
import type { Built } from '../conformance/case.js';
import { run } from '../conformance/judge.js';
import { operandOf } from '../conformance/memory.js';
import { onEveryBackend } from '../conformance/suite.js';
import { dtypes, type FloatType } from '../references/half.js';
import { toNumbers } from '../references/operand.js';
import type { Problem } from '../references/problem.js';

const far = 2.4e38; // times log2(e) it is beyond float32
const highest = 3.4028234663852886e38;

interface Row {
  /** Of one dim; the query is 1 where nothing else is said. */
  keys: number[];
  values?: number[];
  query?: number;
  more?: Partial<Problem>;
  grid?: number[];
  out: number;
  lse: number;
}

/** The same query so many times. */
function built(type: FloatType, queries: number, { keys, values, query, more, grid }: Row): Built {
  const column = (numbers: number[]) => operandOf(type, [1, 1, numbers.length, 1], numbers);
  const problem: Problem = {
    query: column(new Array(queries).fill(query ?? 1)),
    key: column(keys),
    value: column(values ?? keys.map((_, i) => 7 + 2 * i)),
    scale: 1,
    ...more,
  };
  return { layout: 'bhnd', storage: 'dense', is3d: false, problem, ...(grid && { grid }) };
}

const vector = (...numbers: number[]) => operandOf('float32', [numbers.length], numbers);
const extra = (x: number) => operandOf('float32', [1, 1, 1, 1], [x]);
/** 3000 keys that are far below one near the end. */
const hidden = Array.from({ length: 3000 }, (_, i) => (i === 2990 ? 1 : -1));

const rows: [name: string, row: Row][] = [
  ['a high score', { keys: [far], out: 7, lse: far }],
  ['a low score', { keys: [-far], out: 7, lse: -far }],
  ['the highest score', { keys: [highest], out: 7, lse: highest }],
  ['the lowest score', { keys: [-highest], out: 7, lse: -highest }],
  ['two high scores', { keys: [far, 3e38], out: 9, lse: 3e38 }],
  ['two low scores', { keys: [-far, -3e38], out: 7, lse: -far }],
  ['equal high scores', { keys: [far, far], out: 8, lse: far }],
  ['a high score after a low one', { keys: [-3e38, far], out: 9, lse: far }],
  ['a score of 0 beside a low one', { keys: [0, -far], out: 7, lse: 0 }],
  ['a large query and a small key', { query: far, keys: [2 ** -127], out: 7, lse: far * 2 ** -127 }],
  ['a large query, a small key, a scale above 1', { query: 2e38, keys: [0.25], more: { scale: 4 }, out: 7, lse: 2e38 }],
  ['a large scale', { keys: [1], more: { scale: far }, out: 7, lse: far }],
  ['a large negative scale', { keys: [1, 2 ** -127], more: { scale: -far }, out: 9, lse: -far * 2 ** -127 }],
  ['one high score among many', { keys: hidden, values: hidden, more: { scale: far }, out: 1, lse: far }],
  ['a high sink', { keys: [0], more: { sinks: vector(far) }, out: 0, lse: far }],
  ['a high sink and as high a score', { keys: [far], more: { sinks: vector(far) }, out: 3.5, lse: far }],
  ['a high sink above a high score', { keys: [far], more: { sinks: vector(3e38) }, out: 0, lse: 3e38 }],
  ['a low sink', { keys: [1], more: { sinks: vector(-far) }, out: 7, lse: 1 }],
  ['a low sink below low scores', { keys: [-far], more: { sinks: vector(-3e38) }, out: 7, lse: -far }],
  ['a low sink and no key', { keys: [0], more: { sinks: vector(-far), keyLengths: [0] }, out: 0, lse: -far }],
  ['a sink of Infinity', { keys: [1], more: { sinks: vector(Infinity) }, out: 0, lse: Infinity }],
  [
    'a sink of Infinity, no key',
    { keys: [1], more: { sinks: vector(Infinity), keyLengths: [0] }, out: 0, lse: Infinity },
  ],
  ['a sink of -Infinity', { keys: [1], more: { sinks: vector(-Infinity) }, out: 7, lse: 1 }],
  [
    'a sink of -Infinity, no key',
    { keys: [1], more: { sinks: vector(-Infinity), keyLengths: [0] }, out: 0, lse: -Infinity },
  ],
  ['a high softcap', { keys: [1], more: { softcap: far }, out: 7, lse: 1 }],
  ['a score at a high softcap', { keys: [3e38], more: { softcap: far }, out: 7, lse: far * Math.tanh(3e38 / far) }],
  ['a small query under a high softcap', { query: 1e-8, keys: [1e8, -far], more: { softcap: far }, out: 7, lse: 1 }],
  ['the lowest softcap', { keys: [0, 0], more: { softcap: 1e-45 }, out: 8, lse: Math.LN2 }],
  ['a high bias', { keys: [0, 0], more: { bias: vector(far, 0) }, out: 7, lse: far }],
  ['high biases', { keys: [0, 0], more: { bias: vector(far, 3e38) }, out: 9, lse: 3e38 }],
  ['low biases', { keys: [0, 0], more: { bias: vector(-far, -3e38) }, out: 7, lse: -far }],
  ['the lowest bias', { keys: [0], more: { bias: vector(-highest) }, out: 7, lse: -highest }],
  ['a high score and its bias', { keys: [far, 0], more: { bias: vector(-far, 100) }, out: 9, lse: 100 }],
  ['an extra key', { keys: [0], more: { extraKey: extra(far), extraValue: extra(5) }, out: 5, lse: far }],
  ['slopes, far off', { keys: [0, 0], more: { alibiSlopes: vector(far), align: 1000 }, out: 8, lse: -highest }],
  ['negative slopes', { keys: [0, 0], more: { alibiSlopes: vector(-far), align: 1000 }, out: 8, lse: highest }],
];

onEveryBackend((backend) => {
  const expectRow = (type: FloatType, name: string, row: Row) => {
    for (const queries of [1, 20]) {
      const { out, lse } = run(built(type, queries, row), backend);
      const about = `${name}, ${type}, ${queries} queries`;
      expect(new Set([...toNumbers(out)].map((x) => Math.fround(x).toPrecision(6))), about).toEqual(
        new Set([row.out.toPrecision(6)]),
      );
      for (const x of toNumbers(lse)) {
        if (!Number.isFinite(row.lse)) expect(x, about).toBe(row.lse);
        else expect(Math.abs(x - row.lse), about).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(row.lse)));
      }
    }
  };

  it.each(rows)('%s', (name, row) => expectRow('float32', name, row));

  it.each(dtypes)('%s: scores by a large scale', (type) => {
    for (const scale of [far, 3e38]) {
      expectRow(type, 'high', { keys: [1, 0.5, -1], more: { scale }, out: 7, lse: scale });
      expectRow(type, 'low', { keys: [-1], more: { scale }, out: 7, lse: -scale });
      expectRow(type, 'negative', { keys: [1, 0.5, -1], more: { scale: -scale }, out: 11, lse: scale });
      expectRow(type, 'with a bias', { keys: [1, 0], more: { scale, bias: vector(0, 1) }, out: 7, lse: scale });
    }
  });

  it('slopes: a query that sees itself sees nothing else', () => {
    const more = { alibiSlopes: vector(far), causal: true };
    for (const queries of [1, 20]) {
      const keys = new Array(20).fill(0);
      const { out, lse } = run(built('float32', queries, { keys, more, out: 0, lse: 0 }), backend);
      expect([...toNumbers(out)]).toEqual(Array.from({ length: queries }, (_, i) => 7 + 2 * (20 - queries + i)));
      expect(new Set(toNumbers(lse))).toEqual(new Set([0]));
    }
  });

  it('relative biases', () => {
    const axes = [{ length: 20, kernelSize: 3, stride: 1, dilation: 1, causal: false }];
    for (const bias of [far, -far, highest, -highest]) {
      const more: Partial<Problem> = {
        pattern: { kind: 'neighborhood', axes },
        relativeBias: operandOf('float32', [1, 5], new Array(5).fill(bias)),
      };
      const keys = new Array(20).fill(0);
      const row: Row = { keys, values: new Array(20).fill(7), more, grid: [20], out: 7, lse: bias };
      const { out, lse } = run(built('float32', 20, row), backend);
      expect(new Set([...toNumbers(out)].map((x) => x.toPrecision(6)))).toEqual(new Set(['7.00000']));
      expect(new Set(toNumbers(lse))).toEqual(new Set([Math.fround(bias)]));
    }
  });

  it('merged lse', () => {
    const merged = (lses: number[], sinks?: number) => {
      const parts = lses.map((lse, i) => ({
        out: new Tensor('float32', Float32Array.of(7 + 2 * i), [1, 1, 1, 1]),
        lse: new Tensor('float32', Float32Array.of(lse), [1, 1, 1]),
      }));
      const { out, lse } = mergeAttentionSync(parts, {
        device: backend.device,
        ...(sinks !== undefined && { sinks: Float32Array.of(sinks) }),
      });
      return [out.data[0], lse.data[0]];
    };
    const expected: [lses: number[], sinks: number | undefined, out: number, lse: number][] = [
      [[far], undefined, 7, far],
      [[-far], undefined, 7, -far],
      [[far, 3e38], undefined, 9, 3e38],
      [[-far, -3e38], undefined, 7, -far],
      [[far, far], undefined, 8, far],
      [[highest, -highest], undefined, 7, highest],
      [[Infinity], undefined, 0, -Infinity],
      [[Infinity, 1], undefined, 9, 1],
      [[1, Infinity], undefined, 7, 1],
      [[-far, Infinity, -Infinity], undefined, 7, -far],
      [[far], far, 3.5, far],
      [[0], 3e38, 0, 3e38],
      [[0], -far, 7, 0],
      [[0], -Infinity, 7, 0],
      [[0], Infinity, 0, Infinity],
      [[Infinity], 2, 0, 2],
    ];
    for (const [lses, sinks, out, lse] of expected) {
      expect(merged(lses, sinks), `lse ${lses}, sinks ${sinks}`).toEqual([out, Math.fround(lse)]);
    }
    expect(merged([Number.NaN, 1])).toEqual([Number.NaN, Number.NaN]);
  });
});
