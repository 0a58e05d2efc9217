// Laws of S2 attention (arXiv 2407.17678): what it is at its extremes, that queries may come in any pieces, that heads may
// be spread over machines, and that a cache may forget. Reader: someone who changed shards, or decodes with them.

import { expect, it } from 'vitest';
import {
  blockSparseAttentionSync,
  mergeAttentionSync,
  s2Attention,
  s2AttentionSync,
  s2Layout,
} from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf, run } from '../conformance/judge.js';
import { bitsOf, fromOutput, fromTensor } from '../conformance/memory.js';
import { shardCases } from '../conformance/pattern-sweep.js';
import { expectCases, expectRight, expectSameBits, onEveryBackend, runCase, sweep } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import type { Operand } from '../references/operand.js';
import { range } from '../references/operand.js';
import { type Problem, seenKeys } from '../references/problem.js';
import type { StridedShards } from '../references/strided-shards.js';
import { concatenate, gather, headsOf, part, rowsOf, view } from '../support/views.js';

const shards = { blockSize: 8, localBlocks: 2, vertStride: 3 };

const square = (tokens: number, c: Partial<Case> = {}): Case => ({
  heads: [4, 2],
  queries: tokens,
  keys: tokens,
  dims: [24, 20],
  shards,
  ...c,
});

/** The problem with another pattern. */
const withShards = (problem: Problem, more: Partial<StridedShards>): Problem => ({
  ...problem,
  pattern: { ...(problem.pattern as StridedShards), ...more },
});

onEveryBackend((backend) => {
  it('[P1] vertStride 1, or a window over all blocks, is causal attention', () => {
    for (const dtype of dtypes) {
      for (const special of [
        { ...shards, vertStride: 1 },
        { ...shards, localBlocks: 13 },
        { ...shards, numDenseHeads: 2 },
      ]) {
        const c = square(100, { dtype, shards: special });
        const { pattern, ...rest } = build(c).problem;
        expectRight(runCase(c, backend), expectedOf({ ...rest, causal: true }), JSON.stringify(c));
      }
    }
  });

  it('[P2] up to localBlocks * blockSize tokens it is causal attention', () => {
    for (const tokens of [1, 2, 15, 16]) {
      const c = square(tokens);
      const { pattern, ...rest } = build(c).problem;
      expectRight(runCase(c, backend), expectedOf({ ...rest, causal: true }), `${tokens} tokens`);
    }
  });

  it('[P6] a prefill in chunks, aligned or not, and token by token, = the whole prefill', () => {
    const { problem } = build(square(70));
    const expected = expectedOf(problem);
    expectRight(run(view(problem), backend), expected);
    for (const size of [1, 7, 8, 33]) {
      const chunks = range(0, Math.ceil(70 / size)).map((n) => {
        const end = Math.min(70, (n + 1) * size);
        return run(view(part(problem, range(n * size, end), range(0, end))), backend);
      });
      expectRight(concatenate(chunks), expected, `chunks of ${size}`);
    }
  });

  it('[P7] keys in parts and mergeAttention = the whole; a part without a visited block has lse -Infinity', () => {
    const { problem } = build(square(80, { shards: { ...shards, localBlocks: 1 } }));
    const cuts = [0, 8, 32, 72, 80];
    const parts = cuts.slice(1).map((end, n) => {
      const begin = cuts[n];
      const keys = part(problem, range(0, 80), range(begin, end));
      // The part's blocks are counted from its own first key, so layouts move by as many blocks.
      const moved = withShards({ ...keys, align: -begin }, { headOffset: begin / 8 });
      const { query, key, value, options } = callOf(view(moved));
      const { out, lse } = s2AttentionSync(query, key, value, {
        ...shards,
        localBlocks: 1,
        headOffset: begin / 8,
        align: { offset: -begin },
        layout: options.layout,
        returnLse: true,
        device: backend.device,
      });
      expectRight({ out: fromOutput(out, 'bhnd'), lse: fromTensor(lse) }, expectedOf(moved), `keys from ${begin}`);
      return { out, lse };
    });
    const first = fromTensor(parts[3].lse);
    expect(new Set(range(0, 72).map((row) => first.data[row]))).toEqual(new Set([-Infinity]));
    const { out, lse } = mergeAttentionSync(parts, { layout: 'bhnd' });
    expectRight({ out: fromOutput(out, 'bhnd'), lse: fromTensor(lse!) }, expectedOf(problem));
  });

  it('[P8] heads of one KV head see what they see with KV heads of their own', () => {
    const { problem } = build(square(90, { heads: [6, 2] }));
    const whole = run(view(problem), backend);
    for (const group of [0, 1]) {
      const heads = range(3 * group, 3 * group + 3);
      const alone = {
        ...problem,
        query: gather(problem.query, 1, heads),
        key: gather(problem.key, 1, [group, group, group]),
        value: gather(problem.value, 1, [group, group, group]),
      };
      // One layout for the group: its number times the step of two layouts, floor(3 / 2).
      const homo = withShards(alone, { homoHead: true, headOffset: group });
      expectRight(headsOf(whole, heads), expectedOf(homo));
      expectRight(run(view(homo), backend), expectedOf(homo));
    }
  });

  it('heads spread over machines give what they give together: headBase and the totals', () => {
    for (const layoutPer of ['q', 'kv'] as const) {
      for (const preset of [undefined, 'phi3', 'dkernel'] as const) {
        const own = { ...shards, vertStride: 5, ...(preset ? { preset } : { layoutPer }) };
        const { problem } = build(square(90, { heads: [8, 4], shards: own }));
        const whole = run(view(problem), backend);
        const perQuery = preset === 'phi3' || (!preset && layoutPer === 'q');
        for (const rank of [0, 1]) {
          const heads = range(4 * rank, 4 * rank + 4);
          const kvHeads = range(2 * rank, 2 * rank + 2);
          const local = {
            ...problem,
            query: gather(problem.query, 1, heads),
            key: gather(problem.key, 1, kvHeads),
            value: gather(problem.value, 1, kvHeads),
          };
          const headBase = (perQuery ? 4 : 2) * rank;
          const there = withShards(local, { headBase, numHeads: 8, numKvHeads: 4 });
          expectSameBits(run(view(there), backend), headsOf(whole, heads), `${preset} ${layoutPer} ${rank}`);
        }
      }
    }
  });

  it('[P10] a key that is not visited reaches nothing: NaN there changes no bit; a visited one does', () => {
    const { problem } = build(square(75, { shards: { ...shards, blockSize: 5 } }));
    const clean = run(view(problem), backend);
    for (const token of [3, 24, 40, 74]) {
      const spoil = (operand: Operand): Operand => {
        const copy = gather(operand, 2, range(0, 75));
        for (const head of [0, 1]) {
          const at = (head * 75 + token) * operand.dims[3];
          copy.data.fill(NaN, at, at + operand.dims[3]);
        }
        return copy;
      };
      const spoiled = { ...problem, key: spoil(problem.key), value: spoil(problem.value) };
      const dirty = run(view(spoiled), backend);
      for (const head of range(0, 4)) {
        const [seers, blind] = [true, false].map((want) =>
          range(0, 75).filter((row) => seenKeys(problem, 0, head, row).includes(token) === want),
        );
        const pick = (output: typeof clean, rows: number[]) => rowsOf(headsOf(output, [head]), rows);
        expectSameBits(pick(dirty, blind), pick(clean, blind), `token ${token}, head ${head}`);
        expect([...bitsOf(pick(dirty, seers).lse)].every((bits) => (bits & 0x7f800000) === 0x7f800000)).toBe(true);
      }
    }
  });

  it('[P12] = block lists written out from the layout', () => {
    for (const [tokens, options] of [
      [90, shards],
      [90, { ...shards, blockSize: 16, headOffset: 2 }],
      [61, { ...shards, blockSize: 3, localBlocks: 1, vertStride: 4, layoutPer: 'q' as const }],
    ] as const) {
      const { problem, layout } = build(square(tokens, { shards: { ...options } }));
      const heads = { numHeads: 4, numKvHeads: 2 };
      const csr = s2Layout({ ...options, ...heads, requireFullCoverage: false }).csr(
        Math.ceil(tokens / options.blockSize),
      );
      const { query, key, value } = callOf({ problem, layout, storage: 'dense', is3d: false });
      const { blockSize } = options;
      const common = { layout, returnLse: true, device: backend.device } as const;
      const listed = blockSparseAttentionSync(query, key, value, {
        blockQ: blockSize,
        blockK: blockSize,
        csr: { rowOffsets: csr.rowOffsets, columns: csr.columns },
        causal: true,
        ...common,
      });
      const expected = expectedOf(problem);
      expectRight({ out: fromOutput(listed.out, layout), lse: fromTensor(listed.lse) }, expected, 'lists');
      const closed = s2AttentionSync(query, key, value, { ...options, ...common });
      expectRight({ out: fromOutput(closed.out, layout), lse: fromTensor(closed.lse) }, expected, 'closed form');
    }
  });

  it('blocks of any size, windows of any width, queries at any place', () => {
    expectCases(
      [1, 2, 5, 20, 64].flatMap((blockSize): Case[] => [
        square(90, { shards: { blockSize, localBlocks: 1, vertStride: 2 } }),
        square(90, { shards: { blockSize, localBlocks: 3, vertStride: 4, layoutPer: 'q' }, queries: 13 }),
        square(90, { shards: { blockSize, localBlocks: 2, vertStride: 7 }, queries: 1, heads: [8, 1] }),
        square(90, { shards: { blockSize, localBlocks: 2, vertStride: 3 }, align: 'top-left', queries: 40 }),
        square(90, { shards: { blockSize, localBlocks: 2, vertStride: 3 }, align: -20, queries: 40 }),
        square(90, { shards: { blockSize, localBlocks: 2, vertStride: 3 }, align: 300, queries: 40 }),
        square(90, { shards: { blockSize, localBlocks: [1, 2], vertStride: 3, positions: 'relative' } }),
        ...[-5, -41, 7].map((align) =>
          square(90, { shards: { blockSize, localBlocks: [2, 1], vertStride: 3, positions: 'relative' }, align }),
        ),
        square(90, {
          shards: { blockSize, localBlocks: 2, vertStride: 3 },
          cuSeqlensQ: [0, 40, 90],
          cuSeqlensK: [0, 60, 90],
        }),
      ]),
      backend,
    );
  });

  it('sequences of many tiles', () => {
    const small = { heads: [2, 1] as [number, number], dims: [8, 8] as [number, number] };
    expectCases(
      [
        square(1700, { ...small, shards: { blockSize: 64, localBlocks: 3, vertStride: 5 } }),
        square(1500, {
          ...small,
          shards: { blockSize: 16, localBlocks: 4, vertStride: 8, preset: 'phi3' },
          queries: 700,
        }),
      ],
      backend,
    );
  });
});

it('s2Attention() is attention() with stridedShards()', async () => {
  const { problem } = build(square(50));
  const { query, key, value, options } = callOf({ problem, layout: 'bnhd', storage: 'dense', is3d: false });
  const { out } = await s2Attention(query, key, value, shards);
  expect(options.pattern!.kind).toBe('stridedShards');
  expect(out.data).toEqual(s2AttentionSync(query, key, value, shards).out.data);
});

sweep('shards', shardCases, 120);
