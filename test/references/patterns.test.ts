// The references of the patterns against key sets, layouts and selections worked out elsewhere (test/golden/).
// Reader: someone who doubts a reference, or wants the meaning of a pattern in small examples.

import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { operandOf } from '../conformance/memory.js';
import { expectClose, headsFirst, operandOfHeads, rowsFirst } from '../support/golden.js';
import { axesOf, hip, neighborhood, s2, selectionOf, shardsOf } from '../support/pattern-goldens.js';
import { attention } from './attention.js';
import { type Blocks, blocksRule } from './blocks.js';
import { chunkOf, hierarchicalRule, select } from './hierarchical.js';
import { keysOfAxis, neighborhoodRule, relativeIndex } from './neighborhood.js';
import { range } from './operand.js';
import { seenKeys } from './problem.js';
import { layoutOf, type StridedShards, shardsRule, visits } from './strided-shards.js';

describe('neighborhoods', () => {
  it.each(neighborhood.cases)('$id: $note', (golden) => {
    const axes = axesOf(golden);
    expect(axes.map(keysOfAxis)).toEqual(golden.per_axis_keys);
    const rule = neighborhoodRule({ kind: 'neighborhood', axes });
    const tokens = range(0, golden.keys.length);
    expect(tokens.map((query) => tokens.filter((key) => rule(query, key)))).toEqual(golden.keys);
  });

  it('the relative index counts steps of the dilation from the middle of the bias', () => {
    const axes = axesOf({
      shape: [9, 8],
      kernel_size: [3, 2],
      stride: [1, 1],
      dilation: [2, 3],
      is_causal: [false, false],
    });
    const pattern = { kind: 'neighborhood' as const, axes };
    expect(relativeIndex(pattern, 4 * 8 + 5, 4 * 8 + 5)).toEqual([2, 1]);
    expect(relativeIndex(pattern, 4 * 8 + 5, 0 * 8 + 2)).toEqual([0, 0]);
    expect(relativeIndex(pattern, 0, 4 * 8 + 3)).toEqual([4, 2]);
  });

  it('a relative bias of ln(w) multiplies the weight of its place by w', () => {
    const axes = axesOf({ shape: [5], kernel_size: [3], stride: [1], dilation: [1], is_causal: [false] });
    const zeros = operandOf('float32', [1, 1, 5, 1], new Array(5).fill(0));
    const { out } = attention({
      query: zeros,
      key: zeros,
      value: operandOf('float32', [1, 1, 5, 1], [1, 10, 100, 1000, 10000]),
      pattern: { kind: 'neighborhood', axes },
      relativeBias: operandOf('float32', [1, 5], [Math.log(5), Math.log(4), Math.log(3), Math.log(2), 0]),
    });
    expectClose(
      out,
      [
        (3 + 20 + 100) / 6,
        (4 + 30 + 200) / 9,
        (40 + 300 + 2000) / 9,
        (400 + 3000 + 20000) / 9,
        (500 + 4000 + 30000) / 12,
      ],
      2,
    );
  });
});

describe('strided shards', () => {
  const bitmap = (
    pattern: StridedShards,
    layouts: number,
    layout: number,
    rows: number[],
    columns: number,
  ): string[] => {
    const own = layoutOf(pattern, layout, layouts, layouts);
    return rows.map((q) =>
      range(0, columns)
        .map((k) => (visits(own, q, k) ? '1' : '0'))
        .join(''),
    );
  };

  it.each(s2.cases)('$name: $note', (golden) => {
    const bitmaps = range(0, golden.numLayouts).map((layout) =>
      bitmap(shardsOf(golden), golden.numLayouts, layout, range(0, golden.numBlocks), golden.numBlocks),
    );
    if (golden.bitmaps) expect(bitmaps).toEqual(golden.bitmaps);
    expect(createHash('sha256').update(bitmaps.flat().join('')).digest('hex')).toBe(golden.sha256);
    expect(bitmaps.map((rows) => [...rows.join('')].filter((bit) => bit === '1').length)).toEqual(golden.nnzPerLayout);
  });

  it('relative positions, both ways', () => {
    const { numBlocks, localLeft, localRight, vertStride, bitmap: want } = s2.bidirectionalRelative;
    const pattern: StridedShards = {
      kind: 'stridedShards',
      blockSize: 1,
      localBlocks: [localLeft, localRight],
      vertStride,
      positions: 'relative',
    };
    expect(bitmap(pattern, 1, 0, range(0, numBlocks), numBlocks)).toEqual(want);
  });

  it('a chunk of a prefill has the rows of the whole', () => {
    const { base, qStartBlock, bitmaps } = s2.chunkedPrefill;
    const golden = s2.cases.find(({ name }) => name === base)!;
    const rows = range(0, golden.numBlocks).slice(qStartBlock);
    expect(bitmaps).toEqual(
      range(0, golden.numLayouts).map((l) => bitmap(shardsOf(golden), golden.numLayouts, l, rows, golden.numBlocks)),
    );
  });

  it.each(['q', 'kv'] as const)('attention with a layout per %s head', (layoutPer) => {
    const { numeric } = s2;
    const { out, lse } = attention({
      query: operandOfHeads(numeric.q),
      key: operandOfHeads(numeric.k),
      value: operandOfHeads(numeric.v),
      scale: numeric.scale,
      pattern: { ...shardsOf(numeric), blockSize: numeric.blockSize, layoutPer, headStep: undefined },
    });
    expectClose(out, headsFirst(layoutPer === 'q' ? numeric.out_per_q : numeric.out_per_kv), 9);
    expectClose(lse, rowsFirst(layoutPer === 'q' ? numeric.lse_per_q : numeric.lse_per_kv), 9);
  });

  it('inside the diagonal block the triangle hides what comes after', () => {
    const rule = shardsRule({ kind: 'stridedShards', blockSize: 4, localBlocks: 1, vertStride: 2 }, 0, 1, 1);
    expect(range(0, 16).filter((key) => rule(14, key))).toEqual([0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14]);
  });

  it('presets: phi3 numbers query heads from offset 1, dkernel KV heads from 0 with a step by query heads', () => {
    const plain = { kind: 'stridedShards', blockSize: 64, localBlocks: 16, vertStride: 8 } as const;
    const shifts = (pattern: StridedShards): number[] => range(0, 8).map((head) => layoutOf(pattern, head, 8, 2).shift);
    expect(shifts({ ...plain, preset: 'phi3' })).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(shifts({ ...plain, preset: 'dkernel' })).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
    expect(shifts(plain)).toEqual([0, 0, 0, 0, 4, 4, 4, 4]);
    expect(shifts({ ...plain, homoHead: true, headOffset: 3 })).toEqual(new Array(8).fill(3));
    expect(shifts({ ...plain, numKvHeads: 4, headBase: 2 })).toEqual([4, 4, 4, 4, 6, 6, 6, 6]);
  });
});

describe('block lists', () => {
  const lists = [[[[0, 2], [1]]], [[[], [0, 1, 2]]]];
  const pattern: Blocks = { kind: 'blocks', blockQ: 2, blockK: 3, lists };
  const keys = (rule: (query: number, key: number) => boolean, query: number): number[] =>
    range(0, 7).filter((key) => rule(query, key));

  it('name blocks of keys for blocks of queries, by batch entry', () => {
    expect(keys(blocksRule(pattern, 0, 0, 2), 1)).toEqual([0, 1, 2, 6]);
    expect(keys(blocksRule(pattern, 0, 1, 2), 2)).toEqual([3, 4, 5]);
    expect(keys(blocksRule(pattern, 1, 0, 2), 0)).toEqual([]);
    expect(keys(blocksRule(pattern, 1, 0, 2), 3)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('a predicate concerns listed blocks, and not those of a full list', () => {
    const even = (_: number, __: number, ___: number, key: number): boolean => key % 2 === 0;
    expect(keys(blocksRule({ ...pattern, predicate: even }, 0, 0, 1), 0)).toEqual([0, 2, 6]);
    const full = { ...pattern, predicate: even, fullLists: [[[[1], []]]], lists: lists.slice(0, 1) };
    expect(keys(blocksRule(full, 0, 0, 1), 0)).toEqual([0, 2, 3, 4, 5, 6]);
    expect(keys(blocksRule(full, 0, 0, 1), 2)).toEqual([4]);
  });
});

describe('hierarchical selection', () => {
  it.each(hip.cases)('$name', (golden) => {
    const options = selectionOf(golden);
    const [query, key] = [operandOfHeads(golden.q), operandOfHeads(golden.k)];
    const { selected, stages } = select(query, key, options);
    const tokens = (list: number[]): number[] =>
      golden.algo === 'tree' ? list.map((block) => golden.sink + block * golden.blockK!) : list;
    expect(selected).toEqual([golden.selected.map((lists) => lists.map(tokens))]);
    for (const { heads, stage, chunkStarts } of golden.trace ?? []) {
      if (stage === undefined) continue;
      const scope = Math.floor((heads[0] * golden.selected.length) / golden.Hq);
      expect(stages[stage][0][scope]).toEqual(chunkStarts);
    }

    if (!golden.v) return;
    const pattern = { kind: 'hierarchical' as const, options, selected };
    const problem = { query, key, value: operandOfHeads(golden.v), scale: golden.scale, pattern };
    const { out, lse, keysSeen } = attention(problem);
    expectClose(out, headsFirst(golden.out!), 9);
    expectClose(lse, rowsFirst(golden.lse!), 9);
    expect([...keysSeen]).toEqual(rowsFirst(golden.attendedCount!));
  });

  it('sinks, window and chunks are one set: an overlap counts once, the future never', () => {
    const options = { blockQ: 2, sink: 2, window: 3, scope: 'head', method: 'staged' } as const;
    const stages = [{ blockQ: 2, strideQ: 1, chunk: 4, keep: 4 }];
    const pattern = { kind: 'hierarchical' as const, options: { ...options, stages }, selected: [[[[6]]]] };
    expect(chunkOf(pattern.options)).toBe(4);
    const rule = hierarchicalRule(pattern, 0, 0, 1);
    expect(range(0, 12).filter((key) => rule(0, 10, key))).toEqual([0, 1, 6, 7, 8, 9, 10]);
    expect(range(0, 12).filter((key) => rule(1, 11, key))).toEqual([0, 1, 6, 7, 8, 9, 10, 11]);
    const held = hierarchicalRule({ ...pattern, windowStart: 5 }, 0, 0, 1);
    expect(range(0, 12).filter((key) => held(0, 10, key))).toEqual([0, 1, 5, 6, 7, 8, 9, 10]);
  });
});

describe('extra keys', () => {
  it('join every row, see no mask, and take no bias', () => {
    const vector = (...numbers: number[]) => operandOf('float32', [1, 1, numbers.length, 1], numbers);
    const { out, lse, keysSeen } = attention({
      query: vector(0, 0),
      key: vector(0, 0),
      value: vector(1, 3),
      extraKey: vector(0, 0, 0),
      extraValue: vector(10, 20, 60),
      causal: true,
      align: -1,
      bias: operandOf('float32', [1], [Math.log(2)]),
    });
    expectClose(out, [30, (2 * 1 + 90) / 5], 6);
    expectClose(lse, [Math.log(3), Math.log(5)], 6);
    expect([...keysSeen]).toEqual([3, 4]);
  });

  it('belong to their batch entry and KV head', () => {
    const zeros = (heads: number, tokens: number) =>
      operandOf('float32', [2, heads, tokens, 1], new Array(2 * heads * tokens).fill(0));
    const { out } = attention({
      query: zeros(4, 1),
      key: zeros(2, 1),
      value: zeros(2, 1),
      extraKey: zeros(2, 1),
      extraValue: operandOf('float32', [2, 2, 1, 1], [2, 4, 6, 8]),
    });
    expect([...out]).toEqual([1, 1, 2, 2, 3, 3, 4, 4]);
  });
});

it('a problem with a pattern answers which keys a row sees', () => {
  const zeros = operandOf('float32', [1, 2, 12, 1], new Array(24).fill(0));
  const pattern: StridedShards = { kind: 'stridedShards', blockSize: 2, localBlocks: 1, vertStride: 2 };
  const problem = { query: zeros, key: zeros, value: zeros, pattern };
  expect(seenKeys(problem, 0, 0, 7)).toEqual([0, 1, 4, 5, 6, 7]);
  expect(seenKeys(problem, 0, 1, 7)).toEqual([2, 3, 6, 7]);
});
