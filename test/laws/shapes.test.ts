// Sizes: 0 and 1 wherever they are allowed, every remainder around a tile, several tiles, one row of many keys.
// Reader: someone who changed the cutting of work into tiles.

import { expect, it } from 'vitest';
import { attentionSync } from '../../dist/index.js';
import type { Case } from '../conformance/case.js';
import { expectCase, expectCases, expectMatrix, onEveryBackend, runCase } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';

onEveryBackend((backend) => {
  it('[empty sequences] 0 in batch, queries or keys: empty tensors, or rows that saw nothing', () => {
    const sizes = [0, 1, 2];
    const cases = sizes.flatMap((batch) =>
      sizes.flatMap((queries) =>
        sizes.map((keys): Case => ({ batch, queries, keys, heads: [2, 1], causal: true, dims: [4, 3], seed: 5 })),
      ),
    );
    expectCases(cases, backend);
    expectCases(
      cases.map((c) => ({ ...c, layout: 'bhnd', dtype: 'float16' })),
      backend,
    );
  });

  it('[empty sequences] keys: 0 gives output 0 and lse -Infinity everywhere', () => {
    const { out, lse } = runCase({ batch: 2, heads: [3, 3], queries: 5, keys: 0 }, backend);
    expect(Array.from(out.data).every((x) => x === 0)).toBe(true);
    expect(Array.from(lse.data).every((x) => x === -Infinity)).toBe(true);
  });

  it('[empty sequences] packed: sequences without queries, without keys, without both, at either end', () => {
    const cases: Case[] = [
      { queries: 4, keys: 6, cuSeqlensQ: [0, 0, 2, 2, 4, 4], cuSeqlensK: [0, 3, 3, 5, 6, 6] },
      { queries: 4, keys: 6, cuSeqlensQ: [0, 4], cuSeqlensK: [0, 6] },
      { queries: 0, keys: 3, cuSeqlensQ: [0, 0, 0], cuSeqlensK: [0, 3, 3] },
      { queries: 3, keys: 0, cuSeqlensQ: [0, 1, 3], cuSeqlensK: [0, 0, 0] },
      { queries: 200, keys: 300, cuSeqlensQ: [0, 100, 101, 101, 200], cuSeqlensK: [0, 1, 130, 140, 300] },
    ];
    expectCases(
      cases.flatMap((c) => [
        c,
        { ...c, causal: true, is3d: true, heads: [4, 2] },
        { ...c, causal: true, left: 2, layout: 'bhnd' },
      ]),
      backend,
    );
  });

  it('[fixed-size internal buffers] 40000 packed sequences, most of them one token long', () => {
    const totals = Array.from({ length: 40001 }, (_, s) => s);
    expectCase({ queries: 40000, keys: 40000, dims: [2, 2], cuSeqlensQ: totals, cuSeqlensK: totals }, backend);
  });

  it('[fixed-size internal buffers] 40000 keys for one query', () => {
    expectCases(
      dtypes.map((dtype): Case => ({ dtype, queries: 1, keys: 40000, dims: [8, 8], heads: [2, 1] })),
      backend,
    );
  });

  it('every number of queries and keys up to past two vectors', () => {
    const cases: Case[] = [];
    for (let n = 1; n <= 40; n++) {
      cases.push({ queries: n, keys: n, causal: true, dims: [5, 6], seed: n });
      cases.push({ queries: n, keys: 41 - n, dims: [6, 5], dtype: 'bfloat16', seed: n });
      cases.push({ queries: 1, keys: n, dims: [3, 9], heads: [3, 1], seed: n });
    }
    expectMatrix(cases, backend);
  });

  it('every dim up to past two vectors, and the ones around the large sizes', () => {
    const sizes = [...Array(40).keys()].map((n) => n + 1).concat(63, 65, 127, 129, 255, 257, 511, 512);
    const cases = sizes.flatMap((d): Case[] => [
      { queries: 9, keys: 11, dims: [d, d], seed: d, dtype: dtypes[d % 3] },
      { queries: 9, keys: 11, dims: [d, Math.max(1, 40 - d)], seed: d },
      { queries: 1, keys: 70, dims: [d, d], seed: d, dtype: dtypes[d % 3], heads: [2, 1] },
    ]);
    expectMatrix(cases, backend);
  });

  it('sizes around the tiles: one less, equal, one more', () => {
    const around = [31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257];
    const cases = around.flatMap((n): Case[] => [
      { queries: n, keys: n, causal: true, dims: [8, 8], seed: n },
      { queries: 40, keys: n, left: 30, causal: true, dims: [8, 8], seed: n },
      { queries: n, keys: 70, right: 5, dims: [8, 8], seed: n, dtype: 'float16' },
    ]);
    expectMatrix(cases, backend);
  });

  it.each(dtypes)('%s, about a thousand tokens: dense, causal, windows over many tiles', (dtype) => {
    const long: Case = { dtype, queries: 1000, keys: 1037, dims: [64, 64] };
    expectMatrix(
      [
        long,
        { ...long, causal: true, dims: [40, 72] },
        { ...long, causal: true, left: 300, sinkTokens: 5, heads: [2, 1], dims: [16, 16] },
        { ...long, left: 100, right: 100, queries: 1037, keys: 990, dims: [32, 32] },
      ],
      backend,
    );
  });

  it('queries around the length from which panels may be wider', () => {
    const cases = [1535, 1536, 1537, 1700].flatMap((queries): Case[] => [
      { queries, keys: 250, dims: [8, 8], seed: queries, causal: true, left: 120, sinkTokens: 2 },
      { queries, keys: 193, dims: [9, 7], seed: queries, dtype: 'float16', bias: { axes: 'hqk', hidden: 0.1 } },
    ]);
    expectMatrix(cases, backend);
  });

  it('a few heads over a few hundred tokens with everything on', () => {
    const all: Case = {
      queries: 300,
      keys: 410,
      batch: 2,
      heads: [4, 2],
      dims: [24, 20],
      causal: true,
      left: 250,
      sinkTokens: 3,
      softcap: 4,
      bias: { axes: 'hqk', hidden: 0.1 },
      mask: { axes: 'bk', hidden: 0.1 },
      alibi: 'bh',
      sinks: true,
      keyLengths: [410, 333],
    };
    expectCases([all, { ...all, dtype: 'float16', layout: 'bhnd', storage: 'gaps' }], backend);
  });

  it('[grid limit 65535] more than 65535 heads and batch entries', () => {
    expectMatrix(
      [
        { batch: 8200, heads: [8, 8], queries: 1, keys: 2, dims: [1, 1] },
        { batch: 1, heads: [70000, 1], queries: 2, keys: 1, dims: [1, 1] },
        { batch: 70000, heads: [1, 1], queries: 1, keys: 1, dims: [1, 2], dtype: 'bfloat16' },
      ],
      backend,
    );
  });

  it('[grid limit 65535] 70000 queries of one head', () => {
    expectCase({ queries: 70000, keys: 20, causal: true, align: 'top-left', dims: [2, 2] }, backend);
  });

  it('[unsupported shape accepted] what cannot be run is refused, not padded', () => {
    const tensor = (dims: number[]) =>
      ({ type: 'float32', data: new Float32Array(dims.reduce((a, n) => a * n, 1)), dims }) as const;
    const call = (q: number[], k: number[], v: number[]) => () =>
      attentionSync(tensor(q), tensor(k), tensor(v), { device: backend.device });
    expect(call([1, 2, 1, 4097], [1, 2, 1, 4097], [1, 2, 1, 8])).toThrow(/4097/);
    expect(call([1, 2, 1, 8], [1, 2, 1, 8], [1, 2, 1, 4097])).toThrow(/4097/);
    expect(call([1, 2, 1, 0], [1, 2, 1, 0], [1, 2, 1, 8])).toThrow();
    expect(call([1, 2, 5, 8], [1, 2, 2, 8], [1, 2, 2, 8])).toThrow(/heads/);
    expect(call([1, 2, 2, 8], [1, 2, 5, 8], [1, 2, 5, 8])).toThrow(/heads/);
    expect(call([1, 2, 1, 8], [1, 3, 1, 8], [1, 2, 1, 8])).toThrow();
    expect(call([2, 2, 1, 8], [1, 2, 1, 8], [1, 2, 1, 8])).toThrow(/batch/);
  });
});
