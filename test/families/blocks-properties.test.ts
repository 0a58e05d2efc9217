// Block lists: which keys a block of queries sees, as CSR, padded lists or FlexAttention's BlockMask say it.
// Reader: someone who brings a block mask, or changed how lists are read.

import { describe, expect, it } from 'vitest';
import { attentionSync, blockSparseAttentionSync, blocks, Tensor } from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf, run } from '../conformance/judge.js';
import { fromOutput, fromTensor } from '../conformance/memory.js';
import { blockCases } from '../conformance/pattern-sweep.js';
import { listsOption } from '../conformance/patterns.js';
import {
  expectCases,
  expectMatrix,
  expectRight,
  expectSameBits,
  onEveryBackend,
  runCase,
  sweep,
} from '../conformance/suite.js';
import type { Blocks } from '../references/blocks.js';
import { range, toNumbers } from '../references/operand.js';
import type { Problem } from '../references/problem.js';
import { operands } from '../support/tensors.js';
import { concatenate, gather, headsOf, part, rowsOf, view } from '../support/views.js';

const forms = ['csr', 'lists', 'blockMask'] as const;
const square: Case = { heads: [4, 2], queries: 75, keys: 90, dims: [24, 20] };

/** The same lists for every head and batch entry. */
const listed = (blockQ: number, blockK: number, rows: number[][]): Blocks => ({
  kind: 'blocks',
  blockQ,
  blockK,
  lists: [[rows]],
});

onEveryBackend((backend) => {
  const withBlocks = (problem: Problem, pattern: Blocks, more: Partial<Problem> = {}): Problem => ({
    ...problem,
    ...more,
    pattern,
  });

  it('all three forms say the same, bit for bit, in any order', () => {
    const { problem } = build(square);
    const pattern = listed(16, 10, [[0, 3], [1, 8], [], [2], [0, 1, 2, 3, 4, 5, 6, 7, 8]]);
    const straight = run(view(withBlocks(problem, pattern)), backend);
    expectRight(straight, expectedOf(withBlocks(problem, pattern)));
    for (const form of forms)
      expectSameBits(run({ ...view(withBlocks(problem, pattern)), form }, backend), straight, form);
    const shuffled = listed(16, 10, [[3, 0], [8, 1], [], [2], [7, 1, 8, 3, 0, 5, 4, 2, 6]]);
    for (const form of forms)
      expectSameBits(run({ ...view(withBlocks(problem, shuffled)), form }, backend), straight, form);
  });

  it('lists of their own for batch entries, heads and KV heads, in blocks of any size', () => {
    expectMatrix(
      [1, 3, 16, 17, 64, 200].flatMap((blockQ) =>
        [1, 7, 16, 40, 200].flatMap((blockK): Case[] => [
          { ...square, blocks: { blockQ, blockK, density: 0.4, form: 'csr', per: 'head' } },
          {
            ...square,
            batch: 2,
            heads: [2, 1],
            blocks: { blockQ, blockK, density: 0.3, perBatch: true, per: 'kv' },
            causal: true,
          },
        ]),
      ),
      backend,
    );
  });

  it('one pattern serves calls of other sizes as a new one would', () => {
    const lists = {
      counts: Int32Array.of(2, 3, 3),
      indices: new Tensor('int32', Int32Array.of(0, 1, -1, 0, 1, 2, 0, 1, 2), [3, 3]),
    };
    const make = () =>
      blocks({ blockQ: 16, blockK: 16, lists, predicate: (b, h, i, j) => (i + 2 * j + h + 3 * b) % 5 > 0 });
    const reused = make();
    const call = (sizes: Partial<Case>, pattern: ReturnType<typeof blocks>) => {
      const built = build({ heads: [2, 2], queries: 40, keys: 40, dims: [8, 8], ...sizes });
      const { query, key, value, options } = callOf(built);
      const { out, lse } = attentionSync(query, key, value, { ...options, pattern, device: backend.device });
      return { out: fromOutput(out, built.layout), lse: fromTensor(lse!) };
    };
    const first = call({}, reused);
    for (const sizes of [
      { keys: 37 },
      { keys: 48 },
      { queries: 33 },
      { batch: 2 },
      { heads: [4, 2] },
      { heads: [4, 4] },
      { heads: [2, 1] },
      { dtype: 'float16' },
    ] as Partial<Case>[]) {
      expectSameBits(call(sizes, reused), call(sizes, make()), JSON.stringify(sizes));
      expectSameBits(call({}, reused), first, `after ${JSON.stringify(sizes)}`);
    }
  });

  it('sequences of many tiles', () => {
    const long: Case = { heads: [2, 1], queries: 1500, keys: 1700, dims: [8, 8] };
    expectCases(
      [
        { ...long, blocks: { blockQ: 128, blockK: 128, density: 0.3, per: 'head' }, causal: true },
        { ...long, blocks: { blockQ: 64, blockK: 16, density: 0.1, predicate: true } },
      ],
      backend,
    );
  });

  it('decode steps: one query, lists over many keys', () => {
    expectCases(
      [1, 8, 64].flatMap((blockK): Case[] => [
        {
          heads: [8, 2],
          queries: 1,
          keys: 900,
          dims: [64, 64],
          blocks: { blockQ: 1, blockK, density: 0.1, per: 'kv' },
        },
        {
          heads: [4, 4],
          queries: 3,
          keys: 700,
          dims: [32, 32],
          blocks: { blockQ: 2, blockK, density: 0.2, per: 'head' },
          causal: true,
        },
      ]),
      backend,
    );
  });

  it('all blocks are full attention, none give output 0 and lse -Infinity', () => {
    const { pattern, ...full } = build({ ...square, blocks: { blockQ: 16, blockK: 16, density: 1 } }).problem;
    for (const form of forms) {
      for (const causal of [undefined, true] as const) {
        const c: Case = { ...square, blocks: { blockQ: 16, blockK: 16, density: 1, form }, ...(causal && { causal }) };
        expectRight(runCase(c, backend), expectedOf({ ...full, causal }), form);
      }
      const { out, lse } = runCase({ ...square, blocks: { blockQ: 16, blockK: 16, density: 0, form } }, backend);
      expect(new Set(toNumbers(out))).toEqual(new Set([0]));
      expect(new Set(toNumbers(lse))).toEqual(new Set([-Infinity]));
    }
  });

  it('`causal` and `align` hide what comes after a position inside listed blocks', () => {
    const { problem } = build(square);
    for (const align of [undefined, 'top-left', 'bottom-right', -10, 200] as const) {
      const pattern = listed(20, 15, [
        [0, 1, 2],
        [1, 3],
        [2, 5],
        [0, 4, 5],
      ]);
      const aligned = withBlocks(problem, pattern, { causal: true, ...(align !== undefined && { align }) });
      expectRight(run(view(aligned), backend), expectedOf(aligned), `${align}`);
    }
  });

  it('what no list names is never read: NaN there changes no bit', () => {
    const { problem } = build(square);
    const pattern = listed(25, 9, [[0, 2], [2, 9], [4]]);
    const clean = run(view(withBlocks(problem, pattern)), backend);
    const spoiled = {
      ...problem,
      key: gather(problem.key, 2, range(0, 90)),
      value: gather(problem.value, 2, range(0, 90)),
    };
    for (const token of range(0, 90)) {
      if ([0, 2, 4, 9].includes(Math.floor(token / 9))) continue;
      for (const operand of [spoiled.key, spoiled.value]) {
        const [, heads, , dim] = operand.dims;
        for (const head of range(0, heads))
          operand.data.fill(NaN, (head * 90 + token) * dim, (head * 90 + token + 1) * dim);
      }
    }
    expectSameBits(run(view(withBlocks(spoiled, pattern)), backend), clean);
  });

  it('a row depends on its own list alone', () => {
    const { problem } = build({ ...square, heads: [1, 1] });
    const rows = [[0, 3], [1, 8], [], [2], [0, 4, 8]];
    const all = run(view(withBlocks(problem, listed(16, 10, rows))), backend);
    for (const [m, keys] of rows.entries()) {
      const queries = range(16 * m, Math.min(75, 16 * (m + 1)));
      const tokens = keys.flatMap((block) => range(10 * block, 10 * block + 10));
      expectRight(rowsOf(all, queries), expectedOf(part(problem, queries, tokens)), `block ${m}`);
    }
  });

  it('rows in pieces of whole blocks give the bits of all rows', () => {
    const { problem } = build({ ...square, heads: [2, 2] });
    const rows = [[0, 3], [1, 8], [5], [2], [0, 4, 8]];
    const all = expectedOf(withBlocks(problem, listed(16, 10, rows)));
    const pieces = [range(0, 32), range(32, 75)].map((queries, n) => {
      const pattern = listed(16, 10, n === 0 ? rows.slice(0, 2) : rows.slice(2));
      return run(view(withBlocks(part(problem, queries, range(0, 90)), pattern)), backend);
    });
    expectRight(concatenate(pieces), all);
  });

  it('a predicate looks into listed blocks: causal, sliding window and documents as FlexAttention writes them', () => {
    const { problem } = build({ ...square, queries: 90 });
    const everything = range(0, 6).map(() => range(0, 6));
    const document = (token: number): number => (token < 33 ? 0 : token < 70 ? 1 : 2);
    const causal = (_: number, __: number, query: number, key: number): boolean => query >= key;
    const sliding = (_: number, __: number, query: number, key: number): boolean => query >= key && query - key <= 13;
    const documents = (_: number, __: number, query: number, key: number): boolean => document(query) === document(key);
    for (const [predicate, meant] of [
      [causal, { causal: true }],
      [sliding, { causal: true, left: 13 }],
      [documents, { cuSeqlensQ: [0, 33, 70, 90], cuSeqlensK: [0, 33, 70, 90] }],
    ] as [Blocks['predicate'], Partial<Problem>][]) {
      const pattern = { ...listed(15, 15, everything), predicate };
      expectRight(run(view(withBlocks(problem, pattern)), backend), expectedOf({ ...problem, ...meant }));
    }
  });

  it('a predicate tells batch entries and heads apart, and full blocks are none of its business', () => {
    expectCases(
      forms.flatMap((form): Case[] => [
        { ...square, batch: 2, blocks: { blockQ: 16, blockK: 16, density: 0.5, form, predicate: true } },
        {
          ...square,
          batch: 2,
          blocks: { blockQ: 9, blockK: 20, density: 0.5, form, predicate: true, perBatch: true, per: 'kv' },
        },
        { ...square, queries: 1, blocks: { blockQ: 1, blockK: 16, density: 0.5, form, predicate: true, per: 'head' } },
      ]),
      backend,
    );
    const { problem } = build(square);
    const pattern: Blocks = { ...listed(25, 30, [[0], [1], [2]]), fullLists: [[[[1], [], [0, 1]]]] };
    const never = withBlocks(problem, { ...pattern, predicate: () => false });
    expectRight(run(view(never), backend), expectedOf(withBlocks(problem, listed(25, 30, [[1], [], [0, 1]]))));
    const always = withBlocks(problem, { ...pattern, predicate: () => true });
    expectRight(run(view(always), backend), expectedOf(withBlocks(problem, listed(25, 30, [[0, 1], [1], [0, 1, 2]]))));
  });

  it('permuting heads permutes outputs, bit for bit', () => {
    const { problem } = build({
      ...square,
      heads: [4, 4],
      blocks: { blockQ: 16, blockK: 8, density: 0.4, per: 'head' },
    });
    const pattern = problem.pattern as Blocks;
    const order = [2, 0, 3, 1];
    const permuted = {
      ...problem,
      query: gather(problem.query, 1, order),
      key: gather(problem.key, 1, order),
      value: gather(problem.value, 1, order),
      pattern: { ...pattern, lists: pattern.lists.map((table) => order.map((head) => table[head])) },
    };
    expectSameBits(run(view(permuted), backend), headsOf(run(view(problem), backend), order));
  });
});

describe('a predicate', () => {
  const { q, k, v } = operands(40, 2, 8);
  const everything = listsOption(
    listed(
      10,
      10,
      range(0, 4).map(() => range(0, 4)),
    ),
    'lists',
  );

  it('is asked once for a pattern, not once a call, and only about listed blocks', () => {
    const asked = new Set<string>();
    let calls = 0;
    const pattern = blocks({
      blockQ: 10,
      blockK: 10,
      ...listsOption(listed(10, 10, [[0], [], [1, 2], [3]]), 'lists'),
      predicate: (_, __, query, key) => {
        calls++;
        asked.add(`${Math.floor(query / 10)} ${Math.floor(key / 10)}`);
        return query >= key;
      },
    });
    const first = attentionSync(q, k, v, { pattern });
    const once = calls;
    expect(attentionSync(q, k, v, { pattern }).out.data).toEqual(first.out.data);
    expect(calls).toBe(once);
    expect([...asked].sort()).toEqual(['0 0', '2 1', '2 2', '3 3']);
  });

  it('that throws, throws through the call', () => {
    const fail = () => {
      throw new Error('no mask today');
    };
    expect(() => blockSparseAttentionSync(q, k, v, { blockQ: 10, blockK: 10, ...everything, predicate: fail })).toThrow(
      'no mask today',
    );
  });
});

sweep('block lists', blockCases, 120);
