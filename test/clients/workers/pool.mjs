// A pool of four workers: each task is a batch entry, read from memory that all share and written into it.
// Reader: someone who shares work out among workers. The worker is attend.mjs.

import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import Piscina from 'piscina';
import { attentionSync, Tensor } from 'tilewise';

const [batch, tokens, heads, kvHeads, dim] = [12, 150, 4, 2, 32];

/** Numbers between -1 and 1 in memory that all threads share. */
function shared(seed, count) {
  const data = new Float32Array(new SharedArrayBuffer(4 * batch * tokens * count * dim));
  for (let i = 0; i < data.length; ++i) data[i] = Math.sin(seed + 1.7 * i);
  return { type: 'float32', data, dims: [batch, tokens, count, dim] };
}

const q = shared(1, heads);
const [k, v] = [2, 3].map((seed) => shared(seed, kvHeads));

describe('four workers', () => {
  const pool = new Piscina({
    filename: fileURLToPath(new URL('attend.mjs', import.meta.url)),
    minThreads: 4,
    maxThreads: 4,
  });
  after(() => pool.destroy());

  for (const [name, options] of [
    ['dense', {}],
    ['causal', { causal: true }],
    ['a window', { window: [20, 0], sinkTokens: 2 }],
  ]) {
    it(`${name}: the bits of one thread`, async () => {
      const out = { ...q, data: new Float32Array(new SharedArrayBuffer(q.data.byteLength)) };
      const threads = await Promise.all(
        Array.from({ length: batch }, (_, entry) => pool.run({ q, k, v, out, entry, options })),
      );
      assert.ok(new Set(threads).size > 1, 'one worker did everything');
      const [all, keys, values] = [q, k, v].map(({ type, data, dims }) => new Tensor(type, data, dims));
      const { out: expected } = attentionSync(all, keys, values, options);
      assert.deepEqual(out.data, Float32Array.from(expected.data));
    });
  }
});
