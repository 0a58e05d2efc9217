// Laws that every pattern keeps: the same bits whatever the threads, the batch and the memory; nothing read that is not
// seen; empty problems; and explain() counting what is seen. Reader: someone who adds a pattern, and a line to `cases`.

import { afterAll, expect, it } from 'vitest';
import { attention, attentionSync, explain, numThreads, setNumThreads, type TensorLike } from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { run } from '../conformance/judge.js';
import { collapse, fromOutput, fromTensor, storages } from '../conformance/memory.js';
import { blockCases, neighborhoodCases, rangeCases, shardCases } from '../conformance/pattern-sweep.js';
import { patternOf } from '../conformance/patterns.js';
import { documentCases, moaCases, powerCases, sampledCases, sliceCases } from '../conformance/rule-sweep.js';
import { expectCases, expectMatrix, expectSameBits, onEveryBackend, runCase } from '../conformance/suite.js';
import { attention as reference } from '../references/attention.js';
import type { SelectionOptions } from '../references/hierarchical.js';
import { type Operand, range, toNumbers } from '../references/operand.js';
import { rowsOf as rulesOf, sequencesOf } from '../references/problem.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';
import { sampleSize } from '../support/sample.js';
import { gather, view } from '../support/views.js';

const hip: SelectionOptions = {
  method: 'staged',
  blockQ: 8,
  sink: 4,
  window: 16,
  scope: 'kv',
  stages: [
    { blockQ: 16, strideQ: 4, chunk: 16, keep: 48 },
    { blockQ: 8, strideQ: 1, chunk: 4, keep: 16 },
  ],
};
const prefill = { heads: [4, 2], queries: 150, keys: 150, dims: [24, 20] } as const;
const decode = { heads: [8, 2], queries: 1, keys: 700, dims: [32, 32] } as const;
const grid = { heads: [4, 2], queries: 144, keys: 144, dims: [24, 20], grid: [9, 16] } as const;
const blocks = { blockQ: 16, blockK: 16, density: 0.3, per: 'kv' } as const;
const shards = { blockSize: 16, localBlocks: 2, vertStride: 3 };
const cases: Case[] = [
  { ...grid, neighborhood: { kernelSize: [4, 5], stride: [2, 1], dilation: [1, 2] }, relativeBias: true, extra: 5 },
  { ...prefill, shards },
  { ...prefill, shards: { ...shards, positions: 'relative' }, dtype: 'float16' },
  { ...decode, shards: { ...shards, layoutPer: 'q' }, dtype: 'bfloat16' },
  { ...prefill, blocks: { ...blocks, predicate: true }, causal: true, extra: 3 },
  { ...decode, blocks, dtype: 'float16' },
  { ...prefill, ranges: { form: 'documents', most: 2, per: 'kv' } },
  { ...prefill, ranges: { form: 'any', most: 4, per: 'head' }, dtype: 'bfloat16', extra: 2 },
  { ...decode, ranges: { form: 'any', most: 5, per: 'kv' } },
  { ...prefill, documents: { lists: [[40, 1, 0, 109]], causal: true, shared: true, prefix: 3 } },
  {
    ...prefill,
    slices: [[{ q: [0, 150], k: [0, 90], kind: 'full' }], [{ q: [9, 140], k: [5, 150], kind: 'bicausal' }]],
  },
  { ...decode, power: { block: 16, window: 2, sinkBlocks: 1 }, dtype: 'float16' },
  { ...prefill, sampled: { block: 8, keep: [1, 0.5, 0.3], seed: 9, layer: 1, scope: 'head' }, extra: 2 },
  { ...prefill, moa: { alpha: [-8, 16], beta: [0.25, 0.5], seqLen: 150, sink: 8, min: 16, multiple: 8 } },
  { ...prefill, hip },
  { ...decode, hip },
].map((c) => JSON.parse(JSON.stringify(c)) as Case);
const named = (c: Case): string => JSON.stringify(c);

onEveryBackend((backend) => {
  const threads = numThreads();
  afterAll(() => setNumThreads(threads));

  it('[data race] the number of threads changes no bit, nor does another run', () => {
    for (const c of cases) {
      const built = build({ ...c, batch: 2 });
      setNumThreads(1);
      const alone = run(built, backend);
      for (const count of [2, 3, 7, 7, 7]) {
        setNumThreads(count);
        expectSameBits(run(built, backend), alone, `${count} threads, ${named(c)}`);
      }
    }
    setNumThreads(threads);
  });

  it('[batch invariance] a batch entry gives the same bits alone and among others', () => {
    for (const c of cases) {
      const { problem } = build({ ...c, batch: 3 });
      const all = run(view(problem, c.grid), backend);
      for (const b of range(0, 3)) {
        const of = (operand: Operand): Operand => gather(operand, 0, [b]);
        const single = { ...problem, query: of(problem.query), key: of(problem.key), value: of(problem.value) };
        if (problem.extraKey)
          Object.assign(single, { extraKey: of(problem.extraKey), extraValue: of(problem.extraValue!) });
        if (c.blocks?.predicate) continue; // tells batch entries apart
        expectSameBits(
          run(view(single, c.grid), backend),
          { out: of(all.out), lse: of(all.lse) },
          `${b} of ${named(c)}`,
        );
      }
    }
  });

  it('[head/stride layout] both layouts and every storage give the same bits', () => {
    for (const c of cases) {
      const dense = runCase({ ...c, batch: 2 }, backend);
      for (const storage of storages) {
        if (storage === 'repeated') continue; // holds other numbers
        const layout = storage === 'dense' || storage === 'gaps' ? 'bhnd' : 'bnhd';
        expectSameBits(
          runCase({ ...c, batch: 2, layout, storage }, backend),
          dense,
          `${layout} ${storage} ${named(c)}`,
        );
      }
    }
  });

  it('[shared workspace across calls] calls in flight together give the bits they give alone', async () => {
    setNumThreads(4);
    const builts = range(0, 16).map((n) => build({ ...cases[n % cases.length], batch: 1 + (n % 2), seed: n }));
    const alone = builts.map((built) => run(built, backend));
    const together = await Promise.all(
      builts.map(async (built) => {
        const { query, key, value, options } = callOf(built);
        const { out, lse } = await attention(query, key, value, { ...options, device: backend.device });
        const rows = fromTensor(lse!);
        return {
          out: fromOutput(out, built.layout, built.grid),
          lse: built.grid ? collapse(rows, 2, built.grid) : rows,
        };
      }),
    );
    for (const [n, output] of together.entries()) expectSameBits(output, alone[n], `call ${n}`);
    setNumThreads(threads);
  });

  it('`copyInputs`: inputs may be spoilt as soon as the call has returned', async () => {
    for (const c of cases) {
      const built = build(c);
      const { query, key, value, options } = callOf(built);
      const common = { ...options, device: backend.device };
      const { out } = await attention(query, key, value, common);
      const promise = attention(query, key, value, { ...common, copyInputs: true });
      const operands = [query, key, value, options.extraKeys, options.extraValues, options.relativeBias];
      for (const operand of operands) {
        if (operand) new Uint8Array(((operand as TensorLike).data as Float32Array).buffer).fill(0xff);
      }
      expect((await promise).out.data, named(c)).toEqual(out.data);
    }
  });

  it('`out` is leased from the call on: no other call may write or read it before it is done', async () => {
    for (const c of cases) {
      const { query, key, value, options } = callOf(build(c));
      const common = { ...options, device: backend.device };
      const { out: like } = attentionSync(query, key, value, common);
      const out = { type: like.type, data: like.data.slice(), dims: like.dims };
      const first = attention(query, key, value, { ...common, out });
      expectError(
        thrownBy(() => attentionSync(query, key, value, { ...common, out })),
        { code: 'ERR_TILEWISE_OVERLAP', type: RangeError, says: ['`out`'] },
      );
      await first;
      expect(out.data).toEqual(like.data);
      attentionSync(query, key, value, { ...common, out });
    }
  });

  it('keys past the lengths in use are never read: NaN there changes no bit', () => {
    for (const c of cases) {
      if (c.grid) continue; // a grid has all its tokens
      const keyLengths = [c.keys, Math.max(c.queries, c.keys - 37)];
      const { problem } = build({ ...c, batch: 2, keyLengths });
      const spoil = (operand: Operand): Operand => {
        const copy = gather(operand, 0, [0, 1]);
        const [, heads, tokens, dim] = operand.dims;
        for (const head of range(heads, 2 * heads)) {
          copy.data.fill(
            operand.type === 'float32' ? NaN : 0x7fff,
            (head * tokens + keyLengths[1]) * dim,
            (head + 1) * tokens * dim,
          );
        }
        return copy;
      };
      const spoiled = { ...problem, key: spoil(problem.key), value: spoil(problem.value) };
      expectSameBits(run(view(spoiled), backend), run(view(problem), backend), named(c));
    }
  });

  it('masks and biases hide as they do without a pattern', () => {
    expectMatrix(
      cases.flatMap((c): Case[] => [
        { ...c, mask: { axes: 'qk', hidden: 0.5 } },
        { ...c, bias: { axes: 'hqk', hidden: 0.3, dtype: 'float16' }, batch: 2 },
        { ...c, mask: { axes: 'bk', hidden: 0.9 }, batch: 2, sinks: true, softcap: 4 },
      ]),
      backend,
    );
    for (const c of cases) {
      if (c.extra) continue;
      const { out, lse } = runCase({ ...c, mask: { axes: 'k', hidden: 1 } }, backend);
      expect(new Set(toNumbers(out)), named(c)).toEqual(new Set([0]));
      expect(new Set(toNumbers(lse))).toEqual(new Set([-Infinity]));
    }
  });

  it('no batch entry, no query, no key: results of that shape, empty or 0', () => {
    expectCases(
      cases.flatMap((c): Case[] => {
        const empty: Case[] = [{ ...c, batch: 0 }];
        if (c.documents) empty.push({ ...c, queries: 0, keys: 0, documents: { ...c.documents, lists: [[0]] } });
        if (c.slices) empty.push({ ...c, queries: 0, slices: [[]] }, { ...c, keys: 0, slices: [[]] });
        const isSized = c.grid || c.documents || c.slices;
        if (!isSized) empty.push({ ...c, queries: 0 });
        if (!isSized && !c.hip) empty.push({ ...c, keys: 0 });
        if (c.hip) empty.push({ ...c, queries: 0, keys: 0 });
        return empty;
      }),
      backend,
    );
  });
});

it.each([
  ['neighborhoods', neighborhoodCases],
  ['shards', shardCases],
  ['block lists', blockCases],
  ['ranges', rangeCases],
  ['documents', documentCases],
  ['slices', sliceCases],
  ['powers', powerCases],
  ['sampled blocks', sampledCases],
  ["windows of MoA's", moaCases],
])('explain() counts the pairs that the rule of random %s shows', (_, cases) => {
  expectForAll(cases, sampleSize(49), (c) => {
    const { problem } = build({ ...c, mask: undefined, bias: undefined, keyLengths: undefined, extra: undefined });
    const [queryHeads, kvHeads] = c.heads!;
    const [headDim, valueDim] = c.dims!;
    const shape = c.grid ? { tokens: c.grid } : { queries: c.queries, keys: c.keys };
    const { flops, pairs } = explain(patternOf(problem, c.blocks?.form), {
      batch: c.batch,
      queryHeads,
      kvHeads,
      ...shape,
      headDim,
      valueDim,
    });
    let seen = 0;
    for (const sequence of sequencesOf(problem)) {
      for (const head of range(0, queryHeads)) {
        const rule = rulesOf(problem, sequence, head);
        for (const i of range(0, c.queries)) for (const j of range(0, c.keys)) if (rule.sees(i, j)) seen++;
      }
    }
    expect(flops, named(c)).toBe(2 * seen * (headDim + valueDim));
    expect(pairs.useful * queryHeads).toBeCloseTo(seen, 3);
  });
});

it('the reference counts the keys of a row as its rule shows them', () => {
  const { problem } = build({ ...cases[1], extra: 4 });
  const rule = rulesOf(problem, sequencesOf(problem)[0], 2);
  const { keysSeen } = reference(problem);
  for (const i of [0, 63, 149]) {
    const seen = range(0, 150).filter((j) => rule.sees(i, j)).length;
    expect(keysSeen[2 * 150 + i]).toBe(seen + 4);
  }
});
