// Laws of selectors on every instruction set of the CPU: with a full budget attention over what they select is dense; scores are
// those of all keys in float64; forced entries are in every list; ties go to the smaller index. Reader: someone who changes one.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  blockMeanTopKSync,
  deltaPageScoresSync,
  landmarkAttentionSync,
  landmarkTopK,
  landmarkTopKSync,
  questPageScores,
  questPageScoresSync,
  snapKVSync,
  Tensor,
  verticalSlashSync,
} from '../../dist/index.js';
import { topList } from '../../dist/selectors/top-list.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { onEveryCpu } from '../support/ext-linear.js';
import { expectForAll } from '../support/property.js';
import { tensor } from '../support/tensors.js';
import { uniformNumbers } from '../support/uniform.mjs';

const device = 'cpu' as const;

/** Numbers from -2 to 2 by seed. */
const random = (seed: number, ...dims: number[]) => {
  const next = uniformNumbers(seed);
  const size = dims.reduce((a, b) => a * b, 1);
  return new Tensor(
    'float32',
    Float32Array.from({ length: size }, () => 4 * next() - 2),
    dims,
  );
};

const drawn = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  keys: fc.integer({ min: 1, max: 90 }),
  chunk: fc.integer({ min: 1, max: 90 }),
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 3 }),
  headDim: fc.integer({ min: 1, max: 20 }),
  size: fc.integer({ min: 2, max: 20 }),
  budget: fc.integer({ min: 1, max: 8 }),
  seed: fc.integer({ min: 1, max: 1e6 }),
});
type Drawn = typeof drawn extends fc.Arbitrary<infer D> ? D : never;

function callOf(d: Drawn, queries: number) {
  const q = random(d.seed, d.batch, queries, d.kvHeads * d.group, d.headDim);
  const k = random(d.seed + 1, d.batch, d.keys, d.kvHeads, d.headDim);
  const v = random(d.seed + 2, d.batch, d.keys, d.kvHeads, 3);
  return { q, k, v };
}

function expectClose(got: Tensor<'float32'>, want: Tensor<'float32'>): void {
  expect(got.dims).toEqual(want.dims);
  got.data.forEach((x, i) => {
    expect(Math.abs(x - want.data[i]), `element ${i}`).toBeLessThan(1e-5);
  });
}

/** Keys as pages of `size`, the last ones filled up, and what attention() is told of them. */
function paged(x: Tensor<'float32'>, size: number) {
  const [batch, keys, heads, dim] = x.dims;
  const perSequence = Math.ceil(keys / size);
  const data = new Float32Array(batch * perSequence * size * heads * dim);
  for (let b = 0; b < batch; b++) {
    data.set(
      x.data.subarray(b * keys * heads * dim, (b + 1) * keys * heads * dim),
      b * perSequence * size * heads * dim,
    );
  }
  const table = Array.from({ length: batch }, (_, b) =>
    Array.from({ length: perSequence }, (_, i) => b * perSequence + i),
  );
  const told = { pages: { table, pageSize: size }, keyLengths: new Array<number>(batch).fill(keys) };
  return { pages: new Tensor('float32', data, [batch * perSequence, size, heads, dim]), told };
}

onEveryCpu(() => {
  it('attend to everything with a full budget: pages', () => {
    expectForAll(drawn, 10, (d) => {
      const { q, k, v } = callOf(d, 1);
      const options = { pageSize: d.size, pages: Math.ceil(d.keys / d.size), device };
      const want = attentionSync(q, k, v, { device }).out;
      const keys = paged(k, d.size);
      const values = paged(v, d.size);
      for (const select of [questPageScoresSync, deltaPageScoresSync]) {
        const { lists } = select(q, k, options);
        expectClose(attentionSync(q, keys.pages, values.pages, { ...keys.told, pageLists: lists, device }).out, want);
      }
    });
  });

  it('attend to everything with a full budget: blocks, columns and diagonals, tokens, landmarks', () => {
    expectForAll(drawn, 10, (d) => {
      const queries = Math.min(d.chunk, d.keys);
      const { q, k, v } = callOf(d, queries);
      const want = attentionSync(q, k, v, { causal: true, device }).out;
      const attend = (pattern: never) => attentionSync(q, k, v, { pattern, device }).out;
      expectClose(attend(blockMeanTopKSync(q, k, { blockSize: d.size, topK: 90, device }).lists as never), want);
      const all = { vertical: d.keys, slash: 0, device };
      expectClose(attend(verticalSlashSync(q, k, all).lists as never), want);
      expectClose(attend(verticalSlashSync(q, k, { ...all, vertical: 3, slash: d.keys }).lists as never), want);
      const { lists } = snapKVSync(q, k, { capacity: d.keys, device });
      for (const list of lists.flat()) expect([...list]).toEqual(Array.from({ length: d.keys }, (_, i) => i));
      if (d.batch > 1) return;
      const last = q.slice(1, queries - 1, queries);
      const blocks = landmarkTopKSync(last, k, { blockSize: d.size, topK: 90, device }).lists[0].map(([list]) => list);
      const options = { blockSize: d.size, device };
      expectClose(
        landmarkAttentionSync(last, k, v, { ...options, blocks }).out,
        landmarkAttentionSync(last, k, v, options).out,
      );
    });
  });

  it('score pages by the bounds of their keys, which no product exceeds', () => {
    expectForAll(drawn, 10, (d) => {
      const { q, k } = callOf(d, 1);
      const one = { pageSize: d.size, pages: d.budget, lastPages: 1, device };
      const { scores, lists } = questPageScoresSync(q, k, one);
      const pages = Math.ceil(d.keys / d.size);
      lists.flat().forEach((list, row) => {
        const b = Math.floor(row / d.kvHeads);
        const head = row % d.kvHeads;
        expect((list as Int32Array).length).toBe(Math.min(d.budget, pages));
        expect((list as Int32Array).includes(pages - 1)).toBe(true);
        for (let page = 0; page < pages; page++) {
          let score = 0;
          for (let i = 0; i < d.group; i++) {
            for (let c = 0; c < d.headDim; c++) {
              const x = q.data[(b * d.kvHeads * d.group + head * d.group + i) * d.headDim + c];
              let [low, high] = [Infinity, -Infinity];
              for (let key = page * d.size; key < Math.min(d.keys, (page + 1) * d.size); key++) {
                const y = k.data[((b * d.keys + key) * d.kvHeads + head) * d.headDim + c];
                [low, high] = [Math.min(low, y), Math.max(high, y)];
              }
              score += Math.max(x * low, x * high);
            }
          }
          expect(Math.abs(scores.data[row * pages + page] - score)).toBeLessThan(1e-4);
        }
      });
    });
  });

  it('give the same lists asynchronously, heads first and in half precision', async () => {
    const [q, k] = [random(7, 2, 1, 4, 16), random(8, 2, 50, 2, 16).astype('float16')];
    const options = { pageSize: 8, pages: 3, device };
    const want = questPageScoresSync(q, k, options);
    const turned = await questPageScores(q.transpose([0, 2, 1, 3]), k.transpose([0, 2, 1, 3]), {
      ...options,
      layout: 'bhnd',
    });
    expect(turned.lists).toEqual(want.lists);
    expect(turned.scores.data).toEqual(want.scores.data);
    const rows = random(9, 2, 20, 4, 16);
    const landmarks = await landmarkTopK(rows, k, { blockSize: 8, topK: 2, device });
    expect(landmarks.lists).toEqual(landmarkTopKSync(rows, k, { blockSize: 8, topK: 2, device }).lists);
  });
});

describe('lists', () => {
  it('take the first of equal scores, and forced entries whatever their score', () => {
    const scores = Float32Array.of(1, 3, 3, 3, 0, 2);
    expect([...topList(scores, 2)]).toEqual([1, 2]);
    expect([...topList(scores, 4, { first: 1, last: 2 })]).toEqual([0, 1, 4, 5]);
    expect([...topList(scores, 9, { first: 1, last: 2 })]).toEqual([0, 1, 2, 3, 4, 5]);
    expect([...topList(Float32Array.of(Infinity, Infinity, 0), 2, { first: 0, last: 1 })]).toEqual([0, 2]);
    expect([...topList(scores, 3, { first: 1, last: 2 })]).toEqual([0, 4, 5]);
  });

  it('are those of a sorted row, whatever its numbers', () => {
    const special = [0, -0, 1, -1, Infinity, -Infinity, Number.NaN, 1e-45];
    const number = fc.oneof(fc.constantFrom(...special), fc.float(), fc.integer({ min: -3, max: 3 }));
    expectForAll(
      fc.tuple(fc.array(number, { maxLength: 300 }), fc.integer({ min: 0, max: 300 })),
      200,
      ([row, budget]) => {
        const scores = Float32Array.from(row);
        const place = (i: number) => (Number.isNaN(scores[i]) ? [1, 0] : [0, scores[i]]);
        const isBefore = (i: number, j: number) => {
          const [[a, x], [b, y]] = [place(i), place(j)];
          return b - a || (x === y ? i - j : y > x ? 1 : -1);
        };
        const best = Array.from(scores.keys()).sort(isBefore).slice(0, budget);
        expect([...topList(scores, budget)]).toEqual(best.sort((i, j) => i - j));
      },
    );
  });

  it('keep first and last pages within the budget', () => {
    const [q, k] = [random(1, 1, 1, 2, 8), random(2, 1, 80, 1, 8)];
    const { lists } = questPageScoresSync(q, k, { pageSize: 8, pages: 4, firstPages: 2, lastPages: 2, device });
    expect([...(lists[0][0] as Int32Array)]).toEqual([0, 1, 8, 9]);
  });

  it('stop at the length of a sequence', () => {
    const [q, k] = [random(1, 2, 1, 2, 8), random(2, 2, 80, 1, 8)];
    const { scores, lists } = questPageScoresSync(q, k, { pageSize: 8, pages: 3, keyLengths: [17, 0], device });
    expect([...(lists[0][0] as Int32Array)]).toEqual([0, 1, 2]);
    expect(lists[1][0]).toHaveLength(0);
    expect(scores.dims).toEqual([2, 1, 3]);
  });
});

describe('what is refused', () => {
  const [q, k] = [tensor(1, 1, 4, 8), tensor(1, 20, 2, 8)];
  const invalid = 'ERR_TILEWISE_INVALID_OPTION';
  it.each<[string, () => unknown, string, string]>([
    ['no page size', () => questPageScoresSync(q, k, { pages: 1 }), invalid, 'pageSize'],
    [
      'two queries',
      () => questPageScoresSync(tensor(1, 2, 4, 8), k, { pages: 1, pageSize: 4 }),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'q',
    ],
    [
      'forced pages beyond the budget',
      () => questPageScoresSync(q, k, { pages: 2, pageSize: 4, firstPages: 3 }),
      invalid,
      'firstPages',
    ],
    [
      'an unknown option',
      () => snapKVSync(q, k, { capacity: 8, budget: 3 } as never),
      'ERR_TILEWISE_UNKNOWN_OPTION',
      'budget',
    ],
    [
      'heads that do not divide',
      () => snapKVSync(tensor(1, 1, 3, 8), k, { capacity: 8 }),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'heads',
    ],
  ])('%s', (_, call, code, says) => {
    expectError(thrownBy(call), { code: code as never, says: [says] });
  });
});
