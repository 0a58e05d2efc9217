// KvCache as an object: what it refuses, what may happen while a call reads it, and what it gives back.
// Reader: someone who keeps caches for many users.

import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  claLayerMap,
  type ErrorCode,
  KvCache,
  type KvCacheOptions,
  KvPool,
  s2Layout,
  Tensor,
} from '../../dist/index.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { isSame, tensor } from '../support/tensors.js';

const shape = { kvHeads: 2, headDim: 8 };

/** A cache with so many tokens of one layer. */
function filled(tokens: number, options: Partial<KvCacheOptions> = {}): KvCache {
  const cache = new KvCache({ ...shape, ...options });
  cache.append(0, tensor(1, tokens, 2, 8), tensor(1, tokens, 2, 8));
  return cache;
}

it('truncate() keeps as many tokens of each sequence as it is told', () => {
  const cache = new KvCache({ ...shape, layers: 2, batch: 2 });
  const rows = tensor(2, 300, 2, 8);
  for (const layer of [0, 1]) cache.append(layer, rows, rows);
  cache.truncate([260, 3]);
  expect([0, 1].map((entry) => cache.lengthOf(1, entry))).toEqual([260, 3]);
  expect(Array.from(cache.keys(1).select(0, 1).slice(0, 0, 4).contiguous().data)).toEqual([
    ...Array.from(rows.select(0, 1).slice(0, 0, 3).contiguous().data),
    ...new Array<number>(16).fill(0),
  ]);
});

describe('arguments', () => {
  const row = tensor(1, 1, 2, 8);
  const q = tensor(1, 1, 4, 8);
  const byRank = { rotary: {}, recentTokens: 2, sinkTokens: 1, positions: 'cache' } as const;
  const refused: [string, () => unknown, ErrorCode, string][] = [
    ['no sizes', () => new KvCache({} as KvCacheOptions), 'ERR_TILEWISE_INVALID_OPTION', 'headDim'],
    ['another name', () => new KvCache({ ...shape, heads: 2 } as never), 'ERR_TILEWISE_UNKNOWN_OPTION', 'heads'],
    ['kvHeads 0', () => new KvCache({ ...shape, kvHeads: 0 }), 'ERR_TILEWISE_INVALID_OPTION', 'kvHeads'],
    ['headDim 1000', () => new KvCache({ ...shape, headDim: 1000 }), 'ERR_TILEWISE_INVALID_OPTION', 'headDim'],
    ['type int32', () => new KvCache({ ...shape, type: 'int32' as never }), 'ERR_TILEWISE_INVALID_OPTION', 'type'],
    ['sinks alone', () => new KvCache({ ...shape, sinkTokens: 4 }), 'ERR_TILEWISE_INVALID_OPTION', 'recentTokens'],
    [
      'no token that is seen',
      () => new KvCache({ ...shape, recentTokens: 0 }),
      'ERR_TILEWISE_INVALID_OPTION',
      'recentTokens',
    ],
    [
      'capacity above maxTokens',
      () => new KvCache({ ...shape, maxTokens: 4, capacity: 5 }),
      'ERR_TILEWISE_INVALID_OPTION',
      'capacity',
    ],
    [
      'a map to later layers',
      () => new KvCache({ ...shape, layerMap: [1, 1] }),
      'ERR_TILEWISE_INVALID_OPTION',
      'layerMap',
    ],
    [
      'a map to layers that read others',
      () => new KvCache({ ...shape, layerMap: [0, 0, 1] }),
      'ERR_TILEWISE_INVALID_OPTION',
      'layerMap',
    ],
    [
      'a map of other layers',
      () => new KvCache({ ...shape, layers: 3, layerMap: [0, 0] }),
      'ERR_TILEWISE_INVALID_OPTION',
      'layerMap',
    ],
    ['a layer that is not there', () => filled(1).append(1, row, row), 'ERR_TILEWISE_INVALID_OPTION', 'layer'],
    [
      'a layer that reads another',
      () => new KvCache({ ...shape, layerMap: [0, 0] }).append(1, row, row),
      'ERR_TILEWISE_INVALID_OPTION',
      'layerMap',
    ],
    ['other heads', () => filled(1).append(0, tensor(1, 1, 3, 8), row), 'ERR_TILEWISE_SHAPE_MISMATCH', 'k'],
    ['another dim', () => filled(1).append(0, row, tensor(1, 1, 2, 9)), 'ERR_TILEWISE_SHAPE_MISMATCH', 'v'],
    [
      'another batch',
      () => filled(1).append(0, tensor(2, 1, 2, 8), tensor(2, 1, 2, 8)),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'k',
    ],
    ['other tokens', () => filled(1).append(0, tensor(1, 2, 2, 8), row), 'ERR_TILEWISE_SHAPE_MISMATCH', 'v'],
    [
      'two types',
      () => filled(1).append(0, row, { type: 'float16', data: new Uint16Array(16), dims: [1, 1, 2, 8] }),
      'ERR_TILEWISE_DTYPE',
      'v',
    ],
    [
      'too many lengths',
      () => filled(1).append(0, row, row, { lengths: [1, 1] }),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'lengths',
    ],
    [
      'a length beyond the rows',
      () => filled(1).append(0, row, row, { lengths: [2] }),
      'ERR_TILEWISE_INVALID_OPTION',
      'lengths',
    ],
    [
      'an option of append()',
      () => filled(1).append(0, row, row, { length: [1] } as never),
      'ERR_TILEWISE_UNKNOWN_OPTION',
      'length',
    ],
    ['more than maxTokens', () => filled(3, { maxTokens: 3 }).append(0, row, row), 'ERR_TILEWISE_SHAPE_MISMATCH', '3'],
    [
      'more for a read-only cache',
      () => filled(3, { readOnly: true }).append(0, row, row),
      'ERR_TILEWISE_INVALID_OPTION',
      'readOnly',
    ],
    ['attention over nothing', () => new KvCache(shape).attentionSync(0, q), 'ERR_TILEWISE_SHAPE_MISMATCH', 'append()'],
    [
      'more queries than tokens',
      () => filled(3).attentionSync(0, tensor(1, 4, 4, 8)),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'q',
    ],
    [
      'queries of another dim',
      () => filled(3).attentionSync(0, tensor(1, 1, 4, 9)),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'q',
    ],
    [
      'heads that do not divide',
      () => filled(3).attentionSync(0, tensor(1, 1, 3, 8)),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      '3',
    ],
    [
      'pages of its own',
      () => filled(3).attentionSync(0, q, { pages: {} } as never),
      'ERR_TILEWISE_UNKNOWN_OPTION',
      'pages',
    ],
    [
      'a window beside recentTokens',
      () => filled(3, { recentTokens: 2 }).attentionSync(0, q, { window: 4 } as never),
      'ERR_TILEWISE_INVALID_OPTION',
      'window',
    ],
    [
      'all tokens beside recentTokens',
      () => filled(3, { recentTokens: 2 }).attentionSync(0, q, { causal: false }),
      'ERR_TILEWISE_INVALID_OPTION',
      'causal',
    ],
    [
      'rotary that rotate() refuses',
      () => new KvCache({ ...shape, rotary: { dims: 3 } }),
      'ERR_TILEWISE_INVALID_OPTION',
      'dims',
    ],
    [
      'another name in rotary',
      () => new KvCache({ ...shape, rotary: { base: 10 } as never }),
      'ERR_TILEWISE_UNKNOWN_OPTION',
      'base',
    ],
    [
      'ranks without rotary',
      () => new KvCache({ ...shape, recentTokens: 2, positions: 'cache' }),
      'ERR_TILEWISE_INVALID_OPTION',
      'rotary',
    ],
    [
      'ranks of all tokens',
      () => new KvCache({ ...shape, rotary: {}, positions: 'cache' }),
      'ERR_TILEWISE_INVALID_OPTION',
      'recentTokens',
    ],
    [
      'other positions',
      () => new KvCache({ ...shape, rotary: {}, positions: 'rank' as never }),
      'ERR_TILEWISE_INVALID_OPTION',
      'positions',
    ],
    [
      'two queries by rank',
      () => filled(5, byRank).attentionSync(0, tensor(1, 2, 4, 8)),
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'one query',
    ],
    [
      'extra keys by rank',
      () => filled(5, byRank).attentionSync(0, q, { extraKeys: row, extraValues: row }),
      'ERR_TILEWISE_INVALID_OPTION',
      'extraKeys',
    ],
    [
      'ALiBi by rank',
      () => filled(5, byRank).attentionSync(0, q, { alibiSlopes: Float32Array.of(1, 1, 1, 1) }),
      'ERR_TILEWISE_INVALID_OPTION',
      'alibiSlopes',
    ],
    [
      'lengths that differ, by rank',
      () => {
        const cache = new KvCache({ ...shape, ...byRank });
        cache.append(0, tensor(2, 5, 2, 8), tensor(2, 5, 2, 8), { lengths: [5, 4] });
        cache.attentionSync(0, tensor(2, 1, 4, 8));
      },
      'ERR_TILEWISE_SHAPE_MISMATCH',
      'same length',
    ],
    ['truncate() beyond the end', () => filled(3).truncate(4), 'ERR_TILEWISE_INVALID_OPTION', 'length'],
    ['truncate() of one beyond its end', () => filled(3).truncate([4]), 'ERR_TILEWISE_INVALID_OPTION', 'length[0]'],
    ['truncate() of two of one', () => filled(3).truncate([1, 1]), 'ERR_TILEWISE_SHAPE_MISMATCH', 'length'],
    [
      'lengthOf() of an entry that is not there',
      () => filled(3).lengthOf(0, 1),
      'ERR_TILEWISE_INVALID_OPTION',
      'entry',
    ],
    ['CLA by 0', () => claLayerMap({ layers: 4, factor: 0 }), 'ERR_TILEWISE_INVALID_OPTION', 'factor'],
  ];

  it.each(refused)('%s', (_, run, code, named) => expectError(thrownBy(run), { code, says: [named] }));

  const ofBoth = { ...shape, valueDim: 8, layout: 'bnhd', type: 'float32', device: 'cpu', layers: 1, rotary: {} };
  const ofCaches = { ...ofBoth, ...byRank, batch: 1, capacity: 1, maxTokens: 9, layerMap: [0], readOnly: false };
  const ofPools = { ...ofBoth, pages: 1, pageSize: 4 };
  const ofLayouts = { blockSize: 4, localBlocks: 2, vertStride: 2, numHeads: 4, numKvHeads: 2 };
  const made: readonly [string, object, (options: never) => unknown][] = [
    ['KvCache', ofCaches, (options) => new KvCache(options)],
    ['KvPool', ofPools, (options) => new KvPool(options)],
    ['s2Layout', ofLayouts, (options) => s2Layout(options)],
  ];
  const nulls = made.flatMap(([what, options, make]) =>
    Object.keys(options).map((name) => [what, name, () => make({ ...options, [name]: null } as never)] as const),
  );
  it.each(nulls)('null of %s as %s', (_, name, run) =>
    expectError(thrownBy(run), { code: 'ERR_TILEWISE_INVALID_OPTION', type: TypeError, says: [`\`${name}\` must be`] }),
  );
});

describe('the object', () => {
  it('shares keys and values between layers, and holds a part of the memory', () => {
    const layerMap = claLayerMap({ layers: 4, factor: 2 });
    const [shared, whole] = [new KvCache({ ...shape, layerMap }), new KvCache({ ...shape, layers: 4 })];
    const [k, v, q] = [tensor(1, 5, 2, 8), tensor(1, 5, 2, 8), tensor(1, 2, 4, 8)];
    for (const layer of [0, 1, 2, 3]) whole.append(layer, k, v);
    for (const layer of [0, 2]) shared.append(layer, k, v);
    expect(shared.bytes * 2).toBe(whole.bytes);
    expect(shared.length).toBe(5);
    for (const layer of [0, 1, 2, 3]) {
      expect(isSame(shared.attentionSync(layer, q).out.data, whole.attentionSync(layer, q).out.data)).toBe(true);
    }
  });

  it('for cross-attention is filled once, and every query sees all of it', () => {
    const cache = filled(9, { readOnly: true });
    const q = tensor(1, 20, 4, 8);
    const open = filled(9).attentionSync(0, q, { causal: false });
    expect(isSame(cache.attentionSync(0, q).out.data, open.out.data)).toBe(true);
    cache.reset();
    cache.append(0, tensor(1, 1, 2, 8), tensor(1, 1, 2, 8));
    expect(cache.length).toBe(1);
  });

  it('while a call reads it, only that layer waits', async () => {
    const cache = filled(300, { layers: 2 });
    const [row, q] = [tensor(1, 1, 2, 8), tensor(1, 1, 4, 8)];
    const before = cache.attentionSync(0, q);
    const fork = cache.fork();
    const flight = cache.attention(0, q);
    for (const change of [
      () => cache.append(0, row, row),
      () => cache.truncate(0),
      () => cache.reset(),
      () => cache.dispose(),
    ]) {
      expectError(thrownBy(change), { code: 'ERR_TILEWISE_OVERLAP', says: ['wait'] });
    }
    cache.append(1, tensor(1, 300, 2, 8), tensor(1, 300, 2, 8));
    // The fork lets go of what the call reads, and others write there.
    fork.dispose();
    const other = cache.fork();
    other.append(1, row, row);
    expect(isSame((await flight).out.data, before.out.data)).toBe(true);
    cache.append(0, row, row);
    expect(cache.lengthOf(0)).toBe(301);
  });

  it('takes queries with heads and dim as one axis, biases and masks of as many keys as there are tokens', () => {
    const cache = new KvCache({ ...shape, batch: 2, type: 'float32' });
    cache.append(0, tensor(2, 300, 2, 8), tensor(2, 300, 2, 8), { lengths: [300, 40] });
    const q = tensor(2, 3, 4, 8);
    const bias = tensor(4, 3, 300);
    const { out } = cache.attentionSync(0, q, { bias });
    const merged = cache.attentionSync(0, q.reshape([2, 3, 32]), { queryHeads: 4, bias });
    expect(merged.out.dims).toEqual([2, 3, 32]);
    expect(isSame(merged.out.data, out.data)).toBe(true);
    const keyLengths = [300, 40];
    const [k, v] = [cache.keys(0), cache.values(0)];
    const dense = attentionSync(q, k, v, { causal: true, bias, keyLengths });
    expect(isSame(out.data, dense.out.data)).toBe(true);
    const nothing = new KvCache({ ...shape, batch: 1, type: 'float32' }).attentionSync(0, tensor(1, 1, 4, 8), {
      causal: false,
    });
    expect(Math.max(...(nothing.out.data as Float32Array))).toBe(0);
  });

  it('its promise gives the bits of its synchronous form', async () => {
    const cache = filled(70);
    const q = tensor(1, 3, 4, 8);
    const { out, lse } = await cache.attention(0, q, { returnLse: true });
    const sync = cache.attentionSync(0, q, { returnLse: true });
    expect(isSame(out.data, sync.out.data)).toBe(true);
    expect(isSame(lse.data, sync.lse.data)).toBe(true);
  });

  it('a failed append changes nothing', () => {
    const cache = filled(10);
    const fork = cache.fork();
    const nan = new Tensor('float32', new Float32Array(16), [1, 1, 2, 8]);
    const allocate = globalThis.SharedArrayBuffer;
    const grow = allocate.prototype.grow;
    allocate.prototype.grow = () => {
      throw new RangeError('no memory');
    };
    try {
      const many = tensor(1, 5000, 2, 8);
      const error = thrownBy(() => fork.append(0, many, many));
      expectError(error, { code: 'ERR_TILEWISE_OUT_OF_MEMORY', says: ['no memory'] });
    } finally {
      allocate.prototype.grow = grow;
    }
    expect([cache.length, fork.length, fork.bytes]).toEqual([10, 10, cache.bytes]);
    fork.append(0, nan, nan);
    expect([cache.length, fork.length]).toEqual([10, 11]);
  });

  it('cannot be used once it was disposed of; its forks can', () => {
    const cache = filled(10);
    const fork = cache.fork();
    cache.dispose();
    cache.dispose();
    for (const use of [
      () => cache.fork(),
      () => cache.append(0, tensor(1, 1, 2, 8), tensor(1, 1, 2, 8)),
      () => cache.keys(0),
      () => cache.truncate(0),
    ]) {
      expectError(thrownBy(use), { code: 'ERR_TILEWISE_DISPOSED', says: ['disposed'] });
    }
    expect(fork.length).toBe(10);
  });
});
