// Device memory is freed with the last tensor in it and the last call that uses it, and at the latest by the collector, at
// the end of a worker or of the process. Reader: someone who runs out of it.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { attention, devices, hierarchical, hipAttention, KvCache, Tensor } from '../../dist/index.js';
import { onGpu } from '../support/gpu.js';
import { runScript, workerPrelude } from '../support/script.js';
import { operands, tensor } from '../support/tensors.js';

const megabyte = 2 ** 20;

/** MiB held. */
const held = () => (devices().find(({ name }) => name === 'cuda')?.bytesInUse ?? 0) / megabyte;
const settle = () => new Promise((resolve) => setTimeout(resolve, 10));
async function collected(): Promise<number> {
  for (let round = 0; round < 5; ++round) {
    (globalThis as unknown as { gc(): void }).gc();
    await settle();
  }
  return held();
}

/** Four MiB on the device. */
const large = () => new Tensor('uint8', new Uint8Array(4 * megabyte), [4 * megabyte]).to('cuda');

onGpu('device memory', () => {
  it('is freed by dispose(), with views when the last is disposed of', async () => {
    const t = await large();
    const before = await collected();
    const view = t.slice(0, 5, 9);
    t.dispose();
    t.dispose();
    expect(held()).toBe(before);
    view.dispose();
    expect(held()).toBe(before - 4);
  });

  it('is freed by the collector when nobody disposed of it', async () => {
    const before = await collected();
    await (async () => {
      const t = await large();
      t.slice(0, 1).transpose([0]);
      expect(held()).toBeGreaterThanOrEqual(before + 4);
    })();
    expect(await collected()).toBe(before);
  });

  it('of a cache is freed by its dispose(), and by the collector with the last of its forks', async () => {
    const filled = () => {
      const cache = new KvCache({ layers: 2, kvHeads: 2, headDim: 64, capacity: 4096, device: 'cuda' });
      for (const layer of [0, 1]) cache.append(layer, tensor(1, 300, 2, 64), tensor(1, 300, 2, 64));
      return cache;
    };
    const before = await collected();
    const cache = filled();
    expect(held()).toBe(before + 8);
    cache.dispose();
    expect(held()).toBe(before);
    const kept = (() => filled().fork())();
    expect(await collected()).toBe(before + 8);
    expect(kept.length).toBe(300);
    await (async () => void filled())();
    expect(await collected()).toBe(before + 8);
    kept.dispose();
    expect(await collected()).toBe(before);
  });

  it('lasts as long as a call that uses it, whatever is disposed of meanwhile', async () => {
    const { q, k, v } = operands(64, 2, 16);
    const expected = await attention(q, k, v, { device: 'cuda' });
    const there = await Promise.all([q, k, v].map((t) => t.to('cuda')));
    const call = attention(there[0], there[1], there[2]);
    for (const t of there) t.dispose();
    expect(await (await call).out.getData()).toEqual(expected.out.data);

    const options = { sink: 2, window: 8, blockQ: 8, stages: [{ strideQ: 2, chunk: 4, keep: 12 }] };
    const selected = await hipAttention(q, k, v, { ...options, device: 'cuda' });
    const again = await Promise.all([q, k, v].map((t) => t.to('cuda')));
    const two = hipAttention(again[0], again[1], again[2], options); // two calls, one after the other
    for (const t of again) t.dispose();
    expect(await (await two).out.getData()).toEqual(selected.out.data);

    const download = await q.to('cuda');
    const data = download.getData();
    download.dispose();
    expect(await data).toEqual(q.data);
  });

  it('of results of calls that fail is not kept', async () => {
    const q = await tensor(1, 4096, 1, 64).to('cuda');
    const odd = await tensor(1, 8, 1, 600).to('cuda');
    const pattern = hierarchical(); // no kernel selects by rows of so many dims
    const before = await collected();
    for (let i = 0; i < 20; ++i) {
      await attention(q, q, q, { signal: AbortSignal.abort() }).catch(() => {});
      await attention(odd, odd, odd, { pattern }).catch(() => {});
    }
    expect(held()).toBe(before);
    q.dispose();
    odd.dispose();
  });

  it('does not grow over many calls, disposed of or not', async () => {
    const q = await tensor(1, 8, 4, 64).to('cuda');
    const some = async (count: number) => {
      for (let i = 0; i < count; ++i) {
        const { out } = await attention(q, q.slice(1, 0, 4), q.slice(1, 0, 4));
        const host = await out.to('cpu');
        const back = await host.to('cuda');
        if (i % 2 === 0) for (const t of [out, back]) t.dispose();
      }
      return collected();
    };
    const before = await some(20);
    expect(await some(200)).toBe(before);
    q.dispose();
  });
});

onGpu('device tensors in workers and at the end', () => {
  const clean = { code: 0, signal: null, stderr: '' };

  it('several workers use one device', async () => {
    const body = `(async () => {
      const { parentPort } = require('node:worker_threads');
      ${workerPrelude}
      const { attention, Tensor } = await importTilewise();
      const [q, k, v] = await Promise.all(operands(32, 2, 16).map((t) => Tensor.from(t).to('cuda')));
      const results = await Promise.all([1, 2, 3].map(() => attention(q, k, v, { causal: true })));
      parentPort.postMessage(await Promise.all(results.map(({ out }) => out.getData())));
    })();`;
    const workers = Array.from({ length: 3 }, () => new Worker(body, { eval: true }));
    const answers = await Promise.all(
      workers.map(async (worker) => (await once(worker, 'message'))[0] as Float32Array[]),
    );
    for (const data of answers.flat()) expect(data.every((x) => x === 0.5)).toBe(true);
    await Promise.all(workers.map((worker) => worker.terminate()));
  });

  it('a worker may be terminated with transfers and calls in flight', async () => {
    const body = `(async () => {
      const { parentPort } = require('node:worker_threads');
      ${workerPrelude}
      const { attention, Tensor } = await importTilewise();
      const [q, k, v] = await Promise.all(operands(256, 2, 32).map((t) => Tensor.from(t).to('cuda')));
      for (let i = 0; i < 4; ++i) {
        attention(q, k, v).then(({ out }) => out.getData());
        Tensor.from(operands(4096)[0]).to('cuda');
        q.getData();
      }
      k.dispose();
      setInterval(() => {}, 1000); // it does not end on its own, however fast the calls are
      parentPort.postMessage('in flight');
    })();`;
    const before = await collected();
    for (let round = 0; round < 3; ++round) {
      const worker = new Worker(body, { eval: true });
      await once(worker, 'message');
      expect(await worker.terminate()).toBe(1);
    }
    expect(held()).toBe(before);
    const t = await tensor(3).to('cuda');
    expect(await t.getData()).toEqual(tensor(3).data);
  });

  it.each(['', 'process.exit(0);'])(
    'a process ends cleanly with tensors on the device and calls in flight: %s',
    async (end) => {
      const ended = await runScript(`
      const { attention, Tensor } = await importTilewise();
      const [q, k, v] = await Promise.all(operands(128, 2, 16).map((t) => Tensor.from(t).to('cuda')));
      globalThis.kept = q.slice(1, 0, 3);
      attention(q, k, v);
      q.getData();
      ${end}
    `);
      expect(ended).toMatchObject(clean);
    },
  );
});
