// Sparse query attention (arXiv 2510.01817): fewer query heads than the model has. What its variants are, what they cost,
// and that any head counts go with any pattern. Reader: someone who configures or runs an SQA layer.
// Which head meets which is in sqa-golden.test.ts.

import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  type ErrorCode,
  type SqaVariant,
  slidingWindow,
  sparseQueryAttention,
  sparseQueryAttentionSync,
  sqaCost,
  sqaVariant,
} from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf, type Output, run } from '../conformance/judge.js';
import { fromOutput, fromTensor } from '../conformance/memory.js';
import { expectMatrix, expectRight, expectSameBits, onEveryBackend, runCase } from '../conformance/suite.js';
import { range, toNumbers } from '../references/operand.js';
import type { Problem } from '../references/problem.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { expectClose, type Rows, readGolden } from '../support/golden.js';
import { tensor } from '../support/tensors.js';
import { gather, headsOf, view } from '../support/views.js';

const golden = readGolden<{
  costTable: Record<
    SqaVariant,
    { Hq: number; Hkv: number; params: number; attnFlops: number; projFlops: number; kvCacheElemsPerToken: number }
  >;
}>('sqa');

/** Query heads and KV heads of the family at 16 heads, and odd ones. */
const counts: [number, number][] = [
  [16, 16],
  [16, 4],
  [16, 1],
  [8, 4],
  [8, 8],
  [4, 4],
  [4, 1],
  [12, 4],
  [3, 1],
  [6, 3],
  [1, 1],
  [4, 8],
  [1, 3],
];
const heads = (problem: Problem, queryHeads: readonly number[], kvHeads: readonly number[]): Problem => ({
  ...problem,
  query: gather(problem.query, 1, queryHeads),
  key: gather(problem.key, 1, kvHeads),
  value: gather(problem.value, 1, kvHeads),
});

onEveryBackend((backend) => {
  it('every pair of head counts, small dims, prefill and decode', () => {
    expectMatrix(
      counts.flatMap((pair): Case[] => [
        { heads: pair, queries: 40, keys: 40, dims: [16, 16], causal: true },
        { heads: pair, queries: 33, keys: 57, dims: [8, 24], dtype: 'float16' },
        { heads: pair, queries: 1, keys: 300, dims: [16, 16], dtype: 'bfloat16', causal: true },
      ]),
      backend,
    );
  });

  it('[P1] is attention(): the same call gives the same bits', () => {
    for (const pair of counts) {
      const built = build({ heads: pair, queries: 30, keys: 30, dims: [16, 16], causal: true });
      const { query, key, value, options } = callOf(built);
      const { out, lse } = sparseQueryAttentionSync(query, key, value, {
        ...options,
        numHeads: 48,
        returnLse: true,
        device: backend.device,
      });
      expectSameBits({ out: fromOutput(out, built.layout), lse: fromTensor(lse) }, run(built, backend), `${pair}`);
    }
  });

  it('[P3, P4] half the heads are attention with half the heads, bit for bit', () => {
    const { problem } = build({ heads: [8, 8], queries: 40, keys: 40, dims: [16, 16] });
    const all = run(view(problem), backend);
    const half = run(view(heads(problem, range(0, 4), range(0, 4))), backend);
    expectSameBits(half, headsOf(all, range(0, 4)));
  });

  it('[P5] a query head given several times comes out several times', () => {
    const { problem } = build({ heads: [4, 2], queries: 40, keys: 40, dims: [16, 16] });
    const repeated = range(0, 4).flatMap((head) => [head, head, head]);
    const many = run(view(heads(problem, repeated, [0, 1])), backend);
    expectSameBits(many, headsOf(run(view(problem), backend), repeated));
  });

  it('[P6] query heads change places inside a group, and groups with their KV head', () => {
    const { problem } = build({ heads: [6, 2], queries: 40, keys: 40, dims: [16, 16] });
    const straight = run(view(problem), backend);
    for (const [order, kv] of [
      [
        [2, 0, 1, 3, 5, 4],
        [0, 1],
      ],
      [
        [3, 4, 5, 0, 1, 2],
        [1, 0],
      ],
    ]) {
      expectSameBits(run(view(heads(problem, order, kv)), backend), headsOf(straight, order), `${order}`);
    }
  });

  it('[P7] a query head concerns its own output head alone', () => {
    const { problem } = build({ heads: [6, 2], queries: 20, keys: 20, dims: [16, 16] });
    const straight = run(view(problem), backend);
    const others = [0, 1, 2, 3, 5];
    const changed = run(view(heads(problem, [0, 1, 2, 3, 0, 5], [0, 1])), backend);
    expectSameBits(headsOf(changed, others), headsOf(straight, others));
    expect(toNumbers(headsOf(changed, [4]).out)).not.toEqual(toNumbers(headsOf(straight, [4]).out));
  });

  it('[P8] reversed: with as many query heads as KV heads both pairings are plain attention', () => {
    const { problem } = build({ heads: [2, 6], queries: 20, keys: 20, dims: [16, 16] });
    for (const pairing of ['tile', 'interleave'] as const) {
      const met = range(0, 6).map((j) => (pairing === 'tile' ? j % 2 : Math.floor(j / 3)));
      const reversed = run(view({ ...problem, pairing }), backend);
      expectRight(reversed, expectedOf(heads(problem, met, range(0, 6))), pairing);
      expectSameBits(reversed, run(view(heads(problem, met, range(0, 6))), backend), pairing);
    }
  });

  it('[P9, P10] a layer is the sum of its heads, and heads with zero weights might as well not be there', () => {
    const [tokens, dim, model] = [12, 8, 32];
    const { problem } = build({ heads: [4, 4], queries: tokens, keys: tokens, dims: [dim, dim], causal: true });
    const weights: Rows = range(0, 4 * dim).map((row) => range(0, model).map((column) => Math.sin(row * 7 + column)));
    const layer = ({ out }: Output, count: number, rows: Rows): number[] =>
      range(0, tokens).flatMap((token) =>
        range(0, model).map((column) => {
          const numbers = toNumbers(out);
          const term = (head: number, d: number): number =>
            numbers[(head * tokens + token) * dim + d] * rows[head * dim + d][column];
          return range(0, count).reduce((sum, h) => sum + range(0, dim).reduce((part, d) => part + term(h, d), 0), 0);
        }),
      );
    const whole = run(view(problem), backend);
    const each = range(0, 4).map((h) => layer(headsOf(whole, [h]), 1, weights.slice(h * dim)));
    expectClose(
      layer(whole, 4, weights),
      each[0].map((_, i) => each.reduce((sum, part) => sum + part[i], 0)),
      9,
    );
    const zeroed = weights.map((row, n) => (n < 2 * dim ? row : row.map(() => 0)));
    const small = run(view(heads(problem, [0, 1], [0, 1])), backend);
    expectClose(layer(whole, 4, zeroed), layer(small, 2, weights), 9);
  });

  it('[P12] a window over everything changes no bit', () => {
    const c: Case = { heads: [4, 1], queries: 50, keys: 50, dims: [16, 16], causal: true };
    expectSameBits(runCase({ ...c, left: 50 }, backend), runCase(c, backend));
  });

  it('[P13] any head counts go with any pattern', () => {
    const square = { queries: 48, keys: 48, dims: [16, 16] as [number, number] };
    const patterns: Partial<Case>[] = [
      { left: 7, causal: true, sinkTokens: 2 },
      { grid: [6, 8], neighborhood: { kernelSize: [3, 4] } },
      { shards: { blockSize: 4, localBlocks: 2, vertStride: 3 } },
      { shards: { blockSize: 4, localBlocks: 2, vertStride: 3, layoutPer: 'q' } },
      { blocks: { blockQ: 8, blockK: 8, density: 0.4, per: 'head' }, causal: true },
    ];
    expectMatrix(
      counts.flatMap((pair) => patterns.map((pattern): Case => ({ ...square, heads: pair, ...pattern }))),
      backend,
    );
    const { problem } = build({ ...square, heads: [4, 1] });
    const { query, key, value } = callOf(view(problem));
    const pattern = slidingWindow({ left: 7, causal: true });
    const common = { layout: 'bhnd', pattern, device: backend.device } as const;
    const named = sparseQueryAttentionSync(query, key, value, { ...common, numHeads: 16 });
    expect(named.out.data).toEqual(attentionSync(query, key, value, common).out.data);
  });
});

describe('variants and costs', () => {
  const names = Object.keys(golden.costTable) as SqaVariant[];

  it.each(names)('%s of 16 heads', (name) => {
    const { Hq, Hkv, params, attnFlops, projFlops, kvCacheElemsPerToken } = golden.costTable[name];
    const isFixed = ['MHA', 'MQA', 'sSQA', 'xSMQA'].includes(name);
    const variant = isFixed ? sqaVariant(name, 16) : sqaVariant(name, 16, Hkv);
    expect(variant).toEqual({ numHeads: 16, numQueryHeads: Hq, numKvHeads: Hkv });
    const cost = sqaCost({ dModel: 256, ...variant }, 131072, true);
    const layers = 8;
    expect(cost.params * layers).toBe(params);
    expect(cost.attnFlops * layers).toBe(attnFlops);
    expect(cost.projFlops * layers).toBe(projFlops);
    expect(cost.kvElemsPerToken * layers).toBe(kvCacheElemsPerToken);
  });

  it('the variants of 32 heads', () => {
    const pair = (name: SqaVariant, kv?: number) => {
      const { numQueryHeads, numKvHeads } = sqaVariant(name, 32, kv);
      return [numQueryHeads, numKvHeads];
    };
    expect(pair('SQA')).toEqual([16, 8]);
    expect(pair('SQA', 4)).toEqual([16, 4]);
    expect(pair('sSQA')).toEqual([16, 16]);
    expect(pair('xSQA')).toEqual([8, 8]);
    expect(pair('xSMQA')).toEqual([8, 1]);
    expect(pair('lSQA')).toEqual([24, 8]);
    expect(pair('rSQA')).toEqual([8, 16]);
  });

  it('[P11] costs count what happens: pairs of the triangle up to its diagonal, exps, heads of the output', () => {
    const config = { dModel: 8, numHeads: 4, numQueryHeads: 2, numKvHeads: 1 };
    expect(sqaCost(config, 5, true)).toMatchObject({ attnFlops: 200, params: 96, kvElemsPerToken: 4 });
    expect(sqaCost(config, 5, false)).toMatchObject({ attnFlops: 400, exps: 50, projFlops: 960 });
    expect(sqaCost({ ...config, numQueryHeads: 1, numKvHeads: 2 }, 10, false)).toMatchObject({
      attnFlops: 4 * 100 * 2 * 2,
      params: 8 * 2 * (1 + 4 + 2),
    });
    expect(sqaCost({ ...config, headDim: 16 }, 1, false).kvElemsPerToken).toBe(32);
  });

  const refused: [() => unknown, ErrorCode, typeof TypeError | typeof RangeError, string[]][] = [
    [() => sqaVariant('ySQA' as SqaVariant, 16), 'ERR_TILEWISE_INVALID_OPTION', TypeError, ["'ySQA'", "'xSQA'"]],
    [() => sqaVariant('SQA', 0), 'ERR_TILEWISE_INVALID_OPTION', RangeError, ['`numHeads`', '0']],
    [() => sqaVariant('xSQA', 6), 'ERR_TILEWISE_INVALID_OPTION', RangeError, ['xSQA', '6', '1.5']],
    [() => sqaVariant('sSQA', 16, 4), 'ERR_TILEWISE_INVALID_OPTION', TypeError, ['sSQA', '`kv`']],
    [() => sqaVariant('SQA', 16, 16), 'ERR_TILEWISE_INVALID_OPTION', RangeError, ['16']],
    [() => sqaVariant('SQA', 16, 3), 'ERR_TILEWISE_INVALID_OPTION', RangeError, ['3']],
    [
      () => sqaCost({ dModel: 10, numHeads: 4, numQueryHeads: 2, numKvHeads: 1 }, 5, true),
      'ERR_TILEWISE_INVALID_OPTION',
      RangeError,
      ['`headDim`', '2.5'],
    ],
    [
      () => sqaCost({ dModel: 8, numHeads: 4, numQueryHeads: 3, numKvHeads: 2 }, 5, true),
      'ERR_TILEWISE_INVALID_OPTION',
      RangeError,
      ['3', '2'],
    ],
    [
      () => sqaCost({ dModel: 8, numHeads: 4, numQueryHeads: 2, numKvHeads: 1 }, -1, true),
      'ERR_TILEWISE_INVALID_OPTION',
      RangeError,
      ['`n`', '-1'],
    ],
    [
      () => sqaCost({ dModel: 8, numHeads: 4, numQueryHeads: 2, numKvHeads: 1, heads: 4 } as never, 5, true),
      'ERR_TILEWISE_UNKNOWN_OPTION',
      TypeError,
      ['`heads`'],
    ],
  ];
  it.each(refused)('%s is refused', (call, code, type, says) => expectError(thrownBy(call), { code, type, says }));
});

describe('arguments', () => {
  it.each([
    [[6, 4], {}, 'ERR_TILEWISE_SHAPE_MISMATCH', ['6', '4']],
    [[4, 6], {}, 'ERR_TILEWISE_SHAPE_MISMATCH', ['4', '6']],
    [[8, 4], { numHeads: 6 }, 'ERR_TILEWISE_SHAPE_MISMATCH', ['8', '6']],
    [[2, 2], { numHeads: 0 }, 'ERR_TILEWISE_INVALID_OPTION', ['`numHeads`', '0']],
  ] as [number[], object, ErrorCode, string[]][])(
    'heads %o with %o are refused',
    ([queryHeads, kvHeads], options, code, says) => {
      const [q, kv] = [tensor(1, 4, queryHeads, 8), tensor(1, 4, kvHeads, 8)];
      return expectBoth(
        () => sparseQueryAttentionSync(q, kv, kv, options),
        () => sparseQueryAttention(q, kv, kv, options),
        { code, type: RangeError, says },
      );
    },
  );

  it('an unknown option is refused by the name of the op', () => {
    const q = tensor(1, 4, 2, 8);
    const error = thrownBy(() => sparseQueryAttentionSync(q, q, q, { numQueryGroups: 2 } as never));
    expectError(error, {
      code: 'ERR_TILEWISE_UNKNOWN_OPTION',
      type: TypeError,
      says: ['sparseQueryAttention', '`numQueryGroups`'],
    });
  });
});
