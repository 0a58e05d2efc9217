// Arguments of KvCache that are refused, each with its code. Reader: someone who adds an option of caches.

import { describe, it } from 'vitest';
import { claLayerMap, type ErrorCode, KvCache, type KvCacheOptions, KvPool, s2Layout } from '../../dist/index.js';
import { filled, shape } from '../support/caches.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { tensor } from '../support/tensors.js';

describe('arguments', () => {
  const row = tensor(1, 1, 2, 8);
  const q = tensor(1, 1, 4, 8);
  const byRank = { rotary: {}, recentTokens: 2, sinkTokens: 1, positions: 'cache' } as const;
  const refused: [string, () => unknown, ErrorCode, string][] = [
    ['no sizes', () => new KvCache({} as KvCacheOptions), 'ERR_TILEWISE_INVALID_OPTION', 'headDim'],
    ['another name', () => new KvCache({ ...shape, heads: 2 } as never), 'ERR_TILEWISE_UNKNOWN_OPTION', 'heads'],
    ['kvHeads 0', () => new KvCache({ ...shape, kvHeads: 0 }), 'ERR_TILEWISE_INVALID_OPTION', 'kvHeads'],
    ['headDim 5000', () => new KvCache({ ...shape, headDim: 5000 }), 'ERR_TILEWISE_INVALID_OPTION', 'headDim'],
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
      'more layers than lists are made for',
      () => new KvCache({ ...shape, layers: 2 ** 29 }),
      'ERR_TILEWISE_INVALID_OPTION',
      'layers',
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
