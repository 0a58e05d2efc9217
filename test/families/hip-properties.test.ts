// Attention over a hierarchical selection: laws, decoding with a state, arguments, and a random sweep.
// Reader: someone with long contexts, or who changed how lists, windows and sinks meet. hip-selection.test.ts judges the
// selection; these tests take the library's own lists, because near ties may go either way in float32.

import { describe, expect, it } from 'vitest';
import { attention, attentionSync, HipState, hipAttention, hipAttentionSync } from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf, run } from '../conformance/judge.js';
import { fromOutput, fromTensor, operandOf, toTensor } from '../conformance/memory.js';
import { selectionCases } from '../conformance/pattern-sweep.js';
import { Random } from '../conformance/random.js';
import { nested, selectedBy } from '../conformance/selection.js';
import {
  expectCases,
  expectMatrix,
  expectRight,
  expectSameBits,
  onEveryBackend,
  runCase,
  sweep,
} from '../conformance/suite.js';
import { type SelectionOptions, type Stage, select } from '../references/hierarchical.js';
import { type Operand, range, toNumbers } from '../references/operand.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { gather, headsOf, view } from '../support/views.js';

const stages: Stage[] = [
  { blockQ: 16, strideQ: 4, chunk: 16, keep: 48 },
  { blockQ: 8, strideQ: 1, chunk: 4, keep: 16 },
];
const options: SelectionOptions = { method: 'staged', blockQ: 8, sink: 4, window: 16, scope: 'kv', stages };
const long: Case = { heads: [4, 2], queries: 50, keys: 210, dims: [24, 20], hip: options };
const scopes = ['head', 'kv', 'layer'] as const;
const everything = (keys: number): Stage[] => stages.map((stage) => ({ ...stage, keep: keys + 16 }));

onEveryBackend((backend) => {
  it('sinks, window and selected keys, in every scope, both methods, all types, prefill and decode', () => {
    const tree: SelectionOptions = {
      method: 'tree',
      blockQ: 8,
      sink: 4,
      window: 16,
      scope: 'kv',
      maskK: 24,
      blockK: 4,
      strideQ: 2,
      strideK: 2,
    };
    expectMatrix(
      scopes.flatMap((scope): Case[] => [
        { ...long, hip: { ...options, scope } },
        { ...long, dtype: 'float16', hip: { ...tree, scope }, batch: 2 },
        { ...long, dtype: 'bfloat16', hip: { ...options, scope }, queries: 1, heads: [8, 2] },
        { ...long, hip: { ...options, scope, sink: 0 }, queries: 210, layout: 'bhnd', storage: 'gaps' },
        { ...long, hip: { ...tree, scope, blockQ: 1 }, queries: 1 },
        { ...long, hip: { ...options, scope }, batch: 2, keyLengths: [210, 60], sinks: true, softcap: 5 },
        { ...long, hip: { ...options, scope }, batch: 2, keyLengths: [30, 0] },
        { ...long, hip: { ...options, scope }, batch: 2, keyLengths: [150, 90], pages: { size: 16 } },
        { ...long, dtype: 'float16', hip: { ...tree, scope }, layout: 'bhnd', keyLengths: [205], pages: { size: 7 } },
        { ...long, queries: 1, hip: { ...options, scope }, batch: 2, keyLengths: [210, 20], pages: { size: 64 } },
      ]),
      backend,
    );
  });

  it('selects from pages what it selects from one tensor', () => {
    for (const hip of [options, { ...options, scope: 'head' as const }]) {
      const c: Case = { ...long, hip, batch: 2, keyLengths: [210, 210] };
      const [tensor, pages] = [c, { ...c, pages: { size: 16 } }].map((each) => selectedBy(build(each), backend));
      expect(pages).toEqual(tensor);
    }
  });

  it('sequences of many tiles', () => {
    const twoStages = [
      { blockQ: 64, strideQ: 4, chunk: 64, keep: 512 },
      { blockQ: 64, strideQ: 1, chunk: 8, keep: 128 },
    ];
    const hip: SelectionOptions = { ...options, blockQ: 64, sink: 20, window: 100, stages: twoStages };
    expectCases([{ heads: [2, 1], queries: 1200, keys: 1700, dims: [8, 8], hip }], backend);
  });

  it('[P1] when everything is kept it is causal attention', () => {
    for (const scope of scopes) {
      for (const [queries, keys] of [
        [120, 120],
        [50, 210],
        [1, 210],
      ]) {
        const kept = { ...options, scope, stages: everything(keys) };
        const c: Case = { ...long, queries, keys, hip: kept };
        const { pattern, ...rest } = build(c).problem;
        expectRight(runCase(c, backend), expectedOf({ ...rest, causal: true }), `${scope} ${queries} ${keys}`);
        const tree: Case = {
          ...long,
          queries,
          keys,
          hip: { method: 'tree', blockQ: 8, sink: 4, window: 16, scope, maskK: 256, blockK: 4, strideQ: 1, strideK: 1 },
        };
        expectRight(runCase(tree, backend), expectedOf({ ...rest, causal: true }), `tree ${queries} ${keys}`);
      }
    }
  });

  it('[P2] up to sink + window keys it is causal attention', () => {
    const c: Case = { ...long, queries: 20, keys: 20 };
    const { pattern, ...rest } = build(c).problem;
    expectRight(runCase(c, backend), expectedOf({ ...rest, causal: true }));
  });

  it('[P8] lse never exceeds that of causal attention', () => {
    const built = build(long);
    const { pattern, ...rest } = built.problem;
    const dense = toNumbers(run(view({ ...rest, causal: true }), backend).lse);
    toNumbers(run(built, backend).lse).forEach((lse, row) => {
      expect(lse).toBeLessThanOrEqual(dense[row] + 1e-5);
    });
  });

  it('[P6] the future reaches nothing: NaN behind the last query of a block changes no bit of it', () => {
    const { problem } = build({ ...long, queries: 210 });
    const clean = run(view(problem), backend);
    const cut = 96;
    const spoil = (operand: Operand): Operand => {
      const copy = gather(operand, 2, range(0, 210));
      const [, heads, , dim] = operand.dims;
      for (const head of range(0, heads)) copy.data.fill(NaN, (head * 210 + cut) * dim, (head + 1) * 210 * dim);
      return copy;
    };
    const dirty = run(view({ ...problem, key: spoil(problem.key), value: spoil(problem.value) }), backend);
    const rows = range(0, cut);
    const early = (output: typeof clean) => ({ out: gather(output.out, 2, rows), lse: gather(output.lse, 2, rows) });
    expectSameBits(early(dirty), early(clean));
  });

  it('[P12] permuting heads permutes outputs', () => {
    const { problem } = build({ ...long, heads: [4, 4], hip: { ...options, scope: 'head' } });
    const order = [2, 0, 3, 1];
    const of = (operand: Operand): Operand => gather(operand, 1, order);
    const permuted = { ...problem, query: of(problem.query), key: of(problem.key), value: of(problem.value) };
    expectSameBits(run(view(permuted), backend), headsOf(run(view(problem), backend), order));
  });

  it('attention(), hipAttention() and their promises give the same bits', async () => {
    const built = build(long);
    const { query, key, value, options: common } = callOf(built);
    const { pattern, ...rest } = { ...common, device: backend.device };
    const straight = attentionSync(query, key, value, { ...rest, pattern });
    const others = [
      await attention(query, key, value, { ...rest, pattern }),
      await hipAttention(query, key, value, { ...rest, ...options }),
      hipAttentionSync(query, key, value, { ...rest, ...options }),
    ];
    for (const { out, lse } of others) {
      expect(out.data).toEqual(straight.out.data);
      expect(lse!.data).toEqual(straight.lse!.data);
    }
  });

  describe('decoding with a state', () => {
    const [heads, kvHeads, dim, total] = [4, 2, 8, 120];
    const random = new Random(11);
    const whole = (count: number, tokens: number): Operand =>
      operandOf(
        'float32',
        [1, count, tokens, dim],
        Array.from({ length: count * tokens * dim }, () => random.integer(-3, 3)),
      );
    const [q, k, v] = [whole(heads, total), whole(kvHeads, total), whole(kvHeads, total)];
    const decode: SelectionOptions = {
      ...options,
      blockQ: 1,
      stages: [
        { blockQ: 1, strideQ: 1, chunk: 16, keep: 48 },
        { blockQ: 1, strideQ: 1, chunk: 4, keep: 16 },
        { blockQ: 1, strideQ: 1, chunk: 1, keep: 6 },
      ],
    };
    const scale = 1 / 16;
    const step = (keys: number, state: HipState | undefined, own: SelectionOptions = decode) => {
      const one = gather(q, 2, [keys - 1]);
      const [key, value] = [gather(k, 2, range(0, keys)), gather(v, 2, range(0, keys))];
      const { out, lse } = hipAttentionSync(toTensor(one, 'bhnd'), toTensor(key, 'bhnd'), toTensor(value, 'bhnd'), {
        ...own,
        ...(state && { state }),
        layout: 'bhnd',
        scale,
        returnLse: true,
        device: backend.device,
      });
      return { output: { out: fromOutput(out, 'bhnd'), lse: fromTensor(lse) }, query: one, key, value };
    };

    it.each([[[1, 1, 1]], [[4, 2, 1]], [[8, 3, 2]], [[16, 16, 16]]])(
      '[P9] refresh %o: stages run when their time comes, from the lists before them, without a gap',
      (refresh) => {
        const state = new HipState({ refresh });
        const age = [0, 0, 0];
        let lists: number[][][][][] = [];
        let base = 0;
        for (const keys of range(60, 100)) {
          const first = lists.length === 0 ? 0 : age.findIndex((steps, stage) => steps >= refresh[stage]);
          if (first === 0) base = keys;
          const window = decode.window + keys - base;
          const { output, query, key, value } = step(keys, state);
          const kept = first < 0 ? lists : lists.slice(0, first);
          lists = select(query, key, { ...decode, window }, kept).stages;
          age.forEach((steps, stage) => {
            age[stage] = (first < 0 || stage < first ? steps : 0) + 1;
          });
          expect(state.lists.map(nested), `${keys} keys`).toEqual(lists);
          expect(state.windowStart).toBe(base - decode.window);
          expect(state.basePos).toBe(base);
          expect(state.stepCounters).toEqual(age);
          const pattern = {
            kind: 'hierarchical' as const,
            options: decode,
            selected: lists[2],
            windowStart: base - decode.window,
          };
          expectRight(output, expectedOf({ query, key, value, scale, pattern }), `${keys} keys`);
        }
      },
    );

    it('[P9] refresh 1 is the same as no state, bit for bit', () => {
      const state = new HipState({ refresh: 1 });
      for (const keys of range(60, 80)) {
        expectSameBits(step(keys, state).output, step(keys, undefined).output, `${keys} keys`);
      }
    });

    it('a fork goes its own way, reset() starts over', () => {
      const state = new HipState({ refresh: 4 });
      for (const keys of range(60, 63)) step(keys, state);
      const fork = state.fork();
      expect(fork.stepCounters).toEqual(state.stepCounters);
      step(63, state);
      step(64, state);
      expect(fork.stepCounters).toEqual([3, 3, 3]);
      expect(state.stepCounters).toEqual([1, 1, 1]);
      const own = step(63, fork).output;
      const other = new HipState({ refresh: 4 });
      for (const keys of range(60, 63)) step(keys, other);
      expectSameBits(own, step(63, other).output);
      fork.reset();
      expect(fork.lists).toEqual([]);
      expectSameBits(step(63, fork).output, step(63, undefined).output);
    });

    it('a fork goes on as its parent does, past the window and through its selections', () => {
      const parent = new HipState({ refresh: [24, 6, 2] });
      for (const keys of range(60, 65)) step(keys, parent);
      const fork = parent.fork();
      const told = (state: HipState) => ({
        refresh: state.refresh,
        steps: state.stepCounters,
        basePos: state.basePos,
        windowStart: state.windowStart,
        lists: state.lists.map(nested),
      });
      expect(told(fork)).toEqual(told(parent));
      for (const keys of range(65, 65 + 2 * decode.window)) {
        expectSameBits(step(keys, fork).output, step(keys, parent).output, `${keys} keys`);
        expect(told(fork), `${keys} keys`).toEqual(told(parent));
      }
    });

    it('taking keys back below basePos, or leaving the state behind, selects anew', () => {
      const state = new HipState({ refresh: 100 });
      step(90, state);
      expectSameBits(step(80, state).output, step(80, undefined).output);
      expect(state.basePos).toBe(80);
      step(81, state);
      expect(state.basePos).toBe(80);
      expectSameBits(step(81 + 17, state).output, step(81 + 17, undefined).output);
      expect(state.basePos).toBe(98);
    });

    it('a call that is aborted or refused leaves the state as it was; one call at a time may use it', async () => {
      const state = new HipState({ refresh: 8 });
      step(90, state);
      const [one, key, value] = [gather(q, 2, [90]), gather(k, 2, range(0, 91)), gather(v, 2, range(0, 91))];
      const tensors = [toTensor(one, 'bhnd'), toTensor(key, 'bhnd'), toTensor(value, 'bhnd')] as const;
      const common = { ...decode, layout: 'bhnd', scale, state, device: backend.device } as const;
      const reason = new Error('enough');
      await expect(hipAttention(...tensors, { ...common, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      expect(thrownBy(() => hipAttentionSync(...tensors, { ...common, refresh: 3, scale: NaN }))).toBeInstanceOf(
        RangeError,
      );
      expect([state.stepCounters, state.refresh]).toEqual([[1, 1, 1], 8]);
      const running = hipAttention(...tensors, common);
      const error = thrownBy(() => hipAttentionSync(...tensors, common));
      expectError(error, { code: 'ERR_TILEWISE_INVALID_OPTION', type: TypeError, says: ['`state`'] });
      await running;
      expect(state.stepCounters).toEqual([2, 2, 2]);
    });

    it('a prefill selects for itself and resets the state', () => {
      const state = new HipState({ refresh: 100 });
      step(90, state);
      const [one, key, value] = [gather(q, 2, range(60, 92)), gather(k, 2, range(0, 92)), gather(v, 2, range(0, 92))];
      const tensors = [toTensor(one, 'bhnd'), toTensor(key, 'bhnd'), toTensor(value, 'bhnd')] as const;
      const common = { ...decode, layout: 'bhnd', scale, device: backend.device } as const;
      const plain = hipAttentionSync(...tensors, common);
      expect(hipAttentionSync(...tensors, { ...common, state }).out.data).toEqual(plain.out.data);
      expect(state.lists).toEqual([]);
    });
  });
});

sweep('selections', selectionCases, 120);
