// Pools with a format: attention of sequences against numbers computed elsewhere, pages and blocks against a model. Reader: someone who
// changes lib/caches/pool-pages.ts.

import { describe, expect, it } from 'vitest';
import { KvCache, type KvFormat, KvPool, type KvSequence, OutOfPagesError, Tensor } from '../../dist/index.js';
import { Random } from '../conformance/random.js';
import { range } from '../references/operand.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectNear } from '../support/ext-linear.js';
import { extTensor } from '../support/ext-modifiers.js';
import { formatOf, formats, quantisedCases } from '../support/quantised-kv.js';
import { sampleSize } from '../support/sample.js';
import { isSame, tensor } from '../support/tensors.js';

describe('computed elsewhere', () => {
  it.each(quantisedCases('quantizedAttention'))('$name', ({ dims, options, q, k, v, out, lse }) => {
    const { batch, kvHeads, headDim, valueDim, keys, queries } = dims;
    const pool = new KvPool({ pages: 100, kvHeads, headDim, valueDim, format: formatOf(options) });
    const [keyRows, valueRows, asked] = [k, v, q].map(extTensor);
    const sequences = range(0, batch).map((b) => {
      const sequence = pool.sequence();
      for (let t = 0; t < keys; t += 7) {
        const part = (x: Tensor) => x.slice(0, b, b + 1).slice(1, t, Math.min(keys, t + 7));
        sequence.append(0, part(keyRows), part(valueRows));
      }
      return sequence;
    });
    const packed = asked.reshape([batch * queries, ...asked.dims.slice(2)]);
    const queryLengths = sequences.map(() => queries);
    const got = pool.attentionSync(0, packed, sequences, { queryLengths, returnLse: true });
    expectNear(got.out.reshape([...asked.dims.slice(0, 3), valueDim]) as Tensor<'float32'>, out, 5e-6);
    const lses = got.lse as Tensor<'float32'>; // [heads, total]
    const byBatch = lses.reshape([lses.dims[0], batch, queries]).transpose([1, 0, 2]).contiguous();
    expectNear(byBatch, lse, 5e-6);
  });
});

it.each(formats)('sequences of all lengths in one call have the bits of caches of their own: %s', async (_, format) => {
  const shape = { kvHeads: 2, headDim: 64, format };
  const pool = new KvPool({ ...shape, pages: 60, layers: 2 });
  const lengths = [300, 1, 129];
  const queryLengths = [1, 1, 20];
  const rows = lengths.map((length) => tensor(1, length, 2, 64));
  const caches = rows.map((x) => {
    const cache = new KvCache(shape);
    cache.append(0, x, x);
    return cache;
  });
  const sequences = rows.map((x) => {
    const sequence = pool.sequence();
    for (const layer of [0, 1]) sequence.append(layer, x, x);
    return sequence;
  });
  expect(sequences.map((sequence) => sequence.bits(1))).toEqual(caches.map((cache) => cache.bits(0)));
  const q = tensor(22, 4, 64);
  const { out } = await pool.attention(1, q, sequences, { queryLengths });
  let first = 0;
  for (const [s, count] of queryLengths.entries()) {
    const own = q.slice(0, first, first + count).reshape([1, count, 4, 64]);
    const alone = caches[s].attentionSync(0, own).out;
    const got = out.slice(0, first, first + count).contiguous();
    expect(isSame(got.data, alone.data), `sequence ${s}`).toBe(true);
    first += count;
  }
});

const steep: KvFormat = {
  tiers: [
    { bits: 8, tokens: 8 },
    { bits: 2, tokens: Number.POSITIVE_INFINITY },
  ],
  residual: 4,
};
/** Tokens of a block, whether values become codes one by one, and blocks of the first tier. */
const modelled: [string, KvFormat, { size: number; slides: boolean; first: number }][] = [
  ['groups', { keyBits: 4, valueBits: 8, group: 2, residual: 4 }, { size: 4, slides: true, first: Infinity }],
  ['tiers', steep, { size: 4, slides: false, first: 2 }],
];

describe('pages', () => {
  it.each(modelled)('ten thousand operations against a model: %s', (_, format, { size, slides, first }) => {
    const random = new Random(Number(process.env.TILEWISE_SEED));
    const [pages, layers] = [40, 2];
    const pool = new KvPool({ pages, layers, kvHeads: 1, headDim: 2, format });
    // Pages and blocks are objects here, which sequences share until one of them writes, or changes a block's tier.
    interface Layer {
      tokens: number[];
      blocks: object[];
      exact: Map<number, object>;
      gone: number;
      valueEnd: number;
    }
    interface Held {
      sequence: KvSequence;
      layers: Layer[];
    }
    let held: Held[] = [];
    let next = 1;
    const all = ({ blocks, exact }: Layer) => [...blocks, ...exact.values()];
    const taken = (layer: number) => new Set(held.flatMap((one) => all(one.layers[layer]))).size;
    const isShared = (thing: object, layer: number) =>
      held.filter((one) => all(one.layers[layer]).includes(thing)).length > 1;
    const copyOf = (from: Layer): Layer => ({
      ...from,
      tokens: [...from.tokens],
      blocks: [...from.blocks],
      exact: new Map(from.exact),
    });
    const rowsOf = (tokens: number[]) =>
      new Tensor('float32', Float32Array.from(tokens.flatMap((x) => [x, x])), [tokens.length, 1, 2]);
    const append = (of: Layer, layer: number, tokens: number[]): Layer => {
      const after = copyOf(of);
      after.tokens.push(...tokens);
      const [length, before] = [after.tokens.length, of.tokens.length];
      const keyEnd = Math.floor(length / size) * size;
      after.valueEnd = Math.max(of.valueEnd, slides ? length - size : keyEnd);
      const blocks = keyEnd / size;
      const tierOf = (block: number, of: number) => Number(of - 1 - block >= first);
      for (const [i, block] of of.blocks.entries()) {
        const moves = tierOf(i, blocks) !== tierOf(i, of.blocks.length);
        if (moves && isShared(block, layer)) after.blocks[i] = {};
      }
      while (after.blocks.length < blocks) after.blocks.push({});
      if (tokens.length > 0) {
        for (let i = Math.floor(before / size); i * size < length; i++) {
          const page = after.exact.get(i);
          if (!page || isShared(page, layer)) after.exact.set(i, {});
        }
      }
      after.gone = Math.max(of.gone, Math.floor(Math.max(0, Math.min(keyEnd, after.valueEnd)) / size));
      for (const i of after.exact.keys()) if (i < after.gone) after.exact.delete(i);
      return after;
    };
    for (let n = sampleSize(10_000); n > 0; n--) {
      const what = random.integer(0, 19);
      const at = held[random.integer(0, Math.max(0, held.length - 1))];
      if (!at || (what === 0 && held.length < 10)) {
        const empty = (): Layer => ({ tokens: [], blocks: [], exact: new Map(), gone: 0, valueEnd: 0 });
        held.push({ sequence: pool.sequence(), layers: [empty(), empty()] });
      } else if (what < 11) {
        const layer = random.integer(0, layers - 1);
        const tokens = Array.from({ length: random.integer(0, 9) }, () => next++);
        const before = at.layers[layer];
        const free = pages - taken(layer);
        const after = append(before, layer, tokens);
        at.layers[layer] = after;
        const needed = taken(layer) - (pages - free);
        const error = thrownBy(() => at.sequence.append(layer, rowsOf(tokens), rowsOf(tokens)));
        expect(error instanceof OutOfPagesError, `${error}: ${needed} of ${free}`).toBe(needed > free);
        if (error) at.layers[layer] = before;
      } else if (what < 14) {
        const coded = at.layers.map(({ blocks, valueEnd }) => Math.max(blocks.length * size, valueEnd));
        const least = Math.max(...coded);
        const longest = Math.max(...at.layers.map(({ tokens }) => tokens.length));
        const length = random.integer(0, longest);
        const error = thrownBy(() => at.sequence.truncate(length));
        expect(error instanceof RangeError, `${error}: ${length} of ${least}`).toBe(length < least);
        if (!error) {
          for (const { tokens, exact } of at.layers) {
            tokens.splice(length);
            for (const i of exact.keys()) if (i >= Math.ceil(length / size)) exact.delete(i);
          }
        }
      } else if (what < 17 && held.length < 10) {
        held.push({ sequence: at.sequence.fork(), layers: at.layers.map(copyOf) });
      } else if (what > 17) {
        at.sequence.free();
        held = held.filter((other) => other !== at);
      }
      const most = Math.max(...range(0, layers).map(taken));
      if (pool.freePages !== pages - most) expect.fail(`${pool.freePages} free, ${most} taken`);
      if (n % 50 === 0) {
        // One query of 0 weighs all values alike, and a row of equal numbers loses nothing: the mean of a sequence's own tokens.
        for (const { sequence, layers } of held) {
          for (const [layer, { tokens }] of layers.entries()) {
            expect(sequence.lengthOf(layer)).toBe(tokens.length);
            if (tokens.length === 0) continue;
            const mean = tokens.reduce((sum, token) => sum + token, 0) / tokens.length;
            const [got] = pool.attentionSync(layer, rowsOf([0]), [sequence]).out.data as Float32Array;
            expect(Math.abs(got - mean)).toBeLessThanOrEqual(1e-5 * mean);
          }
        }
      }
    }
    for (const { sequence } of held) sequence.free();
    expect(pool.freePages).toBe(pages);
  });

  it('tokens that become codes at once: a fork writes to blocks of its own', () => {
    const pool = new KvPool({ pages: 6, kvHeads: 1, headDim: 4, format: 'int8-token' });
    const x = tensor(200, 1, 4);
    const a = pool.sequence();
    a.append(0, x, x);
    expect([a.pages, pool.freePages]).toEqual([3, 3]); // two blocks, and the page of the tokens to come
    const b = a.fork();
    b.append(0, x.slice(0, 0, 1), x.slice(0, 0, 1));
    expect(pool.freePages).toBe(1); // a block and a page of its own
    const alone = new KvCache({ kvHeads: 1, headDim: 4, format: 'int8-token' });
    alone.append(0, x.reshape([1, 200, 1, 4]), x.reshape([1, 200, 1, 4]));
    const q = tensor(1, 1, 4);
    const want = alone.attentionSync(0, q.reshape([1, 1, 1, 4])).out.data;
    expect(isSame(pool.attentionSync(0, q, [a]).out.data, want)).toBe(true);
    b.truncate(10);
    expect(b.length).toBe(10);
    b.append(0, x.slice(0, 10, 200), x.slice(0, 10, 200));
    expect(isSame(pool.attentionSync(0, q, [b]).out.data, want)).toBe(true);
  });

  it('layers run out one by one, and an append that fails changes nothing', () => {
    const pool = new KvPool({ pages: 5, layers: 2, kvHeads: 1, headDim: 2, format: { keyBits: 8, residual: 4 } });
    const sequence = pool.sequence();
    const x = tensor(13, 1, 2);
    for (const layer of [0, 1]) sequence.append(layer, x, x); // 3 blocks, 2 pages
    const more = tensor(8, 1, 2);
    const error = thrownBy(() => sequence.append(0, more, more));
    expectError(error, { code: 'ERR_TILEWISE_OUT_OF_PAGES', says: ['needs 2 pages', '0 left of 5'] });
    expect((error as OutOfPagesError).held).toEqual([{ sequence, pages: 5 }]);
    expect([sequence.length, sequence.pages, pool.freePages, pool.pages]).toEqual([13, 5, 0, 5]);
    expect(pool.bytes).toBeGreaterThan(0);
    sequence.free();
    expect(pool.freePages).toBe(5);
  });

  it('has pages as long as the blocks of the format', () => {
    const make = () => new KvPool({ pages: 4, kvHeads: 1, headDim: 4, format: 'int8', pageSize: 4 });
    expectError(thrownBy(make), { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['`pageSize`', '`format`'] });
  });
});
