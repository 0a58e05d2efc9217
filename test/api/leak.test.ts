// Leaks: thousands of calls of every kind leave memory and handles where they were.
// Reader: someone who keeps a process running for months. A leaked output would be 64 KiB per call; a
// leaked call some hundred bytes of native memory.

import { expect, it } from 'vitest';
import { runScript } from '../support/script.js';

const kinds: Record<string, string> = {
  'synchronous calls': 'attentionSync(q, k, v, { returnLse: true })',
  'asynchronous calls': 'await attention(q, k, v, { returnLse: true })',
  'calls into a buffer, with a signal': 'await attention(q, k, v, { out, signal, copyInputs: true })',
  'calls that are aborted': 'await attention(q, k, v, { out, signal: AbortSignal.abort() }).catch(() => {})',
  'calls that are refused': 'await attention(q, k, v, { scale: "x" }).catch(() => {})',
  merges: 'await mergeAttention([part, part])',
  'steps of a cache': 'cache.append(0, row, row); cache.attentionSync(0, row); cache.truncate(16)',
  'forks of a cache': 'cache.fork().append(0, row, row)',
};

// V8's own memory settles after some batches of calls; what leaks grows with each.
const calls = 5000;
const mostGrown = 400 * calls; // bytes

it('caches that nobody disposed of make room for others', async () => {
  // A process may have some ten thousand stretches of memory, each of these caches has 64. Bursts of them come in one turn of the
  // event loop, which is when the collector cannot call anybody back.
  const { code, stderr } = await runScript(`
    const { KvCache, Tensor } = await importTilewise();
    const row = Tensor.zeros('float32', [1, 1, 1, 4]);
    for (let i = 0; i < 1500; ++i) {
      const cache = new KvCache({ layers: 32, kvHeads: 1, headDim: 4 });
      for (let layer = 0; layer < 32; ++layer) cache.append(layer, row, row);
      if (i % 250 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  `);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

it('large caches that nobody has any more are collected, as the engine is told what they take', async () => {
  const { code, stderr, stdout } = await runScript(`
    const { KvCache, Tensor } = await importTilewise();
    const rows = Tensor.zeros('float32', [1, 2048, 8, 128]);
    const before = process.memoryUsage().rss;
    let most = 0;
    for (let i = 0; i < 60; ++i) {
      const cache = new KvCache({ kvHeads: 8, headDim: 128 });
      cache.append(0, rows, rows);
      most = Math.max(most, process.memoryUsage().rss - before);
      await new Promise((resolve) => setImmediate(resolve));
    }
    console.log(most);
  `);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const bytesOfCache = 2 * 2048 * 8 * 128 * 4;
  expect(Number(stdout)).toBeLessThan(30 * bytesOfCache);
});

it.each(Object.entries(kinds))('many %s', async (_, call) => {
  const { code, stderr, stdout } = await runScript(
    `
    const { attention, attentionSync, KvCache, mergeAttention, Tensor } = await importTilewise();
    const [q, k, v] = operands(16, 8, 128);
    const out = operands(16, 8, 128)[0];
    const part = attentionSync(q, k, v, { returnLse: true });
    const cache = new KvCache({ kvHeads: 2, headDim: 8 });
    const row = Tensor.zeros('float32', [1, 1, 2, 8]);
    for (let i = 0; i < 16; ++i) cache.append(0, row, row);
    const { signal } = new AbortController();
    const rss = () => { gc(); return process.memoryUsage().rss; };
    const some = async (count) => { for (let i = 0; i < count; ++i) { ${call}; } };
    await some(2000);
    const handles = process.getActiveResourcesInfo().length;
    let grown = Infinity;
    for (let batch = 0; batch < 48 && grown > ${mostGrown}; ++batch) {
      const before = rss();
      await some(${calls});
      await new Promise((resolve) => setImmediate(resolve));
      grown = Math.min(grown, rss() - before);
    }
    console.log(JSON.stringify({ grown, handles: process.getActiveResourcesInfo().length - handles }));
    `,
    ['--expose-gc'],
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { grown, handles } = JSON.parse(stdout) as { grown: number; handles: number };
  expect(grown).toBeLessThanOrEqual(mostGrown);
  expect(handles).toBeLessThanOrEqual(0);
});
