// explain() of what caches run: keys on pages, and sequences of different lengths in one call. Reader: someone who plans a
// server.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  blocks,
  causal,
  type ExplainShape,
  explain,
  full,
  hierarchical,
  KvPool,
  neighborhood,
  type Pattern,
  slidingWindow,
  stridedShards,
  Tensor,
} from '../../dist/index.js';
import { integers } from '../conformance/draw.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';

const heads = { queryHeads: 8, kvHeads: 2, headDim: 64 };

describe('explain of pages', () => {
  it('counts as without, and says so', () => {
    for (const pageSize of [1, 16, 256]) {
      for (const pattern of [causal(), stridedShards({ blockSize: 16, localBlocks: 2, vertStride: 4 })]) {
        const shape = { ...heads, queries: 100, keys: 700, batch: 3 };
        const [onPages, dense] = [{ ...shape, pageSize }, shape].map((one) => explain(pattern, one));
        expect({ ...onPages }).toEqual({ ...dense });
        expect(String(onPages)).toContain(`float32, keys on pages of ${pageSize}\n`);
        const drawn = onPages.toSVG().replaceAll(/<\/text>\s*<text [^>]*>/g, ' '); // lines of a title
        expect(drawn).toContain(`keys on pages of ${pageSize}`);
        expect(String(dense)).not.toContain('pages');
      }
    }
  });

  it.each([
    [full(), 0],
    [full(), 1.5],
    [neighborhood({ kernelSize: 3 }), 16],
    [hierarchical('default'), 16],
  ] as const)('refuses %o on pages of %s', (pattern, pageSize) => {
    const shape = { ...heads, tokens: 100, pageSize };
    expectError(
      thrownBy(() => explain(pattern, shape)),
      { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['`pageSize`'] },
    );
  });
});

describe('explain of ragged calls', () => {
  /** Pairs of one head by the rule: query i of a sequence is at keys - queries + i, and sees `left` keys before itself. */
  function visiblePairs(queryLengths: readonly number[], keyLengths: readonly number[], left: number): number {
    let pairs = 0;
    for (const [s, queries] of queryLengths.entries()) {
      for (let i = 0; i < queries; ++i) {
        const position = keyLengths[s] - queries + i;
        for (let key = 0; key < keyLengths[s]; ++key) if (key <= position && key >= position - left) ++pairs;
      }
    }
    return pairs;
  }

  it('counts each sequence by itself: pairs as the rule says, the rest as the sum', () => {
    const lengths = fc.array(fc.tuple(integers(0, 80), integers(0, 300)), { minLength: 1, maxLength: 5 });
    expectForAll(lengths, 40, (sequences) => {
      const [queryLengths, keyLengths] = [0, 1].map((i) => sequences.map((lengths) => lengths[i]));
      const pattern = slidingWindow({ left: 60, causal: true });
      const ragged = explain(pattern, { ...heads, queryLengths, keyLengths, pageSize: 16 });
      const alone = sequences.map(([queries, keys]) => explain(pattern, { ...heads, queries, keys }));
      const sum = (count: (one: (typeof alone)[number]) => number) =>
        alone.reduce((total, one) => total + count(one), 0);
      expect(ragged.pairs.useful).toBe(visiblePairs(queryLengths, keyLengths, 60));
      expect(ragged.flops).toBe(2 * visiblePairs(queryLengths, keyLengths, 60) * (64 + 64) * 8);
      expect(ragged.pairs.dense).toBe(sequences.reduce((total, [queries, keys]) => total + queries * keys, 0));
      expect(ragged.bytes).toBe(
        4 * 128 * sequences.reduce((total, [queries, keys]) => total + 8 * queries + 2 * keys, 0),
      );
      expect(ragged.bytesTouched).toBe(sum(({ bytesTouched }) => bytesTouched));
      for (const name of ['dense', 'visited', 'interior'] as const) {
        expect(ragged.tiles[name], name).toBe(sum(({ tiles }) => tiles[name]));
      }
      const { dense, visited } = ragged.tiles;
      expect(ragged.idealSpeedup.average).toBe(dense > 0 ? dense / visited : 1);
      expect(ragged.idealSpeedup.worst).toBe(Math.min(...alone.map(({ idealSpeedup }) => idealSpeedup.worst)));
    });
  });

  it('is of one sequence what explain says of it', () => {
    for (const pattern of [causal(), stridedShards({ blockSize: 16, localBlocks: 2, vertStride: 4 })]) {
      const { tiles, ...ragged } = explain(pattern, { ...heads, queryLengths: [40], keyLengths: [500] });
      const { tiles: aloneTiles, ...alone } = explain(pattern, { ...heads, queries: 40, keys: 500 });
      expect(ragged).toEqual(alone);
      expect({ ...tiles, why: '' }).toEqual({ ...aloneTiles, why: '' });
    }
  });

  it('saves what the causal rule leaves', () => {
    const { idealSpeedup } = explain(causal(), { ...heads, queryLengths: [1, 512], keyLengths: [4096, 512] });
    const alone = [
      [1, 4096],
      [512, 512],
    ].map(([queries, keys]) => explain(causal(), { ...heads, queries, keys }));
    // Against dense causal attention nothing is saved, and one query sees every tile.
    expect(idealSpeedup).toMatchObject({ worst: 1, overCausal: 1 });
    expect(idealSpeedup.average).toBeGreaterThan(alone[0].idealSpeedup.average);
    expect(idealSpeedup.average).toBeLessThan(alone[1].idealSpeedup.average);
  });

  it('takes the lengths that a pool takes, and says them', () => {
    const pool = new KvPool({ pages: 8, pageSize: 16, kvHeads: 2, headDim: 64 });
    const rows = (tokens: number, count: number) => Tensor.zeros('float32', [tokens, count, 64]);
    const sequences = [50, 20].map((tokens) => {
      const sequence = pool.sequence();
      sequence.append(0, rows(tokens, 2), rows(tokens, 2));
      return sequence;
    });
    const queryLengths = Int32Array.of(7, 1);
    pool.attentionSync(0, rows(8, 8), sequences, { queryLengths });
    const plan = explain(causal(), {
      ...heads,
      queryLengths,
      keyLengths: sequences.map((s) => s.length),
      pageSize: 16,
    });
    expect(String(plan)).toContain(
      '2 sequences, 8 queries and 70 keys in all, 8/2 heads of 64, float32, keys on pages of 16',
    );
    expect(plan.toSVG()).toContain('pictures are of the sequence that computes most');
  });

  it.each<[string, Pattern, Partial<ExplainShape>, string]>([
    ['one list alone', causal(), { queryLengths: [1] }, '`keyLengths`'],
    ['a batch beside', causal(), { queryLengths: [1], keyLengths: [1], batch: 2 }, '`batch`'],
    ['queries beside', causal(), { queryLengths: [1], keyLengths: [1], queries: 2 }, '`queries`'],
    [
      'a pattern with lists',
      blocks({ blockQ: 1, blockK: 1, csr: { rowOffsets: Int32Array.of(0, 1), columns: Int32Array.of(0) } }),
      {},
      "'blocks'",
    ],
    ['a selection', hierarchical('default'), {}, "'hierarchical'"],
    ['a grid', neighborhood({ kernelSize: 3 }), {}, "'neighborhood'"],
    ['a length below 0', causal(), { queryLengths: [-1], keyLengths: [1] }, '`queryLengths[0]`'],
  ])('refuses %s', (_, pattern, more, words) => {
    const lengths = Object.keys(more).length === 0 ? { queryLengths: [1], keyLengths: [1] } : more;
    expectError(
      thrownBy(() => explain(pattern, { ...heads, ...lengths })),
      { code: 'ERR_TILEWISE_INVALID_OPTION', says: [words] },
    );
  });

  it.each([
    [[1, 2], [1]],
    [[], []],
  ])('refuses lists of %o and %o', (queryLengths, keyLengths) => {
    expectError(
      thrownBy(() => explain(causal(), { ...heads, queryLengths, keyLengths })),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['`queryLengths`'] },
    );
  });
});
