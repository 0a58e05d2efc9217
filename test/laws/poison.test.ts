// NaN and infinities in everything a query does not see: its row of the output has the same bits as without them.
// Reader: someone who changed masking, tile edges or the reading of rows. Masked means selected away, never multiplied
// by zero; and what is seen has to show.

import { expect, it } from 'vitest';
import { attentionSync } from '../../dist/index.js';
import type { Backend } from '../conformance/backends.js';
import { type Built, build, type Case, callOf } from '../conformance/case.js';
import { type Output, run } from '../conformance/judge.js';
import { bitsOf, encode, operandOf, store, toTensor } from '../conformance/memory.js';
import { Random } from '../conformance/random.js';
import { expectSameBits, onEveryBackend } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { type Operand, toNumbers } from '../references/operand.js';
import { headsOf, type Problem, seenKeys, shapeOf } from '../references/problem.js';

/** A copy of an operand [batch, heads, tokens, dim] with some of its rows overwritten. */
function overwrite(operand: Operand, isHit: (b: number, h: number, t: number) => boolean, value: number): Operand {
  const data = operand.data.slice();
  const [element] = encode(operand.type, [value]);
  const [batch, heads, tokens, dim] = operand.dims;
  const [bs, hs, ts, ds] = operand.strides;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let t = 0; t < tokens; t++) {
        if (!isHit(b, h, t)) continue;
        for (let d = 0; d < dim; d++) data[operand.offset + b * bs + h * hs + t * ts + d * ds] = element;
      }
    }
  }
  return { ...operand, data };
}

const withProblem = (built: Built, change: Partial<Problem>): Built => ({
  ...built,
  problem: { ...built.problem, ...change },
});

/** Bits of one row of out, and of its lse. */
function rowBits(output: Output): (b: number, h: number, q: number) => { out: string; lse: number } {
  const [, heads, queries, dim] = output.out.dims;
  const out = bitsOf(output.out);
  const lse = bitsOf(output.lse);
  return (b, h, q) => {
    const row = (b * heads + h) * queries + q;
    return { out: out.subarray(row * dim, (row + 1) * dim).join(), lse: lse[row] };
  };
}

/** Poisons rows of keys and values; every query that sees none of them has to keep its bits, the others have to show it. */
function expectContained(built: Built, isHit: (b: number, h: number, t: number) => boolean, backend: Backend): void {
  const { batch, heads, queries, valueDim } = shapeOf(built.problem);
  const clean = rowBits(run(built, backend));
  const touched = new Set<string>();
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const { kvHead } = headsOf(built.problem, h);
      for (let q = 0; q < queries; q++) {
        if (seenKeys(built.problem, b, h, q).some((key) => isHit(b, kvHead, key))) touched.add(`${b},${h},${q}`);
      }
    }
  }
  expect(touched.size, 'some query must see no poison').toBeLessThan(batch * heads * queries);

  for (const where of [['key'], ['value'], ['key', 'value']] as const) {
    for (const value of [NaN, Infinity, -Infinity]) {
      const change: Partial<Problem> = {};
      for (const name of where) change[name] = overwrite(built.problem[name], isHit, value);
      const output = run(withProblem(built, change), backend);
      const dirty = rowBits(output);
      const out = toNumbers(output.out);
      const lse = toNumbers(output.lse);
      const about = `${value} in ${where.join(' and ')}`;
      for (let b = 0; b < batch; b++) {
        for (let h = 0; h < heads; h++) {
          for (let q = 0; q < queries; q++) {
            const name = `${about}, row ${b},${h},${q}`;
            const row = (b * heads + h) * queries + q;
            if (!touched.has(`${b},${h},${q}`)) {
              expect(dirty(b, h, q), `${name} does not see it`).toEqual(clean(b, h, q));
              continue;
            }
            const isValue = where.length === 1 && where[0] === 'value';
            const elements = [...out.subarray(row * valueDim, (row + 1) * valueDim)];
            if (Number.isNaN(value)) expect(elements.every(Number.isNaN), `${name} sees it`).toBe(true);
            if (isValue) {
              expect(elements.some(Number.isFinite), `${name} sees it`).toBe(false);
              expect(dirty(b, h, q).lse, `${name}, lse`).toBe(clean(b, h, q).lse);
            } else if (Number.isNaN(value)) {
              expect(lse[row], `${name} sees it, lse`).toBeNaN();
            }
          }
        }
      }
    }
  }
}

/** About one key row in `every`, by chance. */
function someRows(every: number): (b: number, h: number, t: number) => boolean {
  return (b, h, t) => new Random(b * 7919 + h * 104729 + t + 1).chance(1 / every);
}

const shapes: Partial<Case>[] = [
  { dims: [16, 16], heads: [2, 1] },
  { dims: [64, 64], dtype: 'float16' },
  { dims: [5, 9], dtype: 'bfloat16', layout: 'bhnd', storage: 'gaps' },
];

const hiding: [string, Case, (b: number, h: number, t: number) => boolean][] = [
  [
    '[NaN in unused KV] keys past keyLengths',
    { batch: 3, queries: 20, keys: 90, keyLengths: [90, 0, 37] },
    (b, _, t) => t >= [90, 0, 37][b],
  ],
  [
    '[NaN in unused KV] keys past keyLengths, one query',
    { batch: 3, queries: 1, keys: 300, keyLengths: [3, 150, 299] },
    (b, _, t) => t >= [3, 150, 299][b],
  ],
  [
    '[NaN in unused KV] keys before keyStarts, behind sink tokens and a window, too',
    { batch: 3, queries: 20, keys: 90, keyStarts: [7, 0, 53], causal: true, left: 11, sinkTokens: 3 },
    (b, _, t) => t < [7, 0, 53][b],
  ],
  [
    '[NaN in unused KV] keys before keyStarts, one query',
    { batch: 3, queries: 1, keys: 300, keyStarts: [3, 150, 299] },
    (b, _, t) => t < [3, 150, 299][b],
  ],
  [
    '[NaN in masked-out inputs] columns of a keyMask',
    { batch: 2, queries: 40, keys: 100, keyMask: { structure: 'left' } },
    (b, _h, t) => t < Math.floor((100 * (b + 1)) / (b + 3)),
  ],
  [
    '[NaN in masked-out inputs] keys past the diagonal of a boolean mask',
    { queries: 150, keys: 300, mask: { axes: 'qk', structure: 'causal' } },
    (_b, _h, t) => t >= 200,
  ],
  [
    '[NaN in masked-out inputs] padding of a bias, one query',
    { queries: 1, keys: 700, batch: 2, heads: [4, 4], bias: { axes: 'bk', structure: 'left' } },
    (b, _h, t) => t < Math.floor((700 * (b + 1)) / (b + 3)) && t % 3 === 0,
  ],
  [
    '[NaN in masked-out inputs] columns of a boolean mask',
    { queries: 40, keys: 100, mask: { axes: 'k', prefix: 67 } },
    (_b, _h, t) => t < 67,
  ],
  [
    '[NaN in masked-out inputs] cells of a boolean mask',
    { queries: 40, keys: 100, mask: { axes: 'qk', hidden: 0.9 } },
    someRows(12),
  ],
  [
    '[NaN in masked-out inputs] cells of a boolean mask, one query',
    { queries: 1, keys: 300, mask: { axes: 'bhk', hidden: 0.9 }, batch: 2, heads: [4, 4] },
    someRows(100),
  ],
  [
    '[NaN in masked-out inputs] cells of a bias of -Infinity',
    { queries: 40, keys: 100, bias: { axes: 'bhqk', hidden: 0.9 } },
    someRows(12),
  ],
  [
    '[NaN in masked-out inputs] cells of a bias of -Infinity, one query',
    { queries: 1, keys: 300, bias: { axes: 'hk', hidden: 0.95 }, batch: 2, heads: [4, 4] },
    someRows(100),
  ],
  ['future keys, causal', { queries: 70, keys: 70, causal: true }, (_b, _h, t) => t >= 31 && t % 7 === 3],
  ['future keys, causal, more keys than queries', { queries: 33, keys: 150, causal: true }, (_b, _h, t) => t > 130],
  ['future keys, causal, more queries than keys', { queries: 90, keys: 40, causal: true }, (_b, _h, t) => t >= 5],
  ['keys left and right of a window', { queries: 150, keys: 150, left: 9, right: 4 }, (_b, _h, t) => t % 50 === 20],
  [
    'keys between sinks and window',
    { queries: 150, keys: 150, left: 9, causal: true, sinkTokens: 4 },
    (_b, _h, t) => t % 50 === 20,
  ],
  [
    'keys of a window, one query',
    { queries: 1, keys: 400, left: 30, causal: true, sinkTokens: 4 },
    (_b, _h, t) => t >= 4 && t < 369,
  ],
  [
    'keys that only another head of the group sees',
    { queries: 150, keys: 150, heads: [4, 2], recentTokens: [10, 0, 30, Infinity], sinkTokens: [4, 0] },
    (_b, _h, t) => t % 50 === 20,
  ],
  [
    'keys that only another head of the group sees, one query',
    { queries: 1, keys: 400, heads: [4, 2], recentTokens: [10, 0, 300, 390], sinkTokens: [4, 9] },
    (_b, _h, t) => t >= 12 && t < 200,
  ],
  [
    'other packed sequences',
    { queries: 60, keys: 80, cuSeqlensQ: [0, 20, 20, 37, 60], cuSeqlensK: [0, 11, 30, 55, 80] },
    (_b, _h, t) => t >= 11 && t < 55,
  ],
  [
    'other packed sequences of one query',
    { queries: 3, keys: 80, cuSeqlensQ: [0, 1, 2, 3], cuSeqlensK: [0, 11, 55, 80] },
    (_b, _h, t) => t >= 11 && t < 55,
  ],
  ['other batch entries', { batch: 3, queries: 20, keys: 30 }, (b) => b === 1],
  ['other KV heads', { heads: [6, 3], queries: 20, keys: 30 }, (_b, h) => h === 1],
  ['other KV heads, one query', { heads: [6, 3], queries: 1, keys: 200 }, (_b, h) => h === 1],
];

onEveryBackend((backend) => {
  it.each(hiding)('%s', (_, c, isHit) => {
    for (const shape of shapes) expectContained(build({ ...shape, ...c }), isHit, backend);
  });

  it.each(['query', 'decode'])('a query row of NaN stays its own (%s)', (kind) => {
    const built = build({ batch: 2, heads: [4, 2], queries: kind === 'query' ? 50 : 1, keys: 60, causal: true });
    const isHit = (b: number, h: number, t: number): boolean => (b + h + t) % 3 === 0;
    const clean = rowBits(run(built, backend));
    const output = run(withProblem(built, { query: overwrite(built.problem.query, isHit, NaN) }), backend);
    const dirty = rowBits(output);
    const [batch, heads, queries] = output.out.dims;
    const lse = toNumbers(output.lse);
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        for (let q = 0; q < queries; q++) {
          if (isHit(b, h, q)) expect(lse[(b * heads + h) * queries + q]).toBeNaN();
          else expect(dirty(b, h, q)).toEqual(clean(b, h, q));
        }
      }
    }
  });

  it('NaN in the bias of a cell that mask, window or keyLengths hide', () => {
    const hidden: Case[] = [
      { batch: 2, heads: [2, 2], queries: 40, keys: 90, mask: { axes: 'qk', hidden: 0.5 } },
      { batch: 2, heads: [2, 2], queries: 40, keys: 90, left: 20, causal: true, sinkTokens: 2 },
      { batch: 2, heads: [2, 2], queries: 40, keys: 90, keyLengths: [5, 71] },
      { batch: 2, heads: [4, 2], queries: 1, keys: 290, keyLengths: [5, 271], mask: { axes: 'bhk', hidden: 0.5 } },
    ];
    for (const c of hidden) {
      for (const dtype of dtypes) {
        const { batch = 1, queries, keys } = c;
        const heads = c.heads![0];
        const built = build(c);
        const cells = new Float64Array(batch * heads * queries * keys).fill(NaN);
        const zero = cells.slice().fill(0);
        for (let b = 0; b < batch; b++) {
          for (let h = 0; h < heads; h++) {
            for (let q = 0; q < queries; q++) {
              const row = ((b * heads + h) * queries + q) * keys;
              for (const key of seenKeys(built.problem, b, h, q)) {
                cells[row + key] = zero[row + key] = ((row + key) % 13) / 8;
              }
            }
          }
        }
        const dims = [batch, heads, queries, keys];
        const poisoned = run(withProblem(built, { bias: operandOf(dtype, dims, cells) }), backend);
        const clean = run(withProblem(built, { bias: operandOf(dtype, dims, zero) }), backend);
        expectSameBits(poisoned, clean, JSON.stringify(c));
      }
    }
  });

  it('a visible NaN in the bias shows', () => {
    for (const queries of [1, 30]) {
      const built = build({ queries, keys: 40 });
      const bias = operandOf(
        'float32',
        [40],
        Array.from({ length: 40 }, (_, j) => (j === 17 ? NaN : 0)),
      );
      expect(toNumbers(run(withProblem(built, { bias }), backend).out).every(Number.isNaN)).toBe(true);
    }
  });

  it('elements between the rows of a view', () => {
    for (const storage of ['gaps', 'spread'] as const) {
      for (const c of [
        { queries: 33, keys: 65, batch: 2, heads: [4, 2], dims: [17, 9] },
        { queries: 1, keys: 130, batch: 2, heads: [4, 2], dims: [64, 64], dtype: 'float16' },
      ] as Case[]) {
        const poisoned = build({ ...c, storage });
        const refill = (operand: Operand): Operand => {
          const numbers = toNumbers(operand);
          let n = 0;
          return store(poisoned.problem.query.type as 'float32', operand.dims, 'bnhd', storage, () => numbers[n++], 0);
        };
        const { query, key, value } = poisoned.problem;
        const clean = withProblem(poisoned, { query: refill(query), key: refill(key), value: refill(value) });
        expectSameBits(run(poisoned, backend), run(clean, backend), storage);
      }
    }
  });

  it('what `out` held before, and what lies between its rows', () => {
    for (const dtype of ['float32', 'bfloat16'] as const) {
      for (const queries of [1, 45]) {
        const built = build({
          batch: 2,
          heads: [4, 2],
          queries,
          keys: 50,
          dims: [16, 11],
          dtype,
          causal: true,
          align: -5,
        });
        const fresh = run(built, backend);
        const { query, key, value, options } = callOf(built);
        const out = store(dtype, [2, 4, queries, 11], 'bnhd', 'gaps', () => NaN, 7);
        const { lse } = attentionSync(query, key, value, {
          ...options,
          out: toTensor(out, 'bnhd'),
          device: backend.device,
        });
        expect(bitsOf(out)).toEqual(bitsOf(fresh.out));
        expect(lse?.data).toEqual(fresh.lse.data);
        const [seven] = encode(dtype, [7]);
        const untouched = out.data.filter((x) => x === seven).length;
        expect(untouched).toBe(out.data.length - 2 * 4 * queries * 11);
      }
    }
  });
});
