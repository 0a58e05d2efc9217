// Attention in parts: keys in parts that are merged, queries in chunks and one at a time, each give the whole.
// Reader: someone who changed splitting, merging or the alignment of queries.

import { expect, it } from 'vitest';
import { type AttentionPart, attentionSync, mergeAttentionSync, Tensor } from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf, type Output, run } from '../conformance/judge.js';
import { bitsOf, fromOutput, fromTensor, operandOf, toPlainTensor } from '../conformance/memory.js';
import { expectRight, expectSameBits, onEveryBackend, runCase } from '../conformance/suite.js';
import { dtypes, ulp } from '../references/half.js';
import { range, toNumbers } from '../references/operand.js';
import type { Problem } from '../references/problem.js';
import { concatenate, gather, view } from '../support/views.js';

onEveryBackend((backend) => {
  it('[LSE base / sign] keys in parts and mergeAttention = the whole', () => {
    const c: Case = {
      batch: 2,
      heads: [4, 2],
      queries: 30,
      keys: 500,
      dims: [16, 12],
      sinkTokens: 3,
      left: 210,
      causal: true,
    };
    for (const cuts of [
      [0, 500],
      [0, 1, 500],
      [0, 64, 128, 500],
      [0, 100, 100, 333, 499, 500],
    ]) {
      const { problem } = build({ ...c, align: 470 });
      const parts = cuts.slice(1).map((end, n) => {
        const begin = cuts[n];
        const keys = range(begin, end);
        const part: Problem = {
          ...problem,
          key: gather(problem.key, 2, keys),
          value: gather(problem.value, 2, keys),
          align: 470 - begin,
          sinkTokens: Math.max(0, 3 - begin),
        };
        const { query, key, value, options } = callOf(view(part));
        const { out, lse } = attentionSync(query, key, value, { ...options, device: backend.device });
        return { out, lse: lse! };
      });
      const { out, lse } = mergeAttentionSync(parts, { layout: 'bhnd' });
      const merged: Output = { out: fromOutput(out, 'bhnd'), lse: fromTensor(lse!) };
      expectRight(merged, expectedOf(problem), `cuts ${cuts}`);
    }
  });

  it('[LSE base / sign] mergeAttention weighs parts by exp(lse), and a part that saw nothing by 0', () => {
    for (const dtype of dtypes) {
      const rows = 6;
      const dim = 5;
      const lses = [
        [0, 3, -Infinity, -Infinity, 200, -1e4],
        [1, -2, 0.5, -Infinity, -200, -1e4 + 1],
        [-1, 3, -Infinity, -Infinity, 199, -2e4],
      ];
      const parts = lses.map((lse, p) => {
        const numbers = Array.from({ length: rows * dim }, (_, i) =>
          lse[Math.floor(i / dim)] === -Infinity ? 0 : Math.sin(i * (p + 1)),
        );
        return { out: operandOf(dtype, [1, rows, 1, dim], numbers), lse: operandOf('float32', [1, 1, rows], lse) };
      });
      const { out, lse } = mergeAttentionSync(
        parts.map((part) => ({ out: toPlainTensor(part.out), lse: toPlainTensor(part.lse) })),
      );
      const got = toNumbers(fromTensor(out));
      const gotLse = toNumbers(fromTensor(lse!));
      for (let row = 0; row < rows; row++) {
        const max = Math.max(...lses.map((part) => part[row]));
        const weights = lses.map((part) => (max === -Infinity ? 0 : Math.exp(part[row] - max)));
        const sum = weights.reduce((a, w) => a + w, 0);
        const wantLse = sum === 0 ? -Infinity : max + Math.log(sum);
        if (sum === 0) expect(gotLse[row]).toBe(-Infinity);
        else expect(Math.abs(gotLse[row] - wantLse)).toBeLessThanOrEqual(2 * ulp('float32', max));
        for (let d = 0; d < dim; d++) {
          const want = parts.reduce(
            (total, part, p) => total + (sum && weights[p] / sum) * toNumbers(part.out)[row * dim + d],
            0,
          );
          const bound = sum === 0 ? 0 : 8 * ulp('float32', 1) * Math.max(1, Math.abs(max) / 8) + ulp(dtype, want);
          expect(Math.abs(got[row * dim + d] - want), `row ${row} ${dtype}`).toBeLessThanOrEqual(bound);
        }
      }
    }
  });

  it('sinks count once: in one part, or in the merge', () => {
    const column = (...numbers: number[]) =>
      new Tensor('float32', Float32Array.from(numbers), [1, numbers.length, 1, 1]);
    const [q, k, v] = [column(0), column(0, 0), column(1, 1)];
    const sinks = Float32Array.of(0);
    const part = (at: number, options: { sinks?: Float32Array } = {}) =>
      attentionSync(q, k.slice(1, at, at + 1), v.slice(1, at, at + 1), {
        returnLse: true,
        device: backend.device,
        ...options,
      }) as AttentionPart;
    const merged = (parts: AttentionPart[], options = {}) =>
      mergeAttentionSync(parts, { device: backend.device, ...options }).out.data[0];
    expect(attentionSync(q, k, v, { sinks, device: backend.device }).out.data[0]).toBeCloseTo(2 / 3, 6);
    expect(merged([part(0, { sinks }), part(1)])).toBeCloseTo(2 / 3, 6);
    expect(merged([part(0), part(1)], { sinks })).toBeCloseTo(2 / 3, 6);
    expect(merged([part(0, { sinks }), part(1, { sinks })])).toBeCloseTo(1 / 2, 6);

    for (const dtype of dtypes) {
      const { problem } = build({ heads: [4, 2], queries: 9, keys: 80, dims: [8, 8], sinks: true, dtype });
      const parts = [range(0, 30), range(30, 80)].map((keys) => {
        const { query, key, value, options } = callOf(
          view({
            ...problem,
            sinks: undefined,
            key: gather(problem.key, 2, keys),
            value: gather(problem.value, 2, keys),
          }),
        );
        return attentionSync(query, key, value, { ...options, device: backend.device }) as AttentionPart;
      });
      // A tensor with strides, as a Float32Array has none.
      const spread = new Float32Array(8).fill(Number.NaN);
      toNumbers(problem.sinks!).forEach((x, head) => {
        spread[2 * head] = x;
      });
      const { out, lse } = mergeAttentionSync(parts, {
        layout: 'bhnd',
        device: backend.device,
        sinks: new Tensor('float32', spread, [4], { strides: [2] }),
      });
      const whole = expectedOf(problem);
      if (dtype === 'float32') expectRight({ out: fromOutput(out, 'bhnd'), lse: fromTensor(lse) }, whole);
      toNumbers(fromTensor(lse)).forEach((x, row) => {
        expect(x).toBeCloseTo(whole.exact.lse[row], dtype === 'float32' ? 5 : 2);
      });
    }
  });

  it('the output of a part that saw nothing is not read, whichever infinity says so', () => {
    for (const dtype of dtypes) {
      for (const nothing of [-Infinity, Infinity]) {
        const part = (out: number, lse: number) => ({
          out: toPlainTensor(operandOf(dtype, [1, 2, 1, 3], new Array(6).fill(out))),
          lse: toPlainTensor(operandOf('float32', [1, 1, 2], [lse, lse])),
        });
        for (const poison of [NaN, Infinity]) {
          for (const parts of [
            [part(poison, nothing), part(2, 1)],
            [part(2, 1), part(poison, nothing)],
          ]) {
            const { out, lse } = mergeAttentionSync(parts, { device: backend.device });
            expect(new Set(toNumbers(fromTensor(out))), `${poison} under ${nothing}`).toEqual(new Set([2]));
            expect(new Set(toNumbers(fromTensor(lse)))).toEqual(new Set([1]));
          }
          const alone = mergeAttentionSync([part(poison, nothing)], { device: backend.device });
          expect(new Set(toNumbers(fromTensor(alone.out)))).toEqual(new Set([0]));
          expect(new Set(toNumbers(fromTensor(alone.lse)))).toEqual(new Set([-Infinity]));
        }
      }
    }
  });

  it('a prefill in chunks, each against the keys so far, = the whole prefill', () => {
    const { problem } = build({
      heads: [4, 2],
      queries: 200,
      keys: 200,
      dims: [24, 24],
      causal: true,
      left: 120,
      sinkTokens: 2,
    });
    const expected = expectedOf(problem);
    for (const size of [1, 33, 64, 150]) {
      const chunks: Output[] = [];
      for (let begin = 0; begin < 200; begin += size) {
        const end = Math.min(200, begin + size);
        const chunk = {
          ...problem,
          query: gather(problem.query, 2, range(begin, end)),
          key: gather(problem.key, 2, range(0, end)),
          value: gather(problem.value, 2, range(0, end)),
        };
        chunks.push(run(view(chunk), backend));
      }
      expectRight(concatenate(chunks), expected, `chunks of ${size}`);
    }
  });

  it('[causal alignment] decode steps, one query at a time at the bottom right, = prefill', () => {
    for (const dtype of dtypes) {
      const { problem } = build({ heads: [4, 1], queries: 90, keys: 90, dims: [32, 32], causal: true, dtype });
      const steps = range(0, 90).map((i) =>
        run(
          view({
            ...problem,
            query: gather(problem.query, 2, [i]),
            key: gather(problem.key, 2, range(0, i + 1)),
            value: gather(problem.value, 2, range(0, i + 1)),
          }),
          backend,
        ),
      );
      expectRight(concatenate(steps), expectedOf(problem), dtype);
    }
  });

  it('[causal alignment] for equal lengths all alignments are one; the offset says which otherwise', () => {
    const square: Case = { queries: 50, keys: 50, causal: true };
    const reference = runCase(square, backend);
    for (const align of ['top-left', 'bottom-right', 0] as const)
      expectSameBits(runCase({ ...square, align }, backend), reference);
    const wide: Case = { queries: 20, keys: 50, causal: true };
    expectSameBits(runCase({ ...wide, align: 30 }, backend), runCase(wide, backend));
    expectSameBits(runCase({ ...wide, align: 0 }, backend), runCase({ ...wide, align: 'top-left' }, backend));
    expect(bitsOf(runCase({ ...wide, align: 'top-left' }, backend).out)).not.toEqual(
      bitsOf(runCase(wide, backend).out),
    );
  });
});
