// explain() of padding and masks: what is counted is what the rules show and the masks leave, pair by pair. Reader: someone who
// changes core/plan/hidden_keys.h.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  blocks,
  causal,
  type ExplainOptions,
  type ExplainShape,
  explain,
  full,
  hierarchical,
  neighborhood,
  type Pattern,
  slidingWindow,
  stridedShards,
  Tensor,
} from '../../dist/index.js';
import { integers } from '../conformance/draw.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';
import { masked } from '../support/tensors.js';

const heads = { queryHeads: 4, kvHeads: 2, headDim: 64 };

/** Ones and zeros in runs, so that some tiles are hidden as a whole. */
const patchy = (seed: number, length: number) => (i: number) =>
  ((i % length) * 7 + seed) % 90 < 40 || i % 61 === seed % 61;

describe('explain of padding and masks', () => {
  const drawn = fc.record({
    queries: integers(1, 40),
    keys: integers(1, 130),
    left: integers(0, 60),
    sinkTokens: integers(0, 5),
    seed: integers(0, 1000),
    byHead: fc.boolean(),
    uses: fc.subarray(['mask', 'keyMask', 'keyStarts', 'keyLengths'] as const, { minLength: 1 }),
  });
  const batch = 2;

  it('counts the pairs that a pattern shows and masks and padding leave', () => {
    expectForAll(drawn, 60, ({ queries, keys, left, sinkTokens, seed, byHead, uses }) => {
      const maskHeads = byHead ? heads.queryHeads : 1;
      const mask = masked([batch, maskHeads, queries, keys], patchy(seed, keys));
      const keyMask = masked([batch, keys], patchy(seed + 3, keys));
      const keyLengths = [keys, keys - (seed % (keys + 1))];
      const keyStarts = [seed % (keys + 1), Math.floor(keyLengths[1] / 2)];
      const all = { mask, keyMask, keyStarts, keyLengths };
      const given: Partial<typeof all> = Object.fromEntries(uses.map((name) => [name, all[name]]));
      const isSeen = (b: number, h: number, q: number, key: number): boolean => {
        const [start, end] = [given.keyStarts?.[b] ?? 0, given.keyLengths?.[b] ?? keys];
        const position = end - queries + q;
        const isInWindow = (key >= position - left || key < (sinkTokens && sinkTokens + start)) && key <= position;
        const ofMask = (((b * maskHeads + (byHead ? h : 0)) * queries + q) * keys + key) | 0;
        return (
          isInWindow &&
          key >= start &&
          key < end &&
          (!given.mask || mask.data[ofMask] === 1) &&
          (!given.keyMask || keyMask.data[b * keys + key] === 1)
        );
      };
      let pairs = 0;
      for (let b = 0; b < batch; ++b)
        for (let h = 0; h < heads.queryHeads; ++h)
          for (let q = 0; q < queries; ++q) for (let key = 0; key < keys; ++key) pairs += Number(isSeen(b, h, q, key));
      const shape = { ...heads, ...given, batch, queries, keys };
      for (const options of [{}, { queryTile: 8, keyTile: 16 }, { tiling: 'dynamic' }] satisfies ExplainOptions[]) {
        const plan = explain(slidingWindow({ left, causal: true, sinkTokens }), shape, options);
        expect(plan.pairs.useful).toBe(pairs / heads.queryHeads);
        expect(plan.pairs.dense).toBe(batch * queries * keys);
        expect(plan.pairs.computed).toBeGreaterThanOrEqual(plan.pairs.useful);
        expect(plan.flops).toBe(2 * pairs * 128);
      }
    });
  });

  it('visits the tiles that have a visible pair; interior are those that have no other', () => {
    expectForAll(drawn, 40, ({ queries, keys, seed }) => {
      const mask = masked([batch, 1, queries, keys], patchy(seed, keys));
      let [visited, interior] = [0, 0];
      for (let b = 0; b < batch; ++b) {
        for (let q = 0; q < queries; q += 8) {
          for (let key = 0; key < keys; key += 16) {
            const rows = Array.from({ length: Math.min(8, queries - q) }, (_, i) => (b * queries + q + i) * keys + key);
            const tile = rows.flatMap((at) => [...mask.data.subarray(at, at + Math.min(16, keys - key))]);
            visited += Number(tile.includes(1));
            interior += Number(!tile.includes(0) && key + 16 <= keys);
          }
        }
      }
      const { tiles } = explain(full(), { ...heads, batch, queries, keys, mask }, { queryTile: 8, keyTile: 16 });
      expect(tiles).toMatchObject({ visited, interior });
      expect(tiles.dense).toBe(batch * Math.ceil(queries / 8) * Math.ceil(keys / 16));
    });
  });

  it('counts causal order said by a mask as `causal` on the CPU, up to the keys that are left out together', () => {
    const tokens = 1000;
    const mask = masked([tokens, tokens], (i) => i % tokens <= Math.floor(i / tokens));
    const shape = { ...heads, tokens, batch: 2 };
    const [byMask, byRule] = [
      explain(full(), { ...shape, mask }, { device: 'cpu' }),
      explain(causal(), shape, { device: 'cpu' }),
    ];
    expect(byMask.pairs.useful).toBe(byRule.pairs.useful);
    expect(byMask.tiles.visited).toBe(byRule.tiles.visited);
    expect(byMask.pairs.computed).toBeGreaterThanOrEqual(byRule.pairs.computed);
    expect(byMask.pairs.computed).toBeLessThan(1.07 * byRule.pairs.computed);
    expect(byMask.tiles.why).toContain('32 at a time');
    expect(byRule.tiles.why).not.toContain('at a time');
    expect(byMask.toSVG()).toContain('pictures are of the first batch entry');
  });

  it('counts padding as dense attention would compute it, and not as touched', () => {
    const shape = { ...heads, batch: 2, queries: 1, keys: 4096 };
    const padded = explain(causal(), { ...shape, keyStarts: [0, 3072] });
    const bytesPerKey = 2 * 4 * (64 + 64);
    expect(padded.pairs).toMatchObject({ dense: 2 * 4096, useful: 4096 + 1024 });
    expect(padded.bytes - padded.bytesTouched).toBe(3072 * bytesPerKey);
    expect(padded.tiles.dense).toBe(explain(causal(), shape).tiles.dense);
    expect(String(padded)).toContain('`keyStarts`');
    const byMask = explain(causal(), { ...shape, keyMask: masked([2, 4096], (i) => i < 4096 || i >= 4096 + 3072) });
    expect(byMask.bytesTouched).toBe(padded.bytesTouched);
  });

  it('counts masks with shards, lists and keys on pages', () => {
    const keyMask = masked([1, 64], (i) => i >= 32);
    const csr = { rowOffsets: Int32Array.of(0, 2, 4), columns: Int32Array.of(0, 1, 0, 1) };
    const lists = blocks({ blockQ: 32, blockK: 32, csr });
    const shards = stridedShards({ blockSize: 16, localBlocks: 4, vertStride: 1 });
    for (const [pattern, pairs] of [
      [lists, 64 * 32],
      [shards, (32 * 33) / 2],
    ] as const) {
      for (const pageSize of [undefined, 16]) {
        const plan = explain(pattern, { ...heads, tokens: 64, keyMask, pageSize }, { queryTile: 32, keyTile: 32 });
        expect(plan.pairs.useful).toBe(pairs);
        expect(plan.tiles.visited).toBe(pattern === lists ? 2 : 1);
      }
    }
  });
});

it('explain counts each ragged sequence with its row of the key mask', () => {
  const ragged = { ...heads, queryLengths: [1, 3], keyLengths: [4, 9], pageSize: 4 };
  const keyMask = masked([2, 9], (i) => i % 2 === 0);
  // Keys 0 and 2 of the first sequence; of the second, whose queries see 7, 8 and 9 keys, those with odd numbers.
  expect(explain(causal(), { ...ragged, keyMask }).pairs.useful).toBe(2 + 3 + 4 + 4);
  expectError(
    thrownBy(() => explain(causal(), { ...ragged, keyMask: masked([2, 8], () => true) })),
    { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['`keyMask`', '[2, 9]'] },
  );
});

describe('the options that explain finds in a mask', () => {
  const batch = 2;
  const tokens = 6;
  const shape = { ...heads, batch, tokens };
  const padding = (i: number) => i % tokens >= (i < tokens ? 0 : 2);

  it('are those of maskPattern, for all batch entries', () => {
    const mask = masked([tokens, tokens], (i) => i % tokens <= Math.floor(i / tokens));
    expect(explain(full(), { ...shape, mask }).maskPattern).toEqual({ causal: true });
    const keyMask = masked([batch, tokens], padding);
    const plan = explain(full(), { ...shape, keyMask });
    expect(plan.maskPattern).toEqual({ causal: false, keyStarts: Int32Array.of(0, 2) });
    expect(String(plan)).toContain('advice    `keyStarts` hides the same keys as the mask');
    const ofKeys = explain(full(), { ...shape, mask: masked([tokens], (i) => i < 4) });
    expect(ofKeys.maskPattern).toEqual({ causal: false, keyLengths: Int32Array.of(4, 4) });
    expect(String(explain(full(), { ...shape, mask: masked([tokens], () => true) }))).toContain('hides nothing');
  });

  it('are none where options say less, and where lengths would move queries', () => {
    const holes = masked([tokens], (i) => i % 2 === 0);
    expect(explain(full(), { ...shape, mask: holes }).maskPattern).toBeUndefined();
    const keyMask = masked([batch, tokens], padding);
    expect(explain(causal(), { ...shape, keyMask }).maskPattern).toBeUndefined();
    expect(String(explain(causal(), { ...shape, keyMask }))).not.toContain('advice');
  });
});

describe('explain refuses', () => {
  const shape = { ...heads, batch: 2, queries: 3, keys: 8 };
  const keyMask = masked([2, 8], () => true);

  it.each<[string, object, 'SHAPE_MISMATCH' | 'DTYPE' | 'INVALID_OPTION', string]>([
    ['a mask of other dims', { mask: masked([9], () => true) }, 'SHAPE_MISMATCH', '`mask`'],
    ['a key mask of other dims', { keyMask: masked([2, 9], () => true) }, 'SHAPE_MISMATCH', '`keyMask`'],
    ['a float mask', { mask: Tensor.zeros('float32', [8]) }, 'DTYPE', '`bias`'],
    ['a start beyond the keys', { keyStarts: [0, 9] }, 'INVALID_OPTION', '`keyStarts[1]`'],
    ['a start beyond its length', { keyStarts: [0, 5], keyLengths: [8, 4] }, 'INVALID_OPTION', '`keyStarts[1]`'],
    ['a length for one entry', { keyLengths: [8] }, 'SHAPE_MISMATCH', '`keyLengths`'],
  ])('%s', (_, more, code, words) => {
    expectError(
      thrownBy(() => explain(causal(), { ...shape, ...more })),
      { code: `ERR_TILEWISE_${code}`, says: [words] },
    );
  });

  it.each<[Pattern, object]>([
    [neighborhood({ kernelSize: 3 }), { keyStarts: [0, 0] }],
    [neighborhood({ kernelSize: 3 }), { keyLengths: [8, 8] }],
    [hierarchical('default'), { keyStarts: [0, 0] }],
  ])('with %o what attention() refuses: %o', (pattern, more) => {
    const [q, k] = [heads.queryHeads, heads.kvHeads].map((n) => Tensor.zeros('float32', [2, 8, n, 64]));
    for (const call of [
      () => explain(pattern, { ...heads, batch: 2, tokens: 8, ...more }),
      () => attentionSync(q, k, k, { pattern, ...more }),
    ]) {
      const says = [`\`${Object.keys(more)[0]}\``, pattern.kind];
      expectError(thrownBy(call), { code: 'ERR_TILEWISE_INVALID_OPTION', says });
    }
  });

  it('all but a key mask next to ragged sequences', () => {
    const ragged = { ...heads, queryLengths: [1, 2], keyLengths: [8, 8] };
    for (const more of [{ keyStarts: [0, 0] }, { mask: keyMask }] satisfies Partial<ExplainShape>[]) {
      expectError(
        thrownBy(() => explain(causal(), { ...ragged, ...more })),
        { code: 'ERR_TILEWISE_INVALID_OPTION', says: [`\`${Object.keys(more)[0]}\``, '`queryLengths`'] },
      );
    }
  });
});
