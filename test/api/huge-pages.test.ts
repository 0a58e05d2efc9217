// Huge pages: which memory of caches asks for them, and what that may cost. Reader: someone who changed what caches keep.

import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { KvCache, KvPool, Tensor } from '../../dist/index.js';

const [kvHeads, headDim] = [8, 64];
/** Until the last count: what is collected meanwhile would be missing in it. */
const kept: unknown[] = [];
const row = new Tensor('float32', new Float32Array(kvHeads * headDim).fill(1), [1, 1, kvHeads, headDim]);
const bytesOf = (tokens: number) => 2 * tokens * kvHeads * headDim * Float32Array.BYTES_PER_ELEMENT;

/** Bytes of this process's addresses for which huge pages were asked, and of the memory behind them. */
function hugeBytes(): { addresses: number; memory: number } {
  const sum = { addresses: 0, memory: 0 };
  for (const mapping of readFileSync('/proc/self/smaps', 'latin1').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    if (!/^VmFlags:.* hg\b/m.test(mapping)) continue;
    const field = (name: string) => 1024 * Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(mapping)?.[1]);
    sum.addresses += field('Size');
    sum.memory += field('Rss');
  }
  return sum;
}

function grownBy(make: () => unknown): { addresses: number; memory: number } {
  const before = hugeBytes();
  make();
  const after = hugeBytes();
  return { addresses: after.addresses - before.addresses, memory: after.memory - before.memory };
}

it.runIf(existsSync('/sys/kernel/mm/transparent_hugepage/enabled'))(
  'caches ask for huge pages from 16 MiB of keys or values on',
  () => {
    const cacheOf = (capacity: number) => () => {
      const cache = new KvCache({ kvHeads, headDim, type: 'float32', capacity });
      cache.append(0, row, row);
      kept.push(cache);
    };
    expect(grownBy(cacheOf(1024)).addresses).toBe(0);

    const large = grownBy(cacheOf(16384));
    expect(large.addresses).toBe(bytesOf(16384));
    // A token is written: a large page or two of keys, and of values.
    expect(large.memory).toBeLessThanOrEqual(bytesOf(16384) / 8);

    const pool = grownBy(() => kept.push(new KvPool({ pages: 64, layers: 1, kvHeads, headDim, type: 'float32' })));
    expect(pool.addresses).toBe(bytesOf(64 * 256));
  },
);

it.runIf(existsSync('/sys/kernel/mm/transparent_hugepage/enabled'))('a cache that grows asks once it is large', () => {
  const cache = new KvCache({ kvHeads, headDim, type: 'float32' });
  kept.push(cache);
  const rows = (tokens: number) =>
    new Tensor('float32', new Float32Array(tokens * kvHeads * headDim), [1, tokens, kvHeads, headDim]);
  expect(grownBy(() => cache.append(0, rows(4096), rows(4096))).addresses).toBe(0);
  expect(grownBy(() => cache.append(0, rows(8192), rows(8192))).addresses).toBeGreaterThanOrEqual(bytesOf(12288));
  expect(kept.at(-1)).toBe(cache);
});
