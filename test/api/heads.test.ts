// Heads: tensors whose heads and dim are one axis, and tensors in two layouts.
// Reader: someone who brings a projection's output, or what onnxruntime and PyTorch hand out.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  blockSparseAttentionSync,
  hierarchical,
  hipSelectSync,
  mergeAttentionSync,
  neighborhood,
  S2Cache,
  s2AttentionSync,
  s2Layout,
  sparseQueryAttentionSync,
  Tensor,
} from '../../dist/index.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { tensor } from '../support/tensors.js';

const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH' as const;
const option = 'ERR_TILEWISE_INVALID_OPTION' as const;
const ones = (...dims: number[]) => Tensor.from(new Array(dims.reduce((a, b) => a * b)).fill(1)).reshape(dims);

describe('q in one layout, k and v in the other', () => {
  it.each<[number[], number[], AttentionOptions]>([
    [[1, 4, 2, 8], [1, 2, 4, 8], {}],
    [[1, 128, 32, 64], [1, 8, 128, 64], {}],
    [[1, 5, 2, 8], [1, 2, 5, 8], {}],
    [[1, 2, 4, 8], [1, 4, 2, 8], { layout: 'bhnd' }],
    [[4, 2, 8], [2, 4, 8], { cuSeqlensQ: [0, 4], cuSeqlensK: [0, 2] }],
  ])('q %o and k %o are refused, and both layouts named', (q, k, options) =>
    expectBoth(
      () => attentionSync(ones(...q), ones(...k), ones(...k), options),
      () => attention(ones(...q), ones(...k), ones(...k), options),
      {
        code: mismatch,
        type: RangeError,
        says: [
          `[${q.join(', ')}]`,
          `[${k.join(', ')}]`,
          "'bnhd'",
          "'bhnd'",
          'heads, tokens',
          'tokens, heads',
          '`pairing`',
        ],
      },
    ),
  );

  it('hipSelect() refuses them too', () =>
    expectError(
      thrownBy(() => hipSelectSync(ones(1, 4, 2, 8), ones(1, 8, 4, 8), '3k')),
      { code: mismatch, type: RangeError, says: ["'bnhd'", "'bhnd'"] },
    ));

  it('more KV heads than query heads are for `pairing` and sparseQueryAttention()', () => {
    const [q, k] = [ones(1, 4, 2, 8), ones(1, 2, 4, 8)];
    expect(attentionSync(q, k, k, { pairing: 'tile' }).out.dims).toEqual([1, 4, 4, 8]);
    expect(attentionSync(q, k, k, { pairing: 'interleave' }).out.dims).toEqual([1, 4, 4, 8]);
    expect(sparseQueryAttentionSync(q, k, k).out.dims).toEqual([1, 4, 4, 8]);
    expect(sparseQueryAttentionSync(q, k, k, { numHeads: 4 }).out.dims).toEqual([1, 4, 4, 8]);
  });
});

describe('heads and dim as one axis', () => {
  const [batch, tokens, keys, queryHeads, kvHeads] = [2, 5, 7, 4, 2];
  const q = tensor(batch, tokens, queryHeads * 8);
  const k = tensor(batch, keys, kvHeads * 8);
  const v = tensor(batch, keys, kvHeads * 6);
  const [q4, k4, v4] = [
    q.reshape([batch, tokens, queryHeads, 8]),
    k.reshape([batch, keys, kvHeads, 8]),
    v.reshape([batch, keys, kvHeads, 6]),
  ];
  const heads = { queryHeads, kvHeads };

  it('give what an axis of heads gives, in the rank of q', async () => {
    const apart = attentionSync(q4, k4, v4, { causal: true, returnLse: true });
    const merged = attentionSync(q, k, v, { causal: true, returnLse: true, ...heads });
    expect(merged.out.dims).toEqual([batch, tokens, queryHeads * 6]);
    expect(merged.out.data).toEqual(apart.out.data);
    expect(merged.lse).toMatchObject({ dims: [batch, queryHeads, tokens], data: apart.lse.data });
    expect((await attention(q, k, v, { causal: true, ...heads })).out.data).toEqual(apart.out.data);
    const wide = tensor(1, 4, 16);
    const many = wide.reshape([1, 4, 2, 8]);
    expect(attentionSync(wide, wide, wide, { queryHeads: 2 }).out.data).toEqual(
      attentionSync(many, many, many).out.data,
    );
  });

  it('may be views, in a fused qkv or backwards', () => {
    const fused = tensor(batch, tokens, 3, 16);
    const [a, b, c] = [0, 1, 2].map((i) => fused.select(2, i));
    const four = (t: Tensor) => t.contiguous().reshape([batch, tokens, 2, 8]);
    expect(attentionSync(a, b, c, { queryHeads: 2 }).out.data).toEqual(
      attentionSync(four(a), four(b), four(c)).out.data,
    );
    const reversed = new Tensor('float32', q.data, q.dims, { strides: [160, 32, -1], offset: 31 });
    const straight = reversed.contiguous().reshape([batch, tokens, queryHeads, 8]);
    expect(attentionSync(reversed, k, v, heads).out.data).toEqual(attentionSync(straight, k4, v4).out.data);
  });

  it('may be packed, without a batch or with one of 1', () => {
    const packed = { cuSeqlensQ: [0, 2, 5], cuSeqlensK: [0, 3, 7] };
    const [rows, cols, values] = [q.select(0, 0), k.select(0, 0), v.select(0, 0)];
    const apart = attentionSync(q4.select(0, 0), k4.select(0, 0), v4.select(0, 0), { ...packed, returnLse: true });
    const flat = attentionSync(rows, cols, values, { ...packed, ...heads, returnLse: true });
    expect(flat.out).toMatchObject({ dims: [tokens, queryHeads * 6], data: apart.out.data });
    expect(flat.lse).toMatchObject({ dims: [queryHeads, tokens], data: apart.lse.data });
    const one = attentionSync(q.slice(0, 0, 1), k.slice(0, 0, 1), v.slice(0, 0, 1), { ...packed, ...heads });
    expect(one.out).toMatchObject({ dims: [1, tokens, queryHeads * 6], data: apart.out.data });
  });

  it('go with `out`, extra keys and modifiers', () => {
    const extraKeys = tensor(batch, 3, kvHeads * 8);
    const extraValues = tensor(batch, 3, kvHeads * 6);
    const more = { sinks: Float32Array.of(1, 2, 3, 4), bias: tensor(queryHeads, tokens, keys) };
    const apart = attentionSync(q4, k4, v4, {
      ...more,
      extraKeys: extraKeys.reshape([batch, 3, kvHeads, 8]),
      extraValues: extraValues.reshape([batch, 3, kvHeads, 6]),
    });
    const out = Tensor.zeros('float32', [batch, tokens, queryHeads * 6]);
    const merged = attentionSync(q, k, v, { ...heads, ...more, extraKeys, extraValues, out });
    expect(merged.out).toBe(out);
    expect(out.data).toEqual(apart.out.data);
  });

  it('go with every op on rows of tokens', () => {
    const shards = { blockSize: 2, localBlocks: 1, vertStride: 2, requireFullCoverage: false };
    const lists = { indices: Tensor.from([[0], [0], [1]], 'int32'), counts: Int32Array.of(1, 1, 1) };
    const blocks = { blockQ: 2, blockK: 2, lists };
    const long = { pattern: hierarchical({ preset: '3k' }) };
    const call = (run: typeof attentionSync, options: object) => {
      const merged = run(q, k, v, { ...options, ...heads });
      expect(merged.out.dims).toEqual([batch, tokens, queryHeads * 6]);
      expect(merged.out.data).toEqual(run(q4, k4, v4, options).out.data);
    };
    call(attentionSync, long);
    call(s2AttentionSync as never, shards);
    call(blockSparseAttentionSync as never, blocks);
    call(sparseQueryAttentionSync as never, { numHeads: 8 });
    const selected = hipSelectSync(q, k, { preset: '3k', ...heads });
    expect(selected.blocks.indices.dims).toEqual(hipSelectSync(q4, k4, '3k').blocks.indices.dims);
    const reversed = attentionSync(k, q, q, { queryHeads: 2, kvHeads: 4, pairing: 'tile' });
    expect(reversed.out.dims).toEqual([batch, keys, 4 * 8]);
  });

  it('are merged as they are, parts that are packed too', () => {
    const halves = [k.slice(1, 0, 3), k.slice(1, 3)].map((part, i) =>
      attentionSync(q, part, i ? v.slice(1, 3) : v.slice(1, 0, 3), { ...heads, returnLse: true }),
    );
    const { out, lse } = mergeAttentionSync(halves);
    const four = halves.map((part) => ({ ...part, out: part.out.reshape([batch, tokens, queryHeads, 6]) }));
    expect(out).toMatchObject({ dims: [batch, tokens, queryHeads * 6], data: mergeAttentionSync(four).out.data });
    expect(lse.dims).toEqual([batch, queryHeads, tokens]);
    const into = Tensor.zeros('float32', out.dims);
    expect(mergeAttentionSync(halves, { out: into }).out).toBe(into);
    expect(into.data).toEqual(out.data);
    const packed = halves.map((part) => ({ out: part.out.select(0, 1), lse: part.lse.select(0, 1) }));
    expect(mergeAttentionSync(packed).out).toMatchObject({
      dims: [tokens, queryHeads * 6],
      data: out.slice(0, 1).data,
    });
  });

  it('go with pages, which have an axis of heads', () => {
    const pages = { table: [[1], [0]], pageSize: keys };
    const turned = (x: Tensor) =>
      new Tensor(
        'float32',
        Float32Array.of(
          ...(x.select(0, 1).contiguous().data as Float32Array),
          ...(x.select(0, 0).contiguous().data as Float32Array),
        ),
        x.dims,
      );
    const onPages = attentionSync(q, turned(k4), turned(v4), { queryHeads, pages, keyLengths: [keys, keys] });
    expect(onPages.out).toMatchObject({
      dims: [batch, tokens, queryHeads * 6],
      data: attentionSync(q, k, v, heads).out.data,
    });
  });

  it.each<[string, unknown[], object, string, typeof TypeError | typeof RangeError, string[]]>([
    ['an axis of heads as well', [q4, k4, v4], heads, mismatch, RangeError, ['`q`', 'heads * dim', '[2, 5, 4, 8]']],
    ['k with such an axis', [q, k4, v4], heads, mismatch, RangeError, ['`k`', '`kvHeads`', '[2, 7, 2, 8]']],
    ['rows without a batch that are not packed', [q.select(0, 0), k, v], heads, mismatch, RangeError, ['[5, 32]']],
    ['heads that do not divide', [q, k, v], { queryHeads: 3, kvHeads: 2 }, mismatch, RangeError, ['`queryHeads` 3']],
    ['KV heads that do not divide', [q, k, v], { queryHeads: 4, kvHeads: 5 }, mismatch, RangeError, ['`kvHeads` 5']],
    ['heads that do not fit', [q, k, v], { queryHeads: 4 }, mismatch, RangeError, ['q and k the dim']],
    ['KV heads alone', [q, k, v], { kvHeads: 2 }, option, TypeError, ['`kvHeads`', '`queryHeads`']],
    ['no number', [q, k, v], { queryHeads: '4' }, option, TypeError, ["'4'"]],
    ['zero heads', [q, k, v], { queryHeads: 0 }, option, RangeError, ['0']],
    ['heads first', [q, k, v], { ...heads, layout: 'bhnd' }, option, TypeError, ['`queryHeads`', "'bhnd'"]],
    ['a grid', [q, k, v], { ...heads, pattern: neighborhood({ kernelSize: 3 }) }, option, TypeError, ['neighborhood']],
    ['an `out` with heads', [q, k, v], { ...heads, out: tensor(2, 5, 4, 6) }, mismatch, RangeError, ['[2, 5, 24]']],
    ['more KV heads unasked', [k, q, q], { queryHeads: 2, kvHeads: 4 }, mismatch, RangeError, ['`pairing`']],
  ])('%s: refused', (_, [a, b, c], options, code, type, says) =>
    expectBoth(
      () => attentionSync(a as Tensor, b as Tensor, c as Tensor, options),
      () => attention(a as Tensor, b as Tensor, c as Tensor, options),
      { code: code as typeof option, type, says },
    ),
  );

  it('other names for it lead here', () => {
    for (const name of ['numHeads', 'num_heads', 'heads', 'query_heads']) {
      expectError(
        thrownBy(() => attentionSync(q, k, v, { [name]: 4 } as never)),
        { code: 'ERR_TILEWISE_UNKNOWN_OPTION', says: ['queryHeads'] },
      );
    }
  });
});

describe('an S2Cache', () => {
  const layout = s2Layout({ blockSize: 4, localBlocks: 2, vertStride: 2, numHeads: 4, numKvHeads: 2 });
  const [q, k, v] = [tensor(2, 3, 4, 8), tensor(2, 30, 2, 8), tensor(2, 30, 2, 6)];
  const merged = (t: Tensor) => t.reshape([t.dims[0], t.dims[1], t.dims[2] * t.dims[3]]);
  const apart = new S2Cache(layout);
  apart.append(k, v);
  const cache = new S2Cache(layout);
  cache.append(merged(k), merged(v), { kvHeads: 2 });
  const [extraKeys, extraValues] = [tensor(2, 3, 2, 8), tensor(2, 3, 2, 6)];

  it('takes heads and dim as one axis, and gives out so', async () => {
    const expected = apart.attentionSync(q, { returnLse: true, extraKeys, extraValues });
    const options = { queryHeads: 4, returnLse: true, extraKeys: merged(extraKeys), extraValues: merged(extraValues) };
    for (const { out, lse } of [
      cache.attentionSync(merged(q), { ...options, returnLse: true }),
      await cache.attention(merged(q), { ...options, returnLse: true }),
    ]) {
      expect(out).toMatchObject({ dims: [2, 3, 24], data: expected.out.data });
      expect(lse).toMatchObject({ dims: [2, 4, 3], data: expected.lse.data });
    }
    expect(cache.attentionSync(q).out).toMatchObject({ dims: [2, 3, 4, 6], data: apart.attentionSync(q).out.data });
  });

  it.each<[string, () => unknown, typeof option | typeof mismatch | 'ERR_TILEWISE_UNKNOWN_OPTION', string[]]>([
    ['q without an axis of heads', () => cache.attentionSync(merged(q)), mismatch, ['`q`', '[2, 3, 32]']],
    ['another number of heads', () => cache.attentionSync(merged(q), { queryHeads: 8 }), mismatch, ['4 heads']],
    ['half a head', () => cache.attentionSync(merged(q), { queryHeads: 0.5 }), option, ['`queryHeads`', '0.5']],
    ['k that heads do not divide', () => cache.append(merged(k), merged(v), { kvHeads: 5 }), mismatch, ['`kvHeads` 5']],
    [
      'another option',
      () => cache.append(k, v, { queryHeads: 4 } as never),
      'ERR_TILEWISE_UNKNOWN_OPTION',
      ['kvHeads'],
    ],
    [
      'heads first',
      () => new S2Cache(layout, 0, { layout: 'bhnd' }).append(merged(k), merged(v), { kvHeads: 2 }),
      option,
      ['`kvHeads`', "'bhnd'"],
    ],
  ])('%s', (_, call, code, says) => {
    const error = thrownBy(call) as Error;
    expectError(error, { code: code as typeof option, type: error.constructor as typeof TypeError, says });
  });
});
