// What hierarchical attention selects: numbers worked out elsewhere (golden/hip.json), laws of the selection, and random
// problems of whole numbers, where lists have to be those of the reference, ties and all.
// Reader: someone who changed the search, or wants to know what it finds and what it misses.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hipAttentionSync, hipSelect, hipSelectSync, type TensorLike } from '../../dist/index.js';
import type { Backend } from '../conformance/backends.js';
import { integers } from '../conformance/draw.js';
import { fromOutput, fromTensor, operandOf, toTensor } from '../conformance/memory.js';
import { selectionCases } from '../conformance/pattern-sweep.js';
import { Random } from '../conformance/random.js';
import { nested, selectSync } from '../conformance/selection.js';
import { onEveryBackend } from '../conformance/suite.js';
import { dtypes, type FloatType } from '../references/half.js';
import { type SelectionOptions, type Stage, select } from '../references/hierarchical.js';
import { type Operand, range, toNumbers } from '../references/operand.js';
import { expectClose, headsFirst, operandOfHeads, rowsFirst } from '../support/golden.js';
import { hip, selectionOf } from '../support/pattern-goldens.js';
import { expectForAll } from '../support/property.js';
import { sampleSize } from '../support/sample.js';
import { gather } from '../support/views.js';

const tensorOf = (operand: Operand): TensorLike => toTensor(operand, 'bhnd', 'gaps');

/** Whole numbers, small enough for every product and sum to be exact in every type. */
function whole(seed: number, dims: number[], most: number, type: FloatType = 'float32'): Operand {
  const random = new Random(seed);
  const count = dims.reduce((a, n) => a * n, 1);
  return operandOf(
    type,
    dims,
    Array.from({ length: count }, () => random.integer(-most, most)),
  );
}

/** A selection of [batch, heads, tokens, dim] operands by a backend. */
const by = (backend: Backend, q: Operand, k: Operand, options: SelectionOptions) =>
  selectSync(tensorOf(q), tensorOf(k), options, backend, { layout: 'bhnd' });

const staged = (stages: Stage[], more: Partial<SelectionOptions> = {}): SelectionOptions => ({
  method: 'staged',
  blockQ: stages[stages.length - 1].blockQ,
  sink: 4,
  window: 16,
  scope: 'head',
  stages,
  ...more,
});
const treeOptions = (more: Partial<SelectionOptions> = {}): SelectionOptions => ({
  method: 'tree',
  blockQ: 8,
  sink: 4,
  window: 16,
  scope: 'head',
  maskK: 16,
  blockK: 2,
  strideQ: 2,
  strideK: 1,
  ...more,
});
const twoStages = [
  { blockQ: 16, strideQ: 4, chunk: 16, keep: 48 },
  { blockQ: 8, strideQ: 1, chunk: 4, keep: 16 },
];
const scopes = ['head', 'kv', 'layer'] as const;

onEveryBackend((backend) => {
  describe('goldens', () => {
    it.each(hip.cases)('$name', (golden) => {
      const [q, k] = [operandOfHeads(golden.q), operandOfHeads(golden.k)];
      const options = selectionOf(golden);
      const tokens = (list: number[]): number[] =>
        golden.algo === 'tree' ? list.map((block) => golden.sink + block * golden.blockK!) : list;
      for (const dtype of dtypes) {
        const as = (operand: Operand): Operand => operandOf(dtype, operand.dims, toNumbers(operand));
        const { selected, stages } = by(backend, as(q), as(k), options);
        expect(selected, dtype).toEqual([golden.selected.map((lists) => lists.map(tokens))]);
        for (const { heads, stage, chunkStarts } of golden.trace ?? []) {
          if (stage === undefined) continue;
          const list = Math.floor((heads[0] * golden.selected.length) / golden.Hq);
          expect(stages[stage][0][list], `stage ${stage}`).toEqual(chunkStarts);
        }
      }
      if (!golden.v) return;
      const { out, lse } = hipAttentionSync(tensorOf(q), tensorOf(k), tensorOf(operandOfHeads(golden.v)), {
        ...options,
        layout: 'bhnd',
        scale: golden.scale,
        returnLse: true,
        device: backend.device,
      });
      const numbers = toNumbers(fromOutput(out, 'bhnd'));
      // Values reach 50, so digits count from there.
      expectClose(
        numbers.map((x) => x / 64),
        headsFirst(golden.out!).map((x) => x / 64),
        5,
      );
      expectClose(toNumbers(fromTensor(lse)), rowsFirst(golden.lse!), 4);
    });
  });

  it('random whole numbers with many ties: the lists of the reference, stage by stage', () => {
    expectForAll(fc.tuple(selectionCases, integers(1, 19)), sampleSize(149), ([c, dim]) => {
      const { seed, dtype, heads, queries, keys, batch = 1, hip: options } = c;
      const q = whole(seed!, [batch, heads![0], queries, dim], 2, dtype);
      const k = whole(seed! + 1, [batch, heads![1], keys, dim], 2, dtype);
      const want = select(q, k, options!);
      const got = by(backend, q, k, options!);
      expect(got.selected).toEqual(want.selected);
      if (options!.method === 'staged') expect(got.stages).toEqual(want.stages);
    });
  });

  it('[P2] up to sink + window keys there is nothing to select', () => {
    const [q, k] = [whole(1, [1, 2, 20, 8], 9), whole(2, [1, 2, 20, 8], 9)];
    for (const options of [staged(twoStages), treeOptions()]) {
      expect(by(backend, q, k, options).selected.flat(3)).toEqual([]);
    }
  });

  it('[P3] one stage of single keys is the exact top-k', () => {
    const [q, k] = [whole(3, [1, 1, 1, 8], 50), whole(4, [1, 1, 130, 8], 50)];
    const options = staged([{ blockQ: 1, strideQ: 1, chunk: 1, keep: 10 }]);
    const [qn, kn] = [toNumbers(q), toNumbers(k)];
    const score = (token: number): number => range(0, 8).reduce((sum, d) => sum + qn[d] * kn[token * 8 + d], 0);
    const top = range(4, 130 - 16).sort((a, b) => score(b) - score(a) || a - b);
    expect(by(backend, q, k, options).selected).toEqual([[[top.slice(0, 10).sort((a, b) => a - b)]]]);
  });

  it('[P4] one stage that keeps more keeps what it kept', () => {
    const [q, k] = [whole(5, [1, 2, 40, 8], 9), whole(6, [1, 2, 200, 8], 9)];
    const lists = [8, 16, 40, 80].map((keep) => {
      const stage = { blockQ: 8, strideQ: 2, chunk: 8, keep };
      return by(backend, q, k, staged([stage])).selected.flat(2);
    });
    for (const n of range(1, lists.length)) {
      lists[n].forEach((list, m) => {
        expect(list).toEqual(expect.arrayContaining(lists[n - 1][m]));
      });
    }
  });

  it('[P6] a selection looks at its own queries and at keys before them, at nothing else', () => {
    const [queries, keys] = [64, 160];
    const q = whole(7, [1, 2, queries, 8], 9);
    const k = whole(8, [1, 2, keys, 8], 9);
    for (const options of [staged(twoStages), treeOptions()]) {
      const before = by(backend, q, k, options).selected;
      const rows = 8;
      for (const m of [0, 3, 6]) {
        const last = keys - queries + (m + 1) * rows - 1;
        const change = (operand: Operand, isChanged: (token: number) => boolean): Operand => {
          const copy = gather(operand, 2, range(0, operand.dims[2]));
          range(0, 2 * operand.dims[2]).forEach((row) => {
            if (isChanged(row % operand.dims[2])) copy.data.fill(NaN, row * 8, row * 8 + 8);
          });
          return copy;
        };
        // Blocks of the first stage have 16 queries: those of the neighbour count there.
        const own = options.method === 'tree' ? rows : 16;
        const first = Math.floor((m * rows) / own) * own;
        const otherQueries = change(q, (token) => token < first || token >= first + own);
        const lastOfOwn = keys - queries + first + own - 1;
        const otherKeys = change(
          k,
          (token) => token > Math.max(last, lastOfOwn) - options.window || token < options.sink,
        );
        const after = by(backend, otherQueries, otherKeys, options).selected;
        expect([after[0][0][m], after[0][1][m]]).toEqual([before[0][0][m], before[0][1][m]]);
      }
    }
  });

  it('[P7] entries are distinct, ascending, on the grid of chunks from the sink on, and behind the window', () => {
    const [queries, keys] = [50, 230];
    const q = whole(9, [2, 4, queries, 8], 9);
    const k = whole(10, [2, 2, keys, 8], 9);
    for (const scope of scopes) {
      for (const options of [staged(twoStages, { scope }), treeOptions({ scope })]) {
        const { selected } = by(backend, q, k, options);
        const chunk = options.method === 'tree' ? options.blockK! : 4;
        expect(selected.map((lists) => lists.length)).toEqual(new Array(2).fill({ head: 4, kv: 2, layer: 1 }[scope]));
        for (const list of selected.flat()) {
          list.forEach((entries, m) => {
            const end = keys - queries + Math.min(8 * (m + 1), queries) - options.window;
            expect(entries).toEqual([...new Set(entries)].sort((a, b) => a - b));
            for (const start of entries) {
              expect((start - options.sink) % chunk).toBe(0);
              expect(start >= options.sink && start < end).toBe(true);
            }
            if (options.method === 'tree') {
              expect(entries.length).toBe(Math.min(Math.ceil((end - options.sink) / 2), 8));
            }
          });
        }
      }
    }
  });

  it('[P10] a prefill in chunks of whole blocks selects what the whole prefill selects', () => {
    const [q, k] = [whole(11, [1, 2, 64, 8], 9), whole(12, [1, 2, 200, 8], 9)];
    for (const options of [staged(twoStages), treeOptions()]) {
      const all = by(backend, q, k, options).selected[0];
      for (const begin of [0, 16, 48]) {
        const chunk = by(
          backend,
          gather(q, 2, range(begin, begin + 16)),
          gather(k, 2, range(0, 136 + begin + 16)),
          options,
        );
        expect(chunk.selected[0]).toEqual(all.map((blocks) => blocks.slice(begin / 8, begin / 8 + 2)));
      }
    }
  });

  it('[P11] with the same query heads in a group, a list per KV head is a list per head', () => {
    const q = gather(whole(13, [1, 2, 40, 8], 9), 1, [0, 0, 1, 1]);
    const k = whole(14, [1, 2, 160, 8], 9);
    for (const options of [staged(twoStages), treeOptions()]) {
      const perHead = by(backend, q, k, options).selected[0];
      const perKv = by(backend, q, k, { ...options, scope: 'kv' }).selected[0];
      expect(perHead).toEqual([perKv[0], perKv[0], perKv[1], perKv[1]]);
    }
  });

  it('[P12] permuting heads permutes lists per head, and leaves the list of a layer', () => {
    const [q, k] = [whole(15, [1, 4, 40, 8], 9), whole(16, [1, 4, 160, 8], 9)];
    const order = [2, 0, 3, 1];
    const [pq, pk] = [gather(q, 1, order), gather(k, 1, order)];
    for (const options of [staged(twoStages), treeOptions()]) {
      const straight = by(backend, q, k, options).selected[0];
      expect(by(backend, pq, pk, options).selected[0]).toEqual(order.map((head) => straight[head]));
      const layer = { ...options, scope: 'layer' as const };
      expect(by(backend, pq, pk, layer).selected).toEqual(by(backend, q, k, layer).selected);
    }
  });

  it('[P13] where all keys score alike the earliest are selected', () => {
    const [q, k] = [whole(17, [1, 2, 16, 8], 9), whole(18, [1, 2, 160, 8], 0)];
    expect(by(backend, q, k, staged(twoStages)).selected[0][0][1]).toEqual([4, 8, 12, 16]);
    expect(by(backend, q, k, treeOptions()).selected).toEqual(select(q, k, treeOptions()).selected);
  });

  it('[P14] doubling queries, or all keys, changes no list', () => {
    const random = new Random(5);
    const floats = (dims: number[]): Operand =>
      operandOf(
        'float32',
        dims,
        Array.from({ length: dims.reduce((a, n) => a * n, 1) }, () => random.normal()),
      );
    const [q, k] = [floats([1, 2, 40, 24]), floats([1, 2, 300, 24])];
    const twice = (operand: Operand, factor: number): Operand =>
      operandOf(
        'float32',
        operand.dims,
        toNumbers(operand).map((x) => factor * x),
      );
    for (const options of [staged(twoStages), treeOptions()]) {
      const straight = by(backend, q, k, options).selected;
      for (const factor of [2 ** -7, 2, 2 ** 20]) {
        expect(by(backend, twice(q, factor), k, options).selected).toEqual(straight);
        expect(by(backend, q, twice(k, factor), options).selected).toEqual(straight);
      }
    }
  });

  it('a batch entry selects alone what it selects among others, with key lengths what shorter keys select', () => {
    const [q, k] = [whole(19, [3, 4, 24, 8], 9), whole(20, [3, 2, 160, 8], 9)];
    const keyLengths = Int32Array.of(160, 24, 97);
    for (const options of [staged(twoStages, { scope: 'kv' }), treeOptions({ scope: 'kv' })]) {
      const more = { layout: 'bhnd', keyLengths };
      const all = selectSync(tensorOf(q), tensorOf(k), options, backend, more).selected;
      for (const b of range(0, 3)) {
        const key = gather(gather(k, 0, [b]), 2, range(0, keyLengths[b]));
        expect([all[b]], `entry ${b}`).toEqual(by(backend, gather(q, 0, [b]), key, options).selected);
      }
    }
  });

  it('layouts and storages change no list', () => {
    const [q, k] = [whole(21, [2, 4, 24, 8], 9), whole(22, [2, 2, 160, 8], 9)];
    const straight = by(backend, q, k, staged(twoStages)).selected;
    for (const layout of ['bnhd', 'bhnd'] as const) {
      const pair = [toTensor(q, layout), toTensor(k, layout)] as const;
      expect(selectSync(...pair, staged(twoStages), backend, { layout }).selected).toEqual(straight);
    }
  });
});

describe('hipSelect()', () => {
  const [q, k] = [whole(23, [1, 2, 24, 8], 9), whole(24, [1, 2, 160, 8], 9)];

  it('resolves to lists with their sizes, the same as its synchronous form', async () => {
    const options = { ...staged(twoStages), layout: 'bhnd' as const };
    const selection = await hipSelect(tensorOf(q), tensorOf(k), options);
    const { blocks, stages } = selection;
    expect(stages.map(({ blockQ, chunk }) => [blockQ, chunk])).toEqual([
      [16, 16],
      [8, 4],
    ]);
    expect(blocks).toBe(stages[1]);
    expect(blocks.counts.dims).toEqual([1, 2, 3]);
    expect(blocks.indices.dims.slice(0, 3)).toEqual([1, 2, 3]);
    expect(nested(blocks)).toEqual(nested(hipSelectSync(tensorOf(q), tensorOf(k), options).blocks));
    const most = blocks.indices.dims[3];
    blocks.counts.data.forEach((count, row) => {
      const rest = blocks.indices.data.subarray(row * most + count, (row + 1) * most);
      expect(new Set(rest).size === 0 || new Set(rest).has(2 ** 31 - 1)).toBe(true);
    });
  });
});
