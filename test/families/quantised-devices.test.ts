// Caches and pools with a format on every backend: a GPU makes the same codes as the CPU, keeps them in its memory and reads them there.
// Reader: someone who changes cuda/encode or lib/caches/code-tier.ts.

import { describe, expect, it } from 'vitest';
import { KvCache, type KvFormat, KvPool, questPageScoresSync, type Tensor } from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { expectClose, formats } from '../support/quantised-kv.js';
import { sample } from '../support/sample.js';
import { tensor } from '../support/tensors.js';

const shape = { kvHeads: 2, headDim: 64 };

onEveryBackend(({ device }) => {
  // Products of float32 on tensor cores are made of several of fewer bits.
  const bound = device === 'cpu' ? 3e-6 : 2e-5;
  const numbers = (x: Tensor) => x.data as Float32Array;

  describe('a cache', () => {
    it.each(sample(formats))(
      'has the codes of one on the CPU, from fork to fork: %s',
      async (name, format: KvFormat) => {
        const caches = [new KvCache({ ...shape, format, device }), new KvCache({ ...shape, format })];
        const q = tensor(1, 2, 4, 64);
        const expectSame = async ([there, here]: readonly KvCache[]) => {
          expect(there.bits(0)).toEqual(here.bits(0));
          for (const rows of ['keys', 'values'] as const) {
            expect(numbers(await there[rows](0).to('cpu'))).toEqual(numbers(here[rows](0)));
          }
          const got = await there.attentionSync(0, q).out.to('cpu');
          expectClose(numbers(got), [...numbers(here.attentionSync(0, q).out)], name, bound);
        };
        const append = (to: readonly KvCache[], count: number) => {
          const [k, v] = [tensor(1, count, 2, 64), tensor(1, count, 2, 64)];
          for (const cache of to) cache.append(0, k, v);
        };
        append(caches, 200);
        append(caches, 1);
        await expectSame(caches);
        const forks = caches.map((cache) => cache.fork());
        append(forks, 130);
        await expectSame(forks);
        await expectSame(caches);
        for (const cache of caches) cache.truncate(201);
        append(caches, 1);
        await expectSame(caches);
        for (const cache of [...caches, ...forks]) cache.dispose();
      },
    );
  });

  it('a pool attends for sequences of all lengths, by pages that their bounds choose', async () => {
    const options = { ...shape, pages: 40, format: 'int4', pageSummaries: true } as const;
    const [there, here] = [new KvPool({ ...options, device }), new KvPool(options)];
    const rows = [300, 2, 130].map((length) => tensor(length, 2, 64));
    const [onDevice, onCpu] = [there, here].map((pool) =>
      rows.map((x) => {
        const sequence = pool.sequence();
        sequence.append(0, x, x);
        return sequence;
      }),
    );
    expect(there.freePages).toBe(here.freePages);
    const q = tensor(3, 4, 64);
    const { lists } = questPageScoresSync(q, here.keyPages(0, onCpu), { pages: 2 });
    const chosen = questPageScoresSync(q, there.keyPages(0, onDevice), { pages: 2, device: 'auto' });
    expect(chosen.lists).toEqual(lists);
    for (const pageLists of [undefined, lists]) {
      const got = await there.attentionSync(0, q, onDevice, { pageLists }).out.to('cpu');
      const want = here.attentionSync(0, q, onCpu, { pageLists }).out;
      expectClose(numbers(got), [...numbers(want)], pageLists ? 'pages that were chosen' : 'all pages', bound);
    }
  });
});
