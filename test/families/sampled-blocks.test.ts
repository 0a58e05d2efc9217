// sampledBlocks(): the laws of what is drawn, and that attention sees it and nothing else.
// Reader: someone who changes a draw, or how lists reach a call. The reference draws by BigInt, pair by pair.

import { describe, expect, it } from 'vitest';
import {
  attention,
  attentionSync,
  blocks,
  causal,
  KvCache,
  numThreads,
  type SampledBlocksOptions,
  sampledBlocks,
  setNumThreads,
  Tensor,
} from '../../dist/index.js';
import { build, callOf } from '../conformance/case.js';
import { expectedOf } from '../conformance/judge.js';
import { fromOutput, fromTensor } from '../conformance/memory.js';
import { Random } from '../conformance/random.js';
import { expectRight, onEveryBackend } from '../conformance/suite.js';
import { range } from '../references/operand.js';
import { isKept, philox, piOf, type Rule, type Words } from '../references/sampled-blocks.js';
import { isSame, tensor } from '../support/tensors.js';
import { view } from '../support/views.js';

const random = new Random(Number(process.env.TILEWISE_SEED));
const drawSeed = () => Math.floor(random.uniform() * 2 ** 53);

interface Sizes {
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly queries: number;
  readonly keys?: number;
}

/** For every head and query the keys that it sees: all scores are equal, and values are the rows of the identity. */
function seenBy(options: SampledBlocksOptions, { heads = 1, kvHeads = heads, queries, keys = queries }: Sizes) {
  const identity = new Float32Array(keys * kvHeads * keys);
  for (let j = 0; j < keys; ++j) for (let h = 0; h < kvHeads; ++h) identity[(j * kvHeads + h) * keys + j] = 1;
  const zeros = (tokens: number, of: number) => Tensor.zeros('float32', [1, tokens, of, 4]);
  const { out } = attentionSync(
    zeros(queries, heads),
    zeros(keys, kvHeads),
    new Tensor('float32', identity, [1, keys, kvHeads, keys]),
    { pattern: sampledBlocks(options) },
  );
  return Array.from({ length: heads }, (_, h) =>
    Array.from({ length: queries }, (__, i) =>
      Array.from(out.data.subarray((i * heads + h) * keys, (i * heads + h + 1) * keys)).flatMap((x, j) =>
        x > 0 ? [j] : [],
      ),
    ),
  );
}

/** Blocks that every block of queries keeps, of each head; tokens are blocks of 1. */
const keptBy = (options: Omit<SampledBlocksOptions, 'block'>, blockCount: number, heads = 1) =>
  seenBy({ block: 1, scope: 'head', ...options }, { heads, queries: blockCount });

describe('Philox', () => {
  it('answers as Random123 publishes', () => {
    const hex = (words: Words) => words.map((w) => w.toString(16).padStart(8, '0')).join(' ');
    const ones = 0xffffffffn;
    expect(hex(philox([0n, 0n, 0n, 0n], [0n, 0n]))).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
    expect(hex(philox([ones, ones, ones, ones], [ones, ones]))).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd');
    const pi: Words = [0x243f6a88n, 0x85a308d3n, 0x13198a2en, 0x03707344n];
    expect(hex(philox(pi, [0xa4093822n, 0x299f31d0n]))).toBe('d16cfe09 94fdcceb 5001e420 24126ea1');
  });
});

describe('what is drawn', () => {
  const rules: Rule[] = [
    { keep: 0.4 },
    { keep: [1, 0.9, 0.5, 0, 0.2] },
    { geometric: { rho: 0.8 } },
    { geometric: { rho: 0.5, floor: 0.1 } },
    { power: 1.5 },
  ];
  it.each(rules)('is the reference, query by query, for every scope: %j', (rule) => {
    const [block, tokens, heads, kvHeads] = [5, 121, 4, 2];
    const [seed, layer] = [drawSeed(), Math.floor(random.uniform() * 2 ** 32)];
    for (const [scope, drawOf] of [
      ['head', (h: number) => h],
      ['kv', (h: number) => Math.floor(h / 2)],
      ['layer', () => 0],
    ] as const) {
      const seen = seenBy({ block, ...rule, seed, layer, scope }, { heads, kvHeads, queries: tokens });
      const wanted = seen.map((rows, h) =>
        rows.map((_, i) =>
          Array.from({ length: i + 1 }, (__, j) => j).filter((j) =>
            isKept(
              { seed, layer, head: drawOf(h), queryBlock: Math.floor(i / block), keyBlock: Math.floor(j / block) },
              piOf(rule),
            ),
          ),
        ),
      );
      expect(seen, `seed ${seed}, layer ${layer}, scope ${scope}`).toEqual(wanted);
    }
  });

  it('independence: another seed, layer or head draws other blocks', () => {
    const seed = drawSeed();
    const [first, other] = keptBy({ keep: 0.5, seed }, 32, 2);
    expect(other).not.toEqual(first);
    expect(keptBy({ keep: 0.5, seed: (seed + 1) % 2 ** 53 }, 32)[0]).not.toEqual(first);
    expect(keptBy({ keep: 0.5, seed, layer: 1 }, 32)[0]).not.toEqual(first);
    // Both words of a seed count.
    expect(keptBy({ keep: 0.5, seed: (seed + 2 ** 40) % 2 ** 53 }, 32)[0]).not.toEqual(first);
  });

  it('diagonal: the own block is kept whatever the rule says; never: with rho 0 it is alone', () => {
    const diagonal = Array.from({ length: 40 }, (_, i) => [i]);
    for (const rule of [{ keep: 0 }, { keep: [0, 0] }, { geometric: { rho: 0 } }]) {
      expect(keptBy({ ...rule, seed: drawSeed() }, 40)[0]).toEqual(diagonal);
    }
  });

  it('monotone: a larger probability removes no block', () => {
    const seed = drawSeed();
    const [few, many] = [0.3, 0.6].map((keep) => keptBy({ keep, seed }, 60)[0]);
    expect(few.flatMap((row, i) => row.filter((j) => !many[i].includes(j)))).toEqual([]);
    expect(many.flat().length).toBeGreaterThan(few.flat().length);
  });

  it.each(rules)('frequency: so many are kept at each distance, give or take five deviations: %j', (rule) => {
    const [blockCount, heads] = [100, 8];
    const kept = keptBy({ ...rule, seed: 1 }, blockCount, heads);
    for (const d of [1, 2, 3, 4, 7, 20]) {
      const n = heads * (blockCount - d);
      const p = piOf(rule)(d);
      const found = kept.flatMap((rows) => rows.filter((row, i) => row.includes(i - d))).length;
      expect(Math.abs(found - n * p), `distance ${d}`).toBeLessThanOrEqual(5 * Math.sqrt(n * p * (1 - p)));
    }
  });

  it('prefix: rows do not depend on how many there are; chunks and single tokens see what the whole sees', () => {
    const options = { block: 4, geometric: { rho: 0.7, floor: 0.2 }, seed: drawSeed() };
    const [whole] = seenBy(options, { queries: 90 });
    expect(seenBy(options, { queries: 41 })[0]).toEqual(whole.slice(0, 41));
    for (const [begin, end] of [
      [40, 80],
      [37, 53],
      [62, 63],
    ]) {
      const chunk = seenBy(options, { queries: end - begin, keys: end });
      expect(chunk[0], `queries ${begin} to ${end}`).toEqual(whole.slice(begin, end));
    }
  });

  it('queries before the first key see nothing', () => {
    expect(seenBy({ block: 4, keep: 1 }, { queries: 12, keys: 5 })[0].slice(0, 7)).toEqual(new Array(7).fill([]));
  });
});

describe('attention', () => {
  const shape = (tokens: number, heads: number) => tensor(1, tokens, heads, 16);
  const operands = [shape(200, 4), shape(200, 2), shape(200, 2)] as const;

  it('certain: with probability 1 it is blocks() of all causal blocks, bit for bit, and dense causal attention', () => {
    for (const rule of [{ keep: 1 }, { geometric: { rho: 1 } }, { power: 0 }, { geometric: { rho: 0.1, floor: 1 } }]) {
      const rows = 13; // of 16 tokens; a list for each KV head
      const rowOffsets = Int32Array.from({ length: rows + 1 }, (_, i) => (i * (i + 1)) / 2);
      const columns = Int32Array.from(
        Array.from({ length: rows }, (_, i) => Array.from({ length: i + 1 }, (__, j) => j)).flat(),
      );
      const twice = (list: Int32Array) => new Tensor('int32', Int32Array.of(...list, ...list), [2, list.length]);
      const listed = blocks({
        blockQ: 16,
        blockK: 16,
        csr: { rowOffsets: twice(rowOffsets), columns: twice(columns) },
        causal: true,
      });
      const options = { returnLse: true, device: 'cpu' } as const;
      const sampled = attentionSync(...operands, { pattern: sampledBlocks({ block: 16, ...rule }), ...options });
      const wanted = attentionSync(...operands, { pattern: listed, ...options });
      expect(isSame(sampled.out.data, wanted.out.data)).toBe(true);
      expect(isSame(sampled.lse.data, wanted.lse.data)).toBe(true);
      const dense = attentionSync(...operands, { pattern: causal(), ...options });
      const worst = dense.out.data.reduce((most, x, i) => Math.max(most, Math.abs(x - sampled.out.data[i])), 0);
      expect(worst).toBeLessThan(2e-6);
    }
  });

  it('determinism: the same bits for any number of threads, again, and in an asynchronous call', async () => {
    const pattern = sampledBlocks({ block: 8, keep: 0.5, seed: 7 });
    const first = attentionSync(...operands, { pattern }).out.data;
    const before = numThreads();
    try {
      for (const threads of [1, 3]) {
        setNumThreads(threads);
        const again = sampledBlocks({ block: 8, keep: 0.5, seed: 7 });
        expect(isSame(attentionSync(...operands, { pattern: again }).out.data, first)).toBe(true);
      }
    } finally {
      setNumThreads(before);
    }
    expect(isSame((await attention(...operands, { pattern })).out.data, first)).toBe(true);
  });

  it('sequences of other lengths draw by their own positions', () => {
    const pattern = sampledBlocks({ block: 8, keep: 0.4, seed: 3 });
    const [q, k, v] = [tensor(2, 20, 4, 16), tensor(2, 64, 2, 16), tensor(2, 64, 2, 16)];
    const keyLengths = [64, 37];
    const { out } = attentionSync(q, k, v, { pattern, keyLengths, device: 'cpu' });
    keyLengths.forEach((keys, b) => {
      const of = (x: Tensor<'float32'>, end: number) => x.slice(0, b, b + 1).slice(1, 0, end);
      const alone = attentionSync(of(q, 20), of(k, keys), of(v, keys), { pattern, device: 'cpu' }).out;
      const found = out.slice(0, b, b + 1).contiguous();
      const worst = found.data.reduce((most, x, i) => Math.max(most, Math.abs(x - alone.data[i])), 0);
      expect(worst).toBeLessThan(1e-6);
    });
  });

  it('ragged queries on pages draw by their own positions', () => {
    const pattern = sampledBlocks({ block: 8, keep: 0.4, seed: 3 });
    const [k, v] = [tensor(1, 64, 2, 16), tensor(1, 64, 2, 16)];
    const q = tensor(21, 4, 16);
    const onPages = (x: Tensor<'float32'>) => x.reshape([8, 8, 2, 16]);
    // The pages of the one sequence of keys, for both: as many as each has.
    const pages = { table: [range(0, 8), range(0, 5)], pageSize: 8 };
    const keyLengths = [64, 37];
    const cuSeqlensQ = [0, 1, 21];
    const { out } = attentionSync(q, onPages(k), onPages(v), { pattern, pages, keyLengths, cuSeqlensQ, device: 'cpu' });
    for (const s of [0, 1]) {
      const [begin, end] = [cuSeqlensQ[s], cuSeqlensQ[s + 1]];
      const own = q.slice(0, begin, end).reshape([1, end - begin, 4, 16]);
      const of = (x: Tensor<'float32'>) => x.slice(1, 0, keyLengths[s]);
      const alone = attentionSync(own, of(k), of(v), { pattern, device: 'cpu' }).out;
      const found = out.slice(0, begin, end).contiguous();
      const worst = found.data.reduce((most, x, i) => Math.max(most, Math.abs(x - alone.data[i])), 0);
      expect(worst).toBeLessThan(1e-6);
    }
  });

  it('decodes over a KvCache, on pages, as the whole does', () => {
    const pattern = sampledBlocks({ block: 16, power: 1, seed: 11 });
    const [q, k, v] = operands;
    const whole = attentionSync(q, k, v, { pattern }).out;
    const cache = new KvCache({ kvHeads: 2, headDim: 16 });
    cache.append(0, k.slice(1, 0, 190), v.slice(1, 0, 190));
    for (let token = 190; token < 200; ++token) {
      cache.append(0, k.slice(1, token, token + 1), v.slice(1, token, token + 1));
      const { out } = cache.attentionSync(0, q.slice(1, token, token + 1), { pattern });
      const wanted = whole.slice(1, token, token + 1).contiguous();
      const worst = out.data.reduce(
        (most: number, x: number, i: number) => Math.max(most, Math.abs(x - wanted.data[i])),
        0,
      );
      expect(worst).toBeLessThan(1e-6);
    }
  });
});

onEveryBackend((backend) => {
  it('is attention over the drawn blocks, prefill and decode, in every type', () => {
    for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
      for (const queries of [150, 1]) {
        const [keys, block, seed] = [150, 16, 5];
        const built = build({ batch: 2, heads: [4, 2], queries, keys, dims: [24, 20], causal: true, dtype });
        const first = keys - queries;
        const rowsOf = (head: number) =>
          range(0, queries === 1 ? 1 : Math.ceil(keys / block)).map((m) => {
            const queryBlock = Math.floor(first / block) + m;
            const kept = (keyBlock: number) => isKept({ seed, layer: 2, head, queryBlock, keyBlock }, () => 0.4);
            return range(0, queryBlock + 1).filter(kept);
          });
        const lists = [range(0, 2).map(rowsOf)];
        built.problem.pattern = { kind: 'blocks', blockQ: queries === 1 ? 1 : block, blockK: block, lists };
        const { query, key, value, options } = callOf(view(built.problem));
        const pattern = sampledBlocks({ block, keep: 0.4, seed, layer: 2 });
        const { out, lse } = attentionSync(query, key, value, { ...options, pattern, device: backend.device });
        const found = { out: fromOutput(out, 'bhnd'), lse: fromTensor(lse!) };
        expectRight(found, expectedOf(built.problem), `${dtype}, ${queries} queries`);
      }
    }
  });
});
