// The laws of windows that differ by head, in every form of call. Reader: someone who changed core/pattern/window.h, or a
// loop that mixes heads in a tile. That hidden keys change nothing is in poison.test.ts, that threads do not in
// properties.test.ts.

import { it } from 'vitest';
import { attentionSync, KvCache, Tensor, type TensorLike } from '../../dist/index.js';
import type { Backend } from '../conformance/backends.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { run } from '../conformance/judge.js';
import { expectCases, expectSameBits, onEveryBackend, runCase } from '../conformance/suite.js';
import { toNumbers } from '../references/operand.js';
import { expectClose } from '../support/golden.js';

/** Heads of a group that differ, groups that differ, and both; sinks that bands reach and those that they do not. */
const windows: Partial<Case>[] = [
  { recentTokens: [1, 3, Infinity, 0], sinkTokens: [0, 2, 0, 4] },
  { recentTokens: [200, Infinity], sinkTokens: [17, 0] },
  { recentTokens: [5, 70], sinkTokens: [0, 9, 33, 100] },
  { recentTokens: 40, sinkTokens: [1, 64, 3, 30] },
  { left: [2, 0, 90, Infinity], right: [1, 3], sinkTokens: [3, 0] },
  { left: 5, right: [0, 1, 200, 20], align: 'top-left' },
];

const forms: Partial<Case>[] = [
  { queries: 150, keys: 170 },
  { queries: 1, keys: 400 },
  { queries: 3, keys: 333, dtype: 'float16' },
  { queries: 9, keys: 700, dtype: 'bfloat16' },
  { queries: 33, keys: 33, align: -5 },
  { queries: 20, keys: 64, align: 100 },
];

/** Of all cases here: heads share KV heads. */
const common: Case = { heads: [4, 2], dims: [24, 16], queries: 1, keys: 1 };

const numbersOf = (tensor: TensorLike): Float32Array => tensor.data as Float32Array;

/** One token of a dense tensor [1, tokens, heads, dim]. */
function tokenOf(tensor: TensorLike, token: number): Tensor {
  const [, , heads, dim] = tensor.dims as [number, number, number, number];
  const size = heads * dim;
  return new Tensor('float32', numbersOf(tensor).slice(token * size, (token + 1) * size), [1, 1, heads, dim]);
}

onEveryBackend((backend: Backend) => {
  it('every form of call: against float64', () => {
    const cases = windows.flatMap((window) => forms.map((form): Case => ({ ...common, batch: 2, ...form, ...window })));
    expectCases(cases, backend);
  });

  it('with lengths, starts, packed sequences, pages, masks and ALiBi: against float64', () => {
    const c: Case = { ...common, batch: 2, queries: 5, keys: 300 };
    const cases = windows.flatMap((window): Case[] => [
      { ...c, ...window, keyLengths: [300, 111] },
      { ...c, ...window, keyLengths: [300, 211], keyStarts: [64, 199] },
      { ...c, ...window, batch: 1, queries: 90, cuSeqlensQ: [0, 1, 40, 90], cuSeqlensK: [0, 80, 130, 300] },
      { ...c, ...window, keyLengths: [300, 17], pages: { size: 16 } },
      { ...c, ...window, mask: { axes: 'qk', hidden: 0.3 }, alibi: 'h' },
      { ...c, ...window, queries: 40, extra: 3, softcap: 5, sinks: true },
    ]);
    expectCases(cases, backend);
  });

  it('reversed heads: an entry per query head or per KV head', () => {
    const c: Case = { heads: [2, 4], queries: 20, keys: 50, dims: [16, 16], pairing: 'tile' };
    const given: Partial<Case>[] = [
      { recentTokens: [3, 20] },
      { recentTokens: [3, 20], pairing: 'interleave' },
      { recentTokens: [3, 20, 0, Infinity], sinkTokens: [1, 2] },
    ];
    expectCases(
      given.map((window) => ({ ...c, ...window })),
      backend,
    );
  });

  it('arrays of equal numbers are the same as the number, bit for bit', () => {
    for (const form of [forms[0]!, forms[1]!]) {
      const c: Case = { ...common, ...form };
      const alone = runCase({ ...c, recentTokens: 31, sinkTokens: 5 }, backend);
      for (const recentTokens of [[31], [31, 31], [31, 31, 31, 31]]) {
        expectSameBits(runCase({ ...c, recentTokens, sinkTokens: [5, 5] }, backend), alone);
      }
      expectSameBits(runCase({ ...c, causal: true, left: 30, sinkTokens: 5 }, backend), alone);
    }
  });

  it('[head/stride layout] both layouts give the same bits', () => {
    const streaming: Partial<Case> = { heads: [8, 4], recentTokens: [Infinity, 256, Infinity, 100], sinkTokens: 64 };
    for (const window of [...windows, streaming]) {
      for (const dtype of ['float32', 'bfloat16'] as const) {
        const c: Case = { ...common, batch: 2, keys: 1300, dtype, ...window };
        expectSameBits(runCase({ ...c, layout: 'bhnd' }, backend), runCase(c, backend));
      }
    }
  });

  it('a head sees what it would see if all heads had its window', () => {
    for (const form of forms) {
      const c: Case = { ...common, ...form };
      const recentTokens = [1, 300, 20, Infinity];
      const built = build({ ...c, recentTokens, sinkTokens: 7 });
      const all = run(built, backend);
      for (const [head, recent] of recentTokens.entries()) {
        const uniform = run(build({ ...c, recentTokens: recent, sinkTokens: 7 }), backend);
        const [batch, heads, queries, dim] = all.out.dims as [number, number, number, number];
        const of = (numbers: Float64Array) =>
          Array.from({ length: batch }, (_, b) =>
            Array.from(numbers.subarray((b * heads + head) * queries * dim, (b * heads + head + 1) * queries * dim)),
          ).flat();
        expectClose(of(toNumbers(all.out)), of(toNumbers(uniform.out)), form.dtype ? 2 : 5);
      }
    }
  });

  it('prefill = decode, and a cache is told as a call is', () => {
    const said = { recentTokens: [1, 9, 30, 0], sinkTokens: [2, 5] };
    const c: Case = { heads: [4, 2], dims: [16, 16], queries: 60, keys: 60, ...said };
    const { query, key, value } = callOf(build(c));
    const whole = numbersOf(attentionSync(query, key, value, { ...said, device: backend.device }).out);
    const cache = new KvCache({ kvHeads: 2, headDim: 16, device: backend.device });
    for (let t = 0; t < c.queries; ++t) {
      cache.append(0, tokenOf(key, t), tokenOf(value, t));
      const { out } = cache.attentionSync(0, tokenOf(query, t), said);
      expectClose(numbersOf(out), whole.subarray(t * 64, (t + 1) * 64), 5);
    }
    cache.dispose();
  });
});
