// Ragged queries on pages: prompts' chunks beside single tokens, packed, each with the keys of its row of the table.
// Reader: someone who serves many sequences with one call a step. A sequence gets the bits that it gets alone.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attentionSync,
  blocks,
  type ErrorCode,
  neighborhood,
  type Pattern,
  slidingWindow,
  stridedShards,
  Tensor,
} from '../../dist/index.js';
import type { Case } from '../conformance/case.js';
import { defined, integers, places, seeds, sizes, sometimes, within, yes } from '../conformance/draw.js';
import { pairwise } from '../conformance/pairwise.js';
import { expectMatrix, onEveryBackend, sweep } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { tensor } from '../support/tensors.js';

/** Queries of each sequence, as running totals. */
const totals = (queries: readonly number[]): number[] =>
  Array.from({ length: queries.length + 1 }, (_, s) => queries.slice(0, s).reduce((a, n) => a + n, 0));

const ragged = (queries: readonly number[], rest: Omit<Case, 'queries' | 'cuSeqlensQ'>): Case => {
  const cuSeqlensQ = totals(queries);
  return { queries: cuSeqlensQ[queries.length], cuSeqlensQ, ...rest };
};

onEveryBackend((backend) => {
  it('every pattern and list, chunks beside single tokens, of every type and layout', () => {
    const factors = {
      queries: [
        [1, 40, 1],
        [0, 1, 70],
        [3, 2, 9],
      ],
      size: [1, 7, 64],
      heads: [
        [1, 1],
        [4, 1],
        [4, 2],
      ],
      dtype: dtypes,
      layout: ['bnhd', 'bhnd'],
      is3d: [undefined, true],
      dims: [
        [64, 64],
        [17, 33],
      ],
      pattern: [
        { causal: true },
        { causal: true, left: 30, sinkTokens: 3 },
        { causal: true, lists: 'all' },
        { causal: true, left: 30, lists: 'kv' },
        { shards: { blockSize: 16, localBlocks: 2, vertStride: 3 } },
        { blocks: { blockQ: 16, blockK: 8, density: 0.4, perBatch: true, per: 'kv' } },
        { causal: true, blocks: { blockQ: 64, blockK: 16, density: 0.5 } },
      ],
      modifiers: [
        {},
        { softcap: 5 },
        { alibi: 'h' },
        { sinks: true },
        { extra: 5 },
        { keyMask: { hidden: 0.3 } },
        { keyMask: { structure: 'left' } },
      ],
    };
    const names = Object.keys(factors) as (keyof typeof factors)[];
    const cases = pairwise(names.map((name) => factors[name].length)).map((row, seed) => {
      const pick = Object.fromEntries(names.map((name, i) => [name, factors[name][row[i]]]));
      const { queries, size, pattern, modifiers, ...rest } = defined(pick) as Record<string, unknown>;
      const { lists, ...seen } = pattern as Partial<Case> & { lists?: 'all' | 'kv' };
      const room = (size as number) * Math.ceil((90 + 3 * seed) / (size as number));
      const keyLengths = [room - Math.floor((size as number) / 2), 77, room];
      return ragged(queries as number[], {
        seed,
        keys: room,
        ...rest,
        ...seen,
        ...(modifiers as object),
        keyLengths,
        pages: defined({ size: size as number, lists }),
      });
    });
    expectMatrix(cases, backend);
  });
});

const raggedCases: fc.Arbitrary<Case> = fc
  .record({
    seed: seeds,
    dtype: fc.constantFrom(...dtypes),
    layout: fc.constantFrom('bnhd' as const, 'bhnd' as const),
    is3d: sometimes(0.5, yes),
    kv: fc.constantFrom(1, 2, 3),
    ratio: fc.constantFrom(1, 2, 4),
    queries: fc.array(fc.oneof(fc.constant(1), integers(0, 80)), { minLength: 1, maxLength: 5 }),
    keys: sizes(1, 300),
    dims: fc.tuple(fc.constantFrom(8, 16, 33, 64), fc.constantFrom(16, 64, 80)),
    keyLengths: fc.tuple(places, places, places, places, places),
    size: fc.constantFrom(1, 2, 7, 16, 64, 500),
    lists: sometimes(0.4, fc.constantFrom('all' as const, 'kv' as const)),
    causal: sometimes(0.7, yes),
    left: sometimes(0.3, sizes(1, 200)),
  })
  .map(({ kv, ratio, size, lists, keyLengths, queries, ...rest }): Case => {
    const keys = size * Math.ceil(rest.keys / size);
    const lengths = keyLengths.slice(0, queries.length).map((place) => within(place, 0, keys));
    return ragged(
      queries,
      defined({ ...rest, keys, heads: [kv * ratio, kv], keyLengths: lengths, pages: defined({ size, lists }) }),
    );
  });

sweep('ragged calls on pages', raggedCases, 60);

describe('a sequence', () => {
  const queries = [1, 256, 1, 5, 17, 1];
  const keyLengths = [700, 600, 33, 5, 130, 1];
  const [pageSize, perSequence] = [16, 44];
  const table = keyLengths.map((_, s) => Array.from({ length: perSequence }, (_, i) => (i * 7 + s * 44) % 264));
  const k = tensor(264, pageSize, 2, 64);
  const v = tensor(264, pageSize, 2, 64);
  const cuSeqlensQ = totals(queries);
  const q = tensor(cuSeqlensQ[queries.length], 8, 64);
  const lists = keyLengths.map((length) => [0, 2, 3].filter((page) => page * pageSize < length));
  const blockLists = {
    counts: new Tensor(
      'int32',
      Int32Array.from({ length: 16 }, () => 3),
      [16],
    ),
    indices: new Tensor(
      'int32',
      Int32Array.from({ length: 48 }, (_, i) => 2 * (i % 3)),
      [16, 3],
    ),
  };

  it.each<[string, AttentionOptions, boolean?]>([
    ['causal', { causal: true }],
    ['a window and sinks', { pattern: slidingWindow({ left: 100, sinkTokens: 4 }), softcap: 20 }],
    ['strided shards', { pattern: stridedShards({ blockSize: 32, localBlocks: 2, vertStride: 4 }) }],
    ['block lists', { pattern: blocks({ blockQ: 16, blockK: 32, lists: blockLists }) }, true],
    ['page lists', { causal: true }, false],
  ])('gives the bits that it gives alone: %s', (name, options, hasBlockRows) => {
    const hasLists = name === 'page lists';
    const common = { ...options, returnLse: true, device: 'cpu' as const };
    const all = attentionSync(q, k, v, {
      ...common,
      cuSeqlensQ,
      keyLengths,
      pages: { table, pageSize },
      ...(hasLists && { pageLists: lists }),
    });
    for (const [s, begin] of cuSeqlensQ.slice(0, -1).entries()) {
      const end = cuSeqlensQ[s + 1];
      const rows = Math.ceil((end - begin) / 16);
      const own = hasBlockRows
        ? {
            pattern: blocks({
              blockQ: 16,
              blockK: 32,
              lists: { counts: blockLists.counts.slice(0, 0, rows), indices: blockLists.indices.slice(0, 0, rows) },
            }),
          }
        : {};
      const alone = attentionSync(q.slice(0, begin, end).reshape([1, end - begin, 8, 64]), k, v, {
        ...common,
        ...own,
        keyLengths: [keyLengths[s]],
        pages: { table: [table[s]], pageSize },
        ...(hasLists && { pageLists: [lists[s]] }),
      });
      expect(all.out.slice(0, begin, end).contiguous().data, `sequence ${s}`).toEqual(alone.out.data);
      expect(all.lse!.slice(1, begin, end).contiguous().data, `sequence ${s}`).toEqual(alone.lse!.data);
    }
  });
});

describe('refuses', () => {
  const [q, k] = [tensor(4, 2, 8), tensor(5, 4, 2, 8)];
  const good: AttentionOptions = {
    cuSeqlensQ: [0, 3, 4],
    keyLengths: [5, 8],
    pages: {
      table: [
        [4, 0],
        [2, 2],
      ],
      pageSize: 4,
    },
  };
  const invalid = 'ERR_TILEWISE_INVALID_OPTION';
  const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH';
  const grid = neighborhood({ kernelSize: 3 });
  const shards: Pattern = stridedShards({ blockSize: 4, localBlocks: 1, vertStride: 2 });
  it('nothing of a call that is right', () => {
    expect(attentionSync(q, k, k, { ...good, pageLists: [[0], []] }).out.dims).toEqual([4, 2, 8]);
  });
  it.each<[string, AttentionOptions, ErrorCode, string[]]>([
    ['totals of the keys', { cuSeqlensK: [0, 5, 13] }, invalid, ['`cuSeqlensK`', '`pages`', '`keyLengths`']],
    ['totals that end too early', { cuSeqlensQ: [0, 2, 3] }, invalid, ['cuSeqlensQ[2]', '4']],
    ['a length too few', { keyLengths: [5] }, mismatch, ['`keyLengths`', '2']],
    [
      'a row of the table too few',
      { pages: { table: [[4, 0]], pageSize: 4 } },
      mismatch,
      ['`pages.table`', '2 sequences'],
    ],
    ['a bias', { bias: tensor(1, 1, 4, 8) }, invalid, ['`bias`', 'packed']],
    ['starts', { keyStarts: [0, 0] }, invalid, ['`keyStarts`', 'packed']],
    ['a grid', { pattern: grid }, invalid, ["'neighborhood'"]],
    ['page lists of another pattern', { pattern: shards, pageLists: [[0], [0]] }, invalid, ['`pageLists`']],
    [
      'sink tokens that end inside a listed page',
      { causal: true, sinkTokens: 3, pageLists: [[0], [0]] },
      invalid,
      ['`sinkTokens`', '4'],
    ],
    [
      'starts inside listed pages',
      { cuSeqlensQ: undefined, keyStarts: [1, 0], pageLists: [[0], [0]] } as never,
      invalid,
      ['`keyStarts`', '`pageLists`'],
    ],
    ['page lists for another number of heads', { pageLists: [[[0]], [[0]]] }, mismatch, ['pageLists[0]', '2 lists']],
    ['page lists that are none', { pageLists: 3 as never }, invalid, ['`pageLists`']],
    ['a page that is no number', { pageLists: [['x' as never], [0]] }, invalid, ['pageLists[0][0]']],
  ])('%s', (_, options, code, says) => {
    expectError(
      thrownBy(() => attentionSync(q, k, k, { ...good, ...options })),
      { code, says },
    );
  });
});
