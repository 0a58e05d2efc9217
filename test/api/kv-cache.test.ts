// KvCache as an object: what may happen while a call reads it, and what it gives back. kv-arguments.test.ts has what it refuses.
// Reader: someone who keeps caches for many users.

import { describe, expect, it } from 'vitest';
import { attentionSync, claLayerMap, KvCache, Tensor } from '../../dist/index.js';
import { filled, shape } from '../support/caches.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { isSame, tensor } from '../support/tensors.js';

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
    const changes = {
      'append()': () => cache.append(0, row, row),
      'truncate()': () => cache.truncate(0),
      'reset()': () => cache.reset(),
      'dispose()': () => cache.dispose(),
    };
    for (const [name, change] of Object.entries(changes)) {
      expectError(thrownBy(change), { code: 'ERR_TILEWISE_OVERLAP', says: [`${name} must wait`] });
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
