// worker_threads: every thread has its own addon instance on one pool, and may end whenever it likes.
// Reader: someone who runs tilewise in a server's worker pool.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { attention, attentionSync } from '../../dist/index.js';
import { runScript, workerPrelude } from '../support/script.js';
import { isSame, operands } from '../support/tensors.js';

/** A worker that runs an async function's body, with `workerData` and `parentPort` at hand. */
function start(body: string, workerData?: unknown): Worker {
  const source = `(async () => {
    const { parentPort, workerData } = require('node:worker_threads');
    ${workerPrelude}
    ${body}
  })();`;
  return new Worker(source, { eval: true, workerData });
}

describe('workers', () => {
  it('compute what the main thread computes, all at the same time', async () => {
    const { q, k, v } = operands(400, 4, 32);
    const plain = [q, k, v].map(({ type, data, dims }) => ({ type, data, dims: [...dims] }));
    const workers = Array.from({ length: 4 }, () =>
      start(
        `const { attention } = await importTilewise();
         const results = await Promise.all([1, 2, 3].map(() => attention(...workerData, { causal: true })));
         parentPort.postMessage(results.map(({ out }) => out.data));`,
        plain,
      ),
    );
    const expected = (await attention(q, k, v, { causal: true })).out.data;
    const answers = await Promise.all(
      workers.map(async (worker) => (await once(worker, 'message'))[0] as Float32Array[]),
    );
    for (const data of answers.flat()) expect(isSame(data, expected)).toBe(true);
    await Promise.all(workers.map((worker) => worker.terminate()));
  });

  it('share memory with the main thread: inputs and out on SharedArrayBuffers', async () => {
    const { q, k, v } = operands(64, 2, 16);
    const shared = [q, k, v, q].map(({ type, data, dims }) => {
      const copy = new Float32Array(new SharedArrayBuffer(data.byteLength));
      copy.set(data);
      return { type, data: copy, dims: [...dims] };
    });
    const worker = start(
      `const { attention } = await importTilewise();
       const [q, k, v, out] = workerData;
       await attention(q, k, v, { out });
       parentPort.postMessage('done');`,
      shared,
    );
    await once(worker, 'message');
    expect(isSame(shared[3].data, attentionSync(q, k, v).out.data)).toBe(true);
    await worker.terminate();
  });

  it('may be terminated with calls in flight', async () => {
    for (let round = 0; round < 5; ++round) {
      const worker = start(
        `const { attention } = await importTilewise();
         const [q, k, v] = operands(8192);
         for (let i = 0; i < 6; ++i) attention(q, k, v, { causal: i % 2 === 0 });
         parentPort.postMessage('in flight');`,
      );
      await once(worker, 'message');
      const asked = performance.now();
      expect(await worker.terminate()).toBe(1);
      // Six calls would take seconds: they were cancelled and not waited for.
      expect(performance.now() - asked).toBeLessThan(2000);
    }
    const { q, k, v } = operands(50, 2, 16);
    expect(isSame((await attention(q, k, v)).out.data, attentionSync(q, k, v).out.data)).toBe(true);
  });

  it('may exit by themselves with calls in flight', async () => {
    const worker = start(
      `const { attention } = await importTilewise();
       const [q, k, v] = operands(8192);
       attention(q, k, v);
       setTimeout(() => process.exit(7), 5);`,
    );
    expect(await once(worker, 'exit')).toEqual([7]);
  });

  it('stay alive until their calls are done, and no longer', async () => {
    const worker = start(
      `const { attention } = await importTilewise();
       const [q, k, v] = operands(1000);
       attention(q, k, v).then(() => parentPort.postMessage('done'));`,
    );
    const [message, exit] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
    expect([message[0], exit[0]]).toEqual(['done', 0]);
  });

  it('may be the only ones that ever load the addon, one after the other', async () => {
    // Node unloads an addon with its last environment; the pool's threads live on.
    const { code, signal, stderr, stdout } = await runScript(`
      import { Worker } from 'node:worker_threads';
      import { once } from 'node:events';
      const body = ${JSON.stringify(workerPrelude)} + \`
        (async () => {
          const { attention } = await importTilewise();
          const [q, k, v] = operands(2048);
          await attention(q, k, v);
          attention(q, k, v);
          require('node:worker_threads').parentPort.postMessage('in flight');
        })();\`;
      for (let round = 0; round < 4; ++round) {
        const worker = new Worker(body, { eval: true, execArgv: [] });
        await once(worker, 'message');
        await worker.terminate();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      console.log('survived');
    `);
    expect({ code, signal, stderr, stdout }).toEqual({ code: 0, signal: null, stderr: '', stdout: 'survived\n' });
  });
});
