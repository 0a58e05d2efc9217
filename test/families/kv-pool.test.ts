// KvPool: sequences that come and go on one pool, and calls that attend for many of them. Reader: someone who serves text.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attentionSync,
  type ErrorCode,
  KvPool,
  type KvPoolOptions,
  type KvSequence,
  OutOfPagesError,
  type PoolAttentionOptions,
  stridedShards,
  Tensor,
} from '../../dist/index.js';
import { build } from '../conformance/case.js';
import { expectedOf } from '../conformance/judge.js';
import { fromOutput, fromTensor, toTensor } from '../conformance/memory.js';
import { Random } from '../conformance/random.js';
import { expectRight, onEveryBackend } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { type Operand, range } from '../references/operand.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectClose } from '../support/golden.js';
import { expectForAll } from '../support/property.js';
import { sampleSize } from '../support/sample.js';
import { isSame, tensor } from '../support/tensors.js';
import { gather, part } from '../support/views.js';

const small = { pages: 8, pageSize: 4, kvHeads: 1, headDim: 1 };

/** Rows of one head and dim, whose numbers are the tokens' own. */
const rowsOf = (tokens: readonly number[]) => new Tensor('float32', Float32Array.from(tokens), [tokens.length, 1, 1]);

onEveryBackend((backend) => {
  it.each(dtypes)('prompts beside single tokens, on pages that they share: each as if alone (%s)', (dtype) => {
    for (const layout of ['bnhd', 'bhnd'] as const) {
      const keys = 90;
      const { problem } = build({ heads: [4, 2], queries: keys, keys, dims: [24, 20], dtype, causal: true, seed: 71 });
      const options = { pages: 40, pageSize: 16, kvHeads: 2, headDim: 24, valueDim: 20, type: dtype, layout };
      const pool = new KvPool({ ...options, device: backend.device });
      const rows = (operand: Operand, tokens: number[]) => toTensor(gather(operand, 2, tokens), layout, 'gaps', true);
      const append = (sequence: KvSequence, tokens: number[]) =>
        sequence.append(0, rows(problem.key, tokens), rows(problem.value, tokens));
      const first = pool.sequence();
      append(first, range(0, 37));
      const held: [KvSequence, number[]][] = [[first, range(0, 37)]];
      for (const [begin, end] of [
        [50, 51],
        [60, 90],
        [40, 43],
      ]) {
        const fork = first.fork();
        append(fork, range(begin, end));
        held.push([fork, [...range(0, 37), ...range(begin, end)]]);
      }
      held.push([pool.sequence(), []]);
      const queryLengths = [1, 1, 30, 3, 0];
      const queries = held.map(([, tokens], i) => tokens.slice(tokens.length - queryLengths[i]));
      const q = rows(problem.query, queries.flat());
      const sequences = held.map(([sequence]) => sequence);
      const { out, lse } = pool.attentionSync(0, q, sequences, { queryLengths, returnLse: true });
      const got = fromOutput(out as Tensor, layout);
      const gotLse = fromTensor(lse as Tensor); // [heads, total]
      let begin = 0;
      for (const [i, tokens] of queries.entries()) {
        const own = range(begin, begin + tokens.length);
        begin += tokens.length;
        if (own.length === 0) continue;
        const alone = part(problem, tokens, held[i][1]);
        const lseRows = gather(gotLse, 1, own);
        const rowsOfOne = { ...lseRows, dims: [1, ...lseRows.dims], strides: [0, ...lseRows.strides] };
        expectRight({ out: gather(got, 2, own), lse: rowsOfOne }, expectedOf(alone), `${layout}, sequence ${i}`);
      }
    }
  });
});

onEveryBackend(({ device }) => {
  it.each<[string, PoolAttentionOptions & AttentionOptions]>([
    ['a window and sinks', { window: [20, 0], sinkTokens: 5 }],
    ['no causal order', { causal: false }],
    ['strided shards', { pattern: stridedShards({ blockSize: 8, localBlocks: 2, vertStride: 3 }) }],
    ['a softcap, ALiBi and sink logits', { softcap: 2, alibiSlopes: [0.1, 0.2, 0.3, 0.4], sinks: [0, 1, 2, 3] }],
  ])('options concern each sequence by itself: %s', (_, options) => {
    const pool = new KvPool({ pages: 30, pageSize: 16, kvHeads: 2, headDim: 8, device });
    const lengths = [70, 130, 9];
    const queryLengths = [1, 30, 9];
    const rows = lengths.map((length) => [tensor(length, 2, 8), tensor(length, 2, 8)]);
    const sequences = rows.map(([k, v]) => {
      const sequence = pool.sequence();
      sequence.append(0, k, v);
      return sequence;
    });
    const q = tensor(40, 4, 8);
    const { out } = pool.attentionSync(0, q, sequences, { ...options, queryLengths });
    let first = 0;
    for (const [s, count] of queryLengths.entries()) {
      const [k, v] = rows[s].map((x) => x.reshape([1, ...x.dims]));
      const own = q.slice(0, first, first + count).reshape([1, count, 4, 8]);
      const causal = options.pattern || options.causal === false ? {} : { causal: true };
      const alone = attentionSync(own, k, v, { ...options, ...causal, device }).out.data as Float32Array;
      const got = out.slice(0, first, first + count).contiguous().data as Float32Array;
      if (device === 'cpu') expect(isSame(got, alone), `sequence ${s}`).toBe(true);
      else expectClose(got, alone, 5);
      first += count;
    }
  });
});

interface Step {
  readonly what: 'append' | 'truncate' | 'fork' | 'free' | 'sequence';
  readonly at: number;
  readonly layer: number;
  readonly share: number;
}

const share = fc.nat(1000).map((n) => n / 1000);
const weighted = (what: Step['what'], weight: number) => ({ arbitrary: fc.constant(what), weight });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    what: fc.oneof(
      weighted('append', 8),
      weighted('truncate', 2),
      weighted('fork', 3),
      weighted('free', 2),
      weighted('sequence', 1),
    ),
    at: share,
    layer: fc.nat(1),
    share,
  }),
  { minLength: 1, maxLength: 100 },
);

describe('the pool', () => {
  it('random operations: every sequence holds its own tokens, and no page is lost', () => {
    expectForAll(steps, sampleSize(1000), (list) => {
      const pool = new KvPool({ ...small, layers: 2, pages: 12 });
      let next = 1;
      const held: { sequence: KvSequence; tokens: number[][] }[] = [];
      for (const { what, at, layer, share } of list) {
        const pair = held[Math.min(held.length - 1, Math.floor(at * held.length))];
        if (what === 'sequence' || !pair) {
          held.push({ sequence: pool.sequence(), tokens: [[], []] });
        } else if (what === 'append') {
          const rows = Array.from({ length: Math.floor(20 * share * share) }, () => next++);
          const before = pool.freePages;
          try {
            pair.sequence.append(layer, rowsOf(rows), rowsOf(rows));
            pair.tokens[layer].push(...rows);
          } catch (error) {
            expectError(error, { code: 'ERR_TILEWISE_OUT_OF_PAGES' });
            expect(pool.freePages).toBe(before);
            const heldBy = (error as OutOfPagesError).held;
            expect(heldBy.length).toBe(held.filter(({ sequence }) => sequence.pages > 0).length);
            for (const { sequence, pages } of heldBy) expect(sequence.pages).toBe(pages);
          }
        } else if (what === 'truncate') {
          const length = Math.floor(share * Math.max(...pair.tokens.map((tokens) => tokens.length)));
          pair.sequence.truncate(length);
          for (const tokens of pair.tokens) tokens.splice(length);
        } else if (what === 'fork') {
          held.push({ sequence: pair.sequence.fork(), tokens: pair.tokens.map((tokens) => [...tokens]) });
        } else {
          pair.sequence.free();
          held.splice(held.indexOf(pair), 1);
        }
      }
      // One query of 0 weighs all values alike: the mean of a sequence's own tokens.
      const zero = rowsOf([0]);
      for (const { sequence, tokens } of held) {
        for (const [layer, expected] of tokens.entries()) {
          expect(sequence.lengthOf(layer)).toBe(expected.length);
          if (expected.length === 0) continue;
          const mean = expected.reduce((sum, token) => sum + token, 0) / expected.length;
          const [got] = pool.attentionSync(layer, zero, [sequence]).out.data as Float32Array;
          expect(Math.abs(got - mean)).toBeLessThanOrEqual(1e-5 * mean);
        }
        sequence.free();
      }
      expect(pool.freePages).toBe(pool.pages);
    });
  });

  it('a hundred thousand operations on one pool: as many pages are taken as its sequences refer to', () => {
    const random = new Random(Number(process.env.TILEWISE_SEED));
    const [pages, pageSize] = [40, 4];
    const pool = new KvPool({ ...small, pages, pageSize, layers: 2 });
    // Pages are objects here, which sequences share until one of them writes.
    interface Held {
      sequence: KvSequence;
      lengths: number[];
      pages: object[];
    }
    let held: Held[] = [];
    const taken = () => new Set(held.flatMap((one) => one.pages)).size;
    const refersTo = (page: object) => held.filter((one) => one.pages.includes(page)).length;
    const row = (tokens: number) => tensor(tokens, 1, 1);
    for (let n = sampleSize(100_000); n > 0; n--) {
      const what = random.integer(0, 19);
      const at = held[random.integer(0, Math.max(0, held.length - 1))];
      if (!at || (what === 0 && held.length < 12)) {
        held.push({ sequence: pool.sequence(), lengths: [0, 0], pages: [] });
      } else if (what < 11) {
        const [layer, count] = [random.integer(0, 1), random.integer(0, 9)];
        const first = Math.floor(at.lengths[layer] / pageSize);
        const end = Math.ceil((at.lengths[layer] + count) / pageSize);
        const written = range(first, Math.max(first, end));
        const needed = written.filter((i) => !at.pages[i] || refersTo(at.pages[i]) > 1);
        const error = thrownBy(() => at.sequence.append(layer, row(count), row(count)));
        expect(error instanceof OutOfPagesError, String(error)).toBe(needed.length > pages - taken());
        if (!error) {
          for (const i of needed) at.pages[i] = {};
          at.lengths[layer] += count;
        }
      } else if (what < 14) {
        const length = random.integer(0, Math.max(...at.lengths));
        at.sequence.truncate(length);
        at.lengths = at.lengths.map((own) => Math.min(own, length));
        at.pages.splice(Math.ceil(length / pageSize));
      } else if (what < 17 && held.length < 12) {
        held.push({ sequence: at.sequence.fork(), lengths: [...at.lengths], pages: [...at.pages] });
      } else if (what > 17) {
        at.sequence.free();
        held = held.filter((other) => other !== at);
      }
      if (pool.freePages !== pages - taken()) expect.fail(`${pool.freePages} free, ${taken()} taken`);
    }
    for (const { sequence } of held) sequence.free();
    expect(pool.freePages).toBe(pages);
  });

  it('takes queries, keys and values with heads and dim as one axis', () => {
    const pool = new KvPool({ pages: 4, kvHeads: 2, headDim: 8, valueDim: 6 });
    const [apart, merged] = [pool.sequence(), pool.sequence()];
    const [k, v, q] = [tensor(9, 2, 8), tensor(9, 2, 6), tensor(3, 4, 8)];
    apart.append(0, k, v);
    merged.append(0, k.reshape([9, 16]), v.reshape([9, 12]));
    const { out } = pool.attentionSync(0, q, [apart], { queryLengths: [3] });
    const flat = pool.attentionSync(0, q.reshape([3, 32]), [merged], { queryLengths: [3], queryHeads: 4 });
    expect(flat.out.dims).toEqual([3, 24]);
    expect(isSame(flat.out.data, out.data)).toBe(true);
  });

  it('says who holds its pages when there are none left', () => {
    const pool = new KvPool(small);
    const [a, b] = [pool.sequence(), pool.sequence()];
    a.append(0, rowsOf(range(0, 20)), rowsOf(range(0, 20)));
    b.append(0, rowsOf(range(0, 9)), rowsOf(range(0, 9)));
    const error = thrownBy(() => b.append(0, rowsOf([1, 2, 3, 4]), rowsOf([1, 2, 3, 4])));
    expectError(error, { code: 'ERR_TILEWISE_OUT_OF_PAGES', says: ['needs 1 pages', '0 left of 8'] });
    expect(error).toBeInstanceOf(OutOfPagesError);
    expect((error as OutOfPagesError).held).toEqual([
      { sequence: a, pages: 5 },
      { sequence: b, pages: 3 },
    ]);
    expect(b.length).toBe(9);
    a.free();
    b.append(0, rowsOf([1, 2, 3, 4]), rowsOf([1, 2, 3, 4]));
    expect([b.length, b.pages, pool.freePages]).toEqual([13, 4, 4]);
  });

  it('a call holds what it reads: other sequences go on, its own wait', async () => {
    const pool = new KvPool({ pages: 100, pageSize: 16, kvHeads: 2, headDim: 8 });
    const [a, b] = [pool.sequence(), pool.sequence()];
    const many = tensor(300, 2, 8);
    for (const sequence of [a, b]) sequence.append(0, many, many);
    const shared = a.fork();
    const q = tensor(2, 4, 8);
    const before = pool.attentionSync(0, q, [a, b]);
    const flight = pool.attention(0, q, [a, b]);
    for (const change of [() => a.append(0, many, many), () => b.truncate(0), () => b.free()]) {
      expectError(thrownBy(change), { code: 'ERR_TILEWISE_OVERLAP', says: ['wait'] });
    }
    shared.free();
    pool.sequence().append(0, many, many);
    expect(isSame((await flight).out.data, before.out.data)).toBe(true);
    b.free();
  });

  const row = rowsOf([1]);
  const pool = new KvPool(small);
  const filled = (count = 1): KvSequence => {
    const sequence = new KvPool(small).sequence();
    sequence.append(0, rowsOf(range(0, count)), rowsOf(range(0, count)));
    return sequence;
  };
  const refused: [string, () => unknown, ErrorCode, string][] = [
    [
      'a bias, which packed sequences have no axes for',
      () => new KvPool(small).attentionSync(0, row, [], { bias: row } as PoolAttentionOptions),
      'ERR_TILEWISE_UNKNOWN_OPTION',
      '`bias`',
    ],
    ['no pages', () => new KvPool({ kvHeads: 1, headDim: 1 } as KvPoolOptions), 'ERR_TILEWISE_INVALID_OPTION', 'pages'],
    ['pages of 0', () => new KvPool({ ...small, pageSize: 0 }), 'ERR_TILEWISE_INVALID_OPTION', 'pageSize'],
    [
      'more tokens than there are numbers',
      () => new KvPool({ ...small, pages: 2 ** 30 }),
      'ERR_TILEWISE_INVALID_OPTION',
      'pages',
    ],
    [
      'a batch of two',
      () => filled().append(0, tensor(2, 1, 1, 1), tensor(2, 1, 1, 1)),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'k',
    ],
    ['a layer too many', () => filled().append(1, row, row), 'ERR_TILEWISE_INVALID_OPTION', 'layer'],
    [
      'a sequence of another pool',
      () => pool.attentionSync(0, row, [filled()]),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'another pool',
    ],
    ['no sequence', () => pool.attentionSync(0, row, [{}] as never), 'ERR_TILEWISE_INVALID_OPTION', 'sequences'],
    [
      'lengths of others',
      () => pool.attentionSync(0, row, [pool.sequence()], { queryLengths: [1, 1] }),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'queryLengths',
    ],
    [
      'queries beyond the tokens',
      () => pool.attentionSync(0, row, [pool.sequence()]),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'queryLengths[0]',
    ],
    [
      'queries with a batch',
      () => pool.attentionSync(0, tensor(1, 1, 1, 1), [pool.sequence()]),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'q',
    ],
    [
      'a sequence that was freed',
      () => {
        const sequence = filled();
        sequence.free();
        sequence.append(0, row, row);
      },
      'ERR_TILEWISE_DISPOSED',
      'freed',
    ],
    ['truncate() beyond the end', () => filled(3).truncate(4), 'ERR_TILEWISE_INVALID_OPTION', 'length'],
  ];
  it.each(refused)('refuses %s', (_, run, code, named) => expectError(thrownBy(run), { code, says: [named] }));
});
