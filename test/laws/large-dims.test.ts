// Head dims beyond 256, of keys and of values, odd ones too: every pattern, layout, storage and type, many queries and few.
// Reader: someone who changed how dims are cut into strips, or which kernel takes them.

import { it } from 'vitest';
import { KvCache } from '../../dist/index.js';
import { build, type Case } from '../conformance/case.js';
import { expectedOf } from '../conformance/judge.js';
import { fromOutput, fromTensor, toTensor } from '../conformance/memory.js';
import { expectCase, expectCases, expectRight, onEveryBackend } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { range } from '../references/operand.js';
import { gather, part } from '../support/views.js';

const mla: Case = { heads: [4, 1], queries: 37, keys: 53, dims: [576, 512], causal: true };

onEveryBackend((backend) => {
  it.each(dtypes)('%s: dims around 256, 512, 1536 and up to 4096, and values of other dims than keys', (dtype) => {
    const pairs: [number, number][] = [
      [257, 257],
      [300, 7],
      [5, 300],
      [512, 513],
      [577, 511],
      [1536, 1536],
      [64, 1537],
    ];
    const cases = pairs.flatMap((dims, seed): Case[] => [
      { queries: 35, keys: 43, dims, dtype, seed, causal: true },
      { queries: 1, keys: 90, dims, dtype, seed, heads: [3, 1] },
    ]);
    expectCases(cases, backend);
    expectCase({ queries: 3, keys: 20, dims: [4096, 4095], dtype }, backend);
    expectCase({ queries: 18, keys: 20, dims: [4095, 4096], dtype }, backend);
  });

  it('MLA: one KV head under many, in every layout and storage, with everything on', () => {
    const all: Case = {
      ...{ ...mla, batch: 2, softcap: 4, bias: { axes: 'hqk', hidden: 0.1 }, mask: { axes: 'bk', hidden: 0.1 } },
      ...{ alibi: 'bh', sinks: true, keyLengths: [53, 31], left: 30, sinkTokens: 3 },
    };
    expectCases(
      [
        mla,
        { ...mla, dtype: 'bfloat16', layout: 'bhnd', storage: 'gaps' },
        { ...mla, queries: 1, keys: 700, heads: [16, 1], dtype: 'float16' },
        { ...mla, queries: 2, keys: 300, heads: [20, 1] },
        { ...mla, dims: [575, 509], storage: 'gaps' },
        // Prefill, where rotated dims come with keys alone.
        { ...mla, queries: 150, keys: 150, dims: [192, 128], dtype: 'bfloat16' },
        { ...mla, queries: 70, keys: 130, dims: [180, 100], dtype: 'float16', storage: 'gaps', left: 40 },
        { ...mla, gate: { run: 7 } },
        { ...mla, queries: 90, dtype: 'float16', gate: { run: 20, withoutLse: true } },
        { ...mla, queries: 1, keys: 700, heads: [16, 1], gate: { run: 3 } },
        all,
        { ...all, dtype: 'float16', layout: 'bhnd', activation: 'sigmoid', sinks: undefined },
        { ...mla, heads: [2, 1], extra: 5, pages: { size: 16 }, batch: 2, keyLengths: [53, 40] },
        { ...mla, queries: 1, heads: [8, 1], keys: 53, pages: { size: 16 }, batch: 2, keyLengths: [53, 40] },
      ],
      backend,
    );
  });

  it('every pattern', () => {
    const c: Case = { heads: [2, 1], queries: 60, keys: 60, dims: [320, 272] };
    const grid: Case = { ...c, grid: [6, 10], dims: [288, 577] };
    expectCases(
      [
        { ...c, left: 10, right: 4, dims: [577, 288] },
        { ...c, causal: true, shards: { blockSize: 4, localBlocks: 2, vertStride: 3 } },
        { ...grid, neighborhood: { kernelSize: [3, 4], dilation: [2, 1] }, relativeBias: true, extra: 5 },
        { ...grid, neighborhood: { kernelSize: [5, 3], stride: [2, 1] }, dtype: 'float16' },
        { ...c, sampled: { block: 8, keep: [1, 0.5], seed: 1, layer: 0, scope: 'kv' }, dtype: 'bfloat16' },
        { ...c, documents: { lists: [[20, 7, 33]], causal: true, prefix: 3 } },
      ],
      backend,
    );
  });

  it('a cache of MLA: prefill, then steps', () => {
    const { problem } = build({ ...mla, queries: 300, keys: 300 });
    const cache = new KvCache({ kvHeads: 1, headDim: 576, valueDim: 512, device: backend.device });
    for (const [begin, end] of [
      [0, 290],
      [290, 297],
      [297, 298],
      [298, 300],
    ]) {
      const tokens = range(begin, end);
      const [q, k, v] = [problem.query, problem.key, problem.value].map((operand) =>
        toTensor(gather(operand, 2, tokens), 'bnhd'),
      );
      cache.append(0, k, v);
      const { out, lse } = cache.attentionSync(0, q, { returnLse: true });
      const expected = expectedOf(part(problem, tokens, range(0, end)));
      expectRight({ out: fromOutput(out, 'bnhd'), lse: fromTensor(lse) }, expected, `${begin} to ${end}`);
    }
    cache.dispose();
  });

  it('a query panel of several strips and many tiles of queries', () => {
    expectCases(
      [
        { queries: 300, keys: 410, dims: [577, 130], causal: true },
        { queries: 1540, keys: 70, dims: [300, 260], right: 5, dtype: 'float16' },
      ],
      backend,
    );
  });
});
