// Keys and values of 16 bits under float32 queries: read as if they had been converted, which is exact.
// Reader: someone with a small cache and a model that computes in float32.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  blockSparseAttentionSync,
  devices,
  explain,
  full,
  hipAttentionSync,
  hipSelectSync,
  type Location,
  neighborhoodAttentionSync,
  S2Cache,
  s2AttentionSync,
  s2Layout,
  sparseQueryAttentionSync,
  Tensor,
} from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { tensor } from '../support/tensors.js';

const [tokens, heads, kvHeads] = [70, 4, 2];

/** Keys and values of a call, the extra ones and a pool of pages. */
interface Keys {
  readonly k: Tensor;
  readonly v: Tensor;
  readonly extraKeys: Tensor;
  readonly extraValues: Tensor;
  readonly pool: Tensor;
}
const narrow = (type: 'float16' | 'bfloat16'): Keys => ({
  k: tensor(1, tokens, kvHeads, 24).astype(type),
  v: tensor(1, tokens, kvHeads, 20).astype(type),
  extraKeys: tensor(1, 5, kvHeads, 24).astype(type),
  extraValues: tensor(1, 5, kvHeads, 20).astype(type),
  pool: tensor(5, 16, kvHeads, 24).astype(type),
});
const each = (keys: Keys, change: (t: Tensor, name: string) => Tensor): Keys =>
  Object.fromEntries(Object.entries(keys).map(([name, t]) => [name, change(t, name)])) as unknown as Keys;

/** A view in the place of the tensor. */
function turned(t: Tensor, order: readonly number[]): Tensor {
  using whole = t;
  return whole.transpose(order);
}

const bytesOn = (device: Location): number | undefined => devices().find(({ name }) => name === device)?.bytesInUse;

/** The same tensor with its dims two elements apart, so that no loop reads whole vectors. */
function spread(t: Tensor): Tensor {
  const data = new Uint16Array(2 * t.data.length);
  for (const [i, x] of (t.data as Uint16Array).entries()) data[2 * i] = x;
  const strides = t.strides.map((stride) => 2 * stride);
  return new Tensor(t.type, data, t.dims, { strides });
}

const query = (queries: number) => tensor(1, queries, heads, 24);
const shards = { blockSize: 8, localBlocks: 2, vertStride: 3 };
const mask = new Tensor(
  'bool',
  Uint8Array.from({ length: tokens }, (_, i) => (i % 3 ? 1 : 0)),
  [tokens],
);
const lists = { counts: Int32Array.of(1, 2), indices: new Tensor('int32', Int32Array.of(0, 0, 1, 0), [2, 2]) };
const hip = { sink: 4, window: 16, stages: [{ chunk: 4, keep: 16, blockQ: 8, strideQ: 2 }] };

const attend = (queries: number, options: AttentionOptions) => (keys: Keys, device: { device: Location }) =>
  attentionSync(query(queries), keys.k, keys.v, { returnLse: true, ...options, ...device });
const calls: Record<string, (keys: Keys, device: { device: Location }) => { out: Tensor; lse?: Tensor }> = {
  'many queries': attend(tokens, { causal: true }),
  'one query': attend(1, {}),
  'few queries with sinks': attend(2, { causal: true, sinks: [0, 1, 2, 3] }),
  'a window': attend(tokens, { window: [9, 0], sinkTokens: 2 }),
  'a mask': attend(tokens, { mask }),
  'a mask of one query': attend(1, { mask }),
  'extra keys': (keys, device) =>
    attentionSync(query(9), keys.k, keys.v, { extraKeys: keys.extraKeys, extraValues: keys.extraValues, ...device }),
  pages: ({ pool }, device) =>
    attentionSync(query(1), pool, pool, {
      pages: { table: [[2, 0, 4, 1]], pageSize: 16 },
      keyLengths: [61],
      ...device,
    }),
  'packed sequences': ({ k, v }, device) => {
    const cuSeqlensK = [0, 30, tokens];
    return attentionSync(query(40), k, v, { causal: true, cuSeqlensQ: [0, 1, 40], cuSeqlensK, ...device });
  },
  'a neighborhood': ({ k, v }, device) => neighborhoodAttentionSync(query(tokens), k, v, { kernelSize: 7, ...device }),
  shards: ({ k, v }, device) => s2AttentionSync(query(tokens), k, v, { ...shards, ...device }),
  'lists of blocks': ({ k, v }, device) =>
    blockSparseAttentionSync(query(64), k, v, { blockQ: 32, blockK: 32, lists, ...device }),
  'a selection': ({ k, v }, device) => hipAttentionSync(query(tokens), k, v, { ...hip, ...device }),
  'fewer query heads': ({ k, v }, device) => sparseQueryAttentionSync(tensor(1, 9, 1, 24), k, v, device),
  'an S2Cache': ({ k, v }, device) => {
    const cache = new S2Cache(s2Layout({ ...shards, numHeads: heads, numKvHeads: kvHeads }));
    cache.append(k, v);
    return cache.attentionSync(query(3), device);
  },
};

onEveryBackend(({ device }) => {
  describe.each(['float16', 'bfloat16'] as const)('%s', (type) => {
    const keys = narrow(type);
    const widened = each(keys, (t) => t.astype('float32'));
    it.each(Object.entries(calls))('%s', (_, call) => {
      const expected = call(widened, { device });
      for (const given of [keys, each(keys, spread)]) {
        const { out, lse } = call(given, { device });
        expect(out.type).toBe('float32');
        expect(out).toMatchObject({ dims: expected.out.dims, data: expected.out.data });
        expect(lse?.data).toEqual(expected.lse?.data);
      }
    });

    it('the same keys are selected', () => {
      const listsOf = (k: Tensor) => hipSelectSync(query(tokens), k, { ...hip, device }).blocks.indices.data;
      expect(listsOf(keys.k)).toEqual(listsOf(widened.k));
      expect(listsOf(keys.k)).toHaveLength(2 * 9 * 4);
      if (device === 'cpu') return;
      using there = keys.k.toSync(device);
      expect(listsOf(there)).toEqual(listsOf(widened.k));
    });

    if (device === 'cpu') return;
    const order = [0, 2, 1, 3];
    const places: [string, (t: Tensor, name: string) => Tensor][] = [
      ['there', (t) => t.toSync(device)],
      ['there in another order', (t) => turned(t.transpose(order).toSync(device), order)],
      ['keys there, values here', (t, name) => (/^v|Values/.test(name) ? t : t.toSync(device))],
      ['keys here, values there', (t, name) => (/^v|Values/.test(name) ? t.toSync(device) : t)],
    ];
    describe.each(places)('%s', (_, move) => {
      it.each(Object.entries(calls).filter(([name]) => name !== 'an S2Cache'))('%s', (_, call) => {
        const expected = call(widened, { device });
        const before = bytesOn(device);
        const given = each(keys, move);
        const held = bytesOn(device);
        const { out, lse } = call(given, { device });
        expect(out.type).toBe('float32');
        expect(out).toMatchObject({ dims: expected.out.dims, data: expected.out.data });
        expect(lse?.data).toEqual(expected.lse?.data);
        // Copies of another type are the call's own.
        expect(bytesOn(device)).toBe(held);
        for (const t of Object.values(given)) if (t.location === device) t.dispose();
        expect(bytesOn(device)).toBe(before);
      });
    });

    it('queries there: results are there, float32', () => {
      const expected = attentionSync(query(9), widened.k, widened.v, { causal: true, device });
      using q = query(9).toSync(device);
      using k = keys.k.toSync(device);
      using v = keys.v.toSync(device);
      using out = attentionSync(q, k, v, { causal: true }).out;
      expect([out.type, out.location]).toEqual(['float32', device]);
      expect(out.toSync('cpu').data).toEqual(expected.out.data);
    });
  });
});

describe('other types', () => {
  const [float, half, brain] = (['float32', 'float16', 'bfloat16'] as const).map((type) =>
    tensor(1, 4, 2, 8).astype(type),
  );
  it.each([
    ['v that is not of the type of k', [float, half, brain]],
    ['float32 keys under float16 queries', [half, float, float]],
    ['bfloat16 keys under float16 queries', [half, brain, brain]],
  ] as const)('%s', (_, [q, k, v]) =>
    expectBoth(
      () => attentionSync(q, k, v),
      () => attention(q, k, v),
      { code: 'ERR_TILEWISE_DTYPE', type: TypeError, says: ['`q`', '`k`', '`v`', q.type, k.type, v.type] },
    ),
  );
  it('keys of a selection', () =>
    expectError(
      thrownBy(() => hipSelectSync(half, float, '3k')),
      { code: 'ERR_TILEWISE_DTYPE', type: TypeError, says: ['`q`', '`k`', 'float16', 'float32'] },
    ));
  it('extra keys have the type of the others', () =>
    expectError(
      thrownBy(() => attentionSync(float, half, half, { extraKeys: float, extraValues: float })),
      { code: 'ERR_TILEWISE_DTYPE', type: TypeError, says: ['`extraKeys`', 'float16', 'float32'] },
    ));
  it('`out` has that of the queries', () =>
    expectError(
      thrownBy(() => attentionSync(float, half, half, { out: half })),
      { code: 'ERR_TILEWISE_DTYPE', type: TypeError, says: ['`out`', 'float16', 'float32'] },
    ));

  it('explain() counts the bytes of both', () => {
    const shape = { queryHeads: 4, kvHeads: 2, queries: 1, keys: 1000, headDim: 64 };
    const { bytes } = explain(full(), { ...shape, keyDtype: 'bfloat16' });
    expect(bytes).toBe(2 * 4 * 64 * 4 + 1000 * 2 * 2 * 64 * 2);
    expect(String(explain(full(), { ...shape, keyDtype: 'bfloat16' }))).toContain('float32/bfloat16');
    expectError(
      thrownBy(() => explain(full(), { ...shape, dtype: 'float16', keyDtype: 'float32' })),
      { code: 'ERR_TILEWISE_INVALID_OPTION', type: TypeError, says: ['`keyDtype`', "'float16'", "'float32'"] },
    );
  });
});
