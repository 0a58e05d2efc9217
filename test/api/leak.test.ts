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
};

// V8's own memory settles after some batches of calls; what leaks grows with each.
const calls = 5000;
const mostGrown = 400 * calls; // bytes

it.each(Object.entries(kinds))('many %s', async (_, call) => {
  const { code, stderr, stdout } = await runScript(
    `
    const { attention, attentionSync, mergeAttention } = await importTilewise();
    const [q, k, v] = operands(16, 8, 128);
    const out = operands(16, 8, 128)[0];
    const part = attentionSync(q, k, v, { returnLse: true });
    const { signal } = new AbortController();
    const rss = () => { gc(); return process.memoryUsage().rss; };
    const some = async (count) => { for (let i = 0; i < count; ++i) { ${call}; } };
    await some(2000);
    const handles = process.getActiveResourcesInfo().length;
    let grown = Infinity;
    for (let batch = 0; batch < 8 && grown > ${mostGrown}; ++batch) {
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
