// Grids in memory and the options that go with them: layouts, crops, `out`, relative bias, extra keys, and invariances that
// have to be bitwise. Reader: someone who changed the collapsing of grids, or addresses.

import { afterAll, expect, it } from 'vitest';
import {
  type AttentionResult,
  type NeighborhoodOptions,
  neighborhoodAttention,
  neighborhoodAttentionSync,
  numThreads,
  setNumThreads,
} from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf, run } from '../conformance/judge.js';
import { bitsOf, collapse, encode, fromOutput, fromTensor, operandOf, storages } from '../conformance/memory.js';
import { neighborhoodOf } from '../conformance/patterns.js';
import { expectRight, expectSameBits, onEveryBackend, runCase } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { coordinates, neighborhoodRule } from '../references/neighborhood.js';
import type { Operand } from '../references/operand.js';
import { range } from '../references/operand.js';
import type { Problem } from '../references/problem.js';
import { on, product } from '../support/grids.js';
import { gather, headsOf, rowsOf, view } from '../support/views.js';

/** The three ranks, with odd and even windows, strides and ragged dilation. */
const grids: Case[] = [
  on([150], { neighborhood: { kernelSize: 13, stride: 4 } }),
  on([67, 5], { neighborhood: { kernelSize: [12, 3], stride: [8, 2], dilation: [5, 1], causal: [true, false] } }),
  on([13, 11], { neighborhood: { kernelSize: 7 } }),
  on([7, 9, 6], { neighborhood: { kernelSize: [3, 4, 3], stride: [2, 3, 3], dilation: [2, 1, 2] } }),
];

onEveryBackend((backend) => {
  const threads = numThreads();
  afterAll(() => setNumThreads(threads));

  it('one value says the same as one per axis', () => {
    for (const [grid, all, each] of [
      [[20], 5, [5]],
      [[9, 12], 4, [4, 4]],
      [[5, 6, 7], 3, [3, 3, 3]],
    ] as const) {
      const { problem, layout } = build(on([...grid], { neighborhood: { kernelSize: all } }));
      const { query, key, value } = callOf({ problem, layout, storage: 'dense', is3d: false, grid: [...grid] });
      const call = (options: NeighborhoodOptions) =>
        neighborhoodAttentionSync(query, key, value, { ...options, device: backend.device }).out.data;
      const twos = each.map(() => 2);
      const single = { kernelSize: all, stride: 2, dilation: 1, causal: true };
      const listed = { kernelSize: each, stride: twos, dilation: each.map(() => 1), causal: each.map(() => true) };
      expect(call(single)).toEqual(call(listed));
    }
  });

  it('[head/stride layout] layouts and storages give the same bits', () => {
    for (const c of grids) {
      const dense = runCase({ ...c, batch: 2 }, backend);
      for (const layout of ['bnhd', 'bhnd'] as const) {
        for (const storage of storages) {
          if (storage === 'repeated') continue; // holds other numbers
          expectSameBits(runCase({ ...c, batch: 2, layout, storage }, backend), dense, `${layout} ${storage}`);
        }
      }
    }
  });

  it('a crop of a larger image, whose rows lie apart, gives the bits of a copy', () => {
    for (const layout of ['bnhd', 'bhnd'] as const) {
      for (const dtype of dtypes) {
        const [high, wide, heads, dim] = [9, 8, 2, 16];
        const axes = layout === 'bnhd' ? [2, 12, 11, heads, dim] : [2, heads, 12, 11, dim];
        const strides = axes.map((_, axis) => product(axes.slice(axis + 1)));
        const dims = layout === 'bnhd' ? [2, high, wide, heads, dim] : [2, heads, high, wide, dim];
        const first = layout === 'bnhd' ? 1 : 2;
        const make = (seed: number) => {
          const numbers = Array.from({ length: product(axes) }, (_, i) => Math.sin(seed * 77.7 + i * 12.9898));
          const data = encode(dtype, numbers);
          const offset = 2 * strides[first] + 3 * strides[first + 1];
          const crop = { type: dtype, data, dims, strides, offset };
          const order: number[] = [];
          const walk = (axis: number, at: number): void => {
            if (axis === dims.length) order.push(at);
            else for (let i = 0; i < dims[axis]; i++) walk(axis + 1, at + i * strides[axis]);
          };
          walk(0, offset);
          return {
            crop,
            copy: {
              type: dtype,
              data: encode(
                dtype,
                order.map((at) => numbers[at]),
              ),
              dims,
            },
          };
        };
        const [q, k, v] = [make(1), make(2), make(3)];
        const options = {
          kernelSize: [4, 3],
          dilation: [1, 2],
          layout,
          returnLse: true,
          device: backend.device,
        } as const;
        const cropped = neighborhoodAttentionSync(q.crop, k.crop, v.crop, options);
        const copied = neighborhoodAttentionSync(q.copy, k.copy, v.copy, options);
        expect(cropped.out.data, `${layout} ${dtype}`).toEqual(copied.out.data);
        expect(cropped.lse.data).toEqual(copied.lse.data);
      }
    }
  });

  it('writes into `out`, and the promise gives the same bits', async () => {
    const { grid, ...built } = build(grids[3]);
    const { query, key, value, options } = callOf({ ...built, grid });
    const { layout } = built;
    const { kernelSize, stride, dilation } = grids[3].neighborhood!;
    const common = { kernelSize, stride, dilation, layout, device: backend.device, returnLse: true } as const;
    const same = neighborhoodAttentionSync(query, key, value, common);
    const out = { type: 'float32', data: new Float32Array(same.out.data.length), dims: same.out.dims };
    const [given, promised] = await Promise.all([
      neighborhoodAttention(query, key, value, { ...common, out }),
      neighborhoodAttention(query, key, value, common),
    ]);
    expect(options.pattern!.kind).toBe('neighborhood');
    expect(out.data).toEqual(same.out.data);
    expect(given.lse!.data).toEqual(same.lse.data);
    expect(promised.out.data).toEqual(same.out.data);
  });

  it('permuting heads permutes outputs, and a shared KV head gives what it gives each alone', () => {
    for (const c of grids) {
      const { problem } = build({ ...c, heads: [6, 2] });
      const expected = expectedOf(problem);
      const straight = run(view(problem, c.grid), backend);
      expectRight(straight, expected);
      const alone = [0, 0, 0, 1, 1, 1];
      const repeated = { ...problem, key: gather(problem.key, 1, alone), value: gather(problem.value, 1, alone) };
      expectRight(run(view(repeated, c.grid), backend), expected);
      const order = [4, 3, 5, 1, 2, 0];
      const swap = [1, 0];
      const permuted = {
        ...problem,
        query: gather(problem.query, 1, order),
        key: gather(problem.key, 1, swap),
        value: gather(problem.value, 1, swap),
      };
      expectSameBits(run(view(permuted, c.grid), backend), headsOf(straight, order));
    }
  });

  it('the number of threads and the rest of the batch change no bit', () => {
    for (const c of grids) {
      const { problem } = build({ ...c, batch: 3 });
      setNumThreads(1);
      const all = run(view(problem, c.grid), backend);
      for (const count of [2, 3, 7]) {
        setNumThreads(count);
        expectSameBits(run(view(problem, c.grid), backend), all, `${count} threads`);
      }
      setNumThreads(threads);
      for (const b of range(0, 3)) {
        const of = (operand: Operand): Operand => gather(operand, 0, [b]);
        const single = { ...problem, query: of(problem.query), key: of(problem.key), value: of(problem.value) };
        expectSameBits(run(view(single, c.grid), backend), { out: of(all.out), lse: of(all.lse) }, `entry ${b}`);
      }
    }
  });

  it('keys outside the window never reach the output: NaN there changes no bit', () => {
    for (const c of grids) {
      const { problem } = build({ ...c, heads: [1, 1] });
      const rule = neighborhoodRule(neighborhoodOf(c.grid!, c.neighborhood!));
      const clean = run(view(problem, c.grid), backend);
      const poisoned = Math.floor(product(c.grid!) / 3);
      const spoil = (operand: Operand): Operand => {
        const copy = gather(operand, 2, range(0, operand.dims[2]));
        copy.data.fill(NaN, poisoned * operand.dims[3], (poisoned + 1) * operand.dims[3]);
        return copy;
      };
      const dirty = run(view({ ...problem, key: spoil(problem.key), value: spoil(problem.value) }, c.grid), backend);
      const rows = range(0, product(c.grid!));
      const blind = rows.filter((query) => !rule(query, poisoned));
      expectSameBits(rowsOf(dirty, blind), rowsOf(clean, blind), JSON.stringify(c.grid));
      const seers = rowsOf(
        dirty,
        rows.filter((query) => rule(query, poisoned)),
      );
      expect([...bitsOf(seers.lse)].every((bits) => (bits & 0x7f800000) === 0x7f800000)).toBe(true);
    }
  });

  it('a relative bias: none is zeros, a constant moves lse alone, and causal entries are never read', () => {
    for (const c of grids) {
      const { problem } = build(c);
      const { axes } = neighborhoodOf(c.grid!, c.neighborhood!);
      const dims = [4, ...axes.map((axis) => 2 * axis.kernelSize - 1)];
      const biased = (value: (index: number[]) => number): Problem => {
        const numbers = range(0, product(dims)).map((n) => value(coordinates(n, dims)));
        return { ...problem, relativeBias: operandOf('float32', dims, numbers) };
      };
      const plain = expectedOf(problem);
      expectRight(
        run(
          view(
            biased(() => 0),
            c.grid,
          ),
          backend,
        ),
        plain,
        'zeros',
      );
      const moved = { ...plain.exact, lse: plain.exact.lse.map((x) => x + 3) };
      expectRight(
        run(
          view(
            biased(() => 3),
            c.grid,
          ),
          backend,
        ),
        { ...expectedOf(biased(() => 3)), exact: moved },
        'constant',
      );
      const future = biased(([_, ...place]) =>
        place.some((i, axis) => axes[axis].causal && i >= axes[axis].kernelSize) ? NaN : 0,
      );
      expectRight(run(view(future, c.grid), backend), plain, 'NaN in the future');
    }
  });

  it('extra keys join the softmax of every token of the grid', () => {
    for (const c of grids) {
      const { problem, layout } = build({ ...c, extra: 21, layout: 'bhnd' });
      const alone = callOf({ problem, layout, storage: 'dense', is3d: false, grid: c.grid });
      const { out, lse } = neighborhoodAttentionSync(alone.query, alone.key, alone.value, {
        kernelSize: c.neighborhood!.kernelSize,
        stride: c.neighborhood!.stride,
        dilation: c.neighborhood!.dilation,
        causal: c.neighborhood!.causal,
        layout,
        returnLse: true,
        extraKeys: alone.options.extraKeys,
        extraValues: alone.options.extraValues,
        device: backend.device,
      }) as Required<AttentionResult>;
      expectRight(
        { out: fromOutput(out, layout, c.grid), lse: collapse(fromTensor(lse), 2, c.grid!) },
        expectedOf(problem),
      );
    }
  });
});
