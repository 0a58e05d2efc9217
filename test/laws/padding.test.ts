// Padding: keys that batch entries do not use, before and behind those they do, said by numbers or by a mask of keys.
// Reader: someone with a batch of texts of several lengths. Expected values come from the references, which know the
// options' definitions only; poison.test.ts shows that padding is never read.

import { it } from 'vitest';
import type { Case } from '../conformance/case.js';
import { expectCases, expectSameBits, onEveryBackend, runCase } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';

const prefill: Case = { queries: 90, keys: 130, batch: 3, heads: [4, 2], dims: [16, 24], keyStarts: [0, 41, 128] };
const decode: Case = { queries: 1, keys: 700, batch: 3, heads: [4, 2], dims: [32, 32], keyStarts: [0, 301, 699] };

onEveryBackend((backend) => {
  it('keyStarts: every kind of window, with everything that changes scores', () => {
    expectCases(
      [prefill, decode, { ...prefill, queries: 7 }].flatMap((c): Case[] => [
        ...dtypes.map((dtype): Case => ({ ...c, dtype, causal: true })),
        { ...c },
        { ...c, layout: 'bhnd', storage: 'gaps' },
        { ...c, causal: true, left: 20, sinkTokens: 5 },
        { ...c, left: 20, right: 4, sinkTokens: 40 },
        { ...c, causal: true, align: 'top-left', sinkTokens: 1 },
        { ...c, causal: true, align: 13 },
        { ...c, alibi: 'h', causal: true },
        { ...c, mask: { axes: 'qk', hidden: 0.3 }, softcap: 4 },
        { ...c, bias: { axes: 'bhqk' }, sinks: true, extra: 3 },
        { ...c, mask: { axes: 'bk', structure: 'right' }, causal: true },
        { ...c, keyLengths: [0, 60, c.keys], keyStarts: [0, 60, 3], causal: true },
        { ...c, keyLengths: [c.keys, 100, 128], keyStarts: [64, 99, 0], left: 30, sinkTokens: 2 },
      ]),
      backend,
    );
  });

  it('keyStarts: shards and lists are where they are without', () => {
    const shards = { blockSize: 16, localBlocks: 2, vertStride: 3 };
    const blocks = { blockQ: 16, blockK: 16, density: 0.4, per: 'kv' } as const;
    expectCases(
      [{ ...prefill, queries: 130 }, decode].flatMap((c): Case[] => [
        { ...c, shards },
        { ...c, shards: { ...shards, positions: 'relative' }, keyStarts: [17, 16, 100] },
        { ...c, blocks },
        { ...c, blocks: { ...blocks, predicate: true }, keyStarts: [5, 48, 99], causal: true },
        { ...c, blocks, keyLengths: [100, 77, 64], keyStarts: [31, 77, 1] },
      ]),
      backend,
    );
  });

  it('keyStarts: pages before the start are not looked up', () => {
    expectCases(
      [1, 7, 64].flatMap((size): Case[] => {
        const keys = size * Math.ceil(300 / size);
        const paged: Case = {
          ...decode,
          keys,
          keyLengths: [keys - 3, 129, 200],
          keyStarts: [65, 129, 63],
          pages: { size },
        };
        return [paged, { ...paged, queries: 33, causal: true, left: 100, sinkTokens: 2 }];
      }),
      backend,
    );
  });

  it('keyStarts of 0 change no bit', () => {
    for (const c of [prefill, decode]) {
      const { keyStarts: _, ...plain } = { ...c, causal: true as const, left: 50 };
      expectSameBits(runCase({ ...plain, keyStarts: [0, 0, 0] }, backend), runCase(plain, backend));
    }
  });

  it('keyMask: alone, beside a mask, with every pattern', () => {
    const shape: Case = { queries: 20, keys: 90, batch: 3, heads: [4, 2], dims: [16, 24] };
    const { keyStarts: _, ...one } = decode;
    expectCases(
      [shape, one].flatMap((c): Case[] => [
        ...dtypes.map((dtype): Case => ({ ...c, dtype, keyMask: { structure: 'left' } })),
        { ...c, keyMask: { hidden: 0.4 } },
        { ...c, keyMask: { hidden: 1 } },
        { ...c, keyMask: { structure: 'left' }, mask: { axes: 'qk', structure: 'causal' } },
        { ...c, keyMask: { hidden: 0.3 }, mask: { axes: 'bhqk', hidden: 0.3 }, bias: { axes: 'k' } },
        { ...c, keyMask: { structure: 'right' }, causal: true, alibi: 'h', softcap: 3, sinks: true, extra: 2 },
        { ...c, keyMask: { hidden: 0.3 }, keyLengths: [0, 60, 77], layout: 'bhnd' },
        { ...c, keyMask: { hidden: 0.3 }, shards: { blockSize: 16, localBlocks: 2, vertStride: 3 } },
      ]),
      backend,
    );
    const grid: Case = { queries: 72, keys: 72, batch: 2, heads: [4, 2], dims: [24, 20], grid: [9, 8] };
    expectCases([{ ...grid, neighborhood: { kernelSize: [4, 5] }, keyMask: { hidden: 0.3 } }], backend);
  });

  it('keyMask is a mask [batch, 1, 1, keys], to the bit', () => {
    for (const c of [{ ...prefill, dims: [8, 8] as [number, number] }, decode]) {
      const { keyStarts: _, ...plain } = c;
      const [asKeys, asMask] = [
        runCase({ ...plain, keyMask: { structure: 'left' } }, backend),
        runCase({ ...plain, mask: { axes: 'bk', structure: 'left' } }, backend),
      ];
      expectSameBits(asKeys, asMask);
    }
  });
});
