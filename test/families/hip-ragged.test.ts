// HiP over the pages of caches and pools: prompts' chunks beside single tokens, and states that keep lists from step to step.
// Reader: someone who changes lib/ops/attention/ragged-selection.ts. A sequence gets what hipAttention() gives it alone.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  type CacheAttentionOptions,
  type ErrorCode,
  type HipOptions,
  HipState,
  hierarchical,
  hipAttentionSync,
  KvCache,
  KvPool,
  type PoolAttentionOptions,
  type StagedPattern,
  type Tensor,
} from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectClose } from '../support/golden.js';
import { isSame, tensor } from '../support/tensors.js';

const [headDim, valueDim, kvHeads, queryHeads] = [16, 8, 2, 4];
/** Two stages for many keys, one for few. */
const rule: HipOptions = { sink: 4, window: 16, stages: [{ blockQ: 8, strideQ: 1, chunk: 4, keep: 24 }] };
const stages = [
  { blockQ: 8, strideQ: 2, chunk: 8, keep: 64 },
  { blockQ: 8, strideQ: 1, chunk: 2, keep: 24 },
];
const short = hierarchical(rule) as StagedPattern;
const pattern: StagedPattern = {
  ...(hierarchical({ ...rule, stages }) as StagedPattern),
  shorter: { below: 200, stages: short.stages },
};

const rows = (tokens: number, heads: number, dim: number) => tensor(tokens, heads, dim) as Tensor<'float32'>;
const asBatch = (x: Tensor) => x.reshape([1, ...x.dims]);

onEveryBackend(({ device }) => {
  const expectSame = (got: Tensor, want: Tensor, about: string) => {
    expect(got.dims, about).toEqual(want.dims);
    const [a, b] = [got.contiguous().data, want.contiguous().data] as Float32Array[];
    if (device === 'cpu') expect(isSame(a, b), about).toBe(true);
    else expectClose(a, b, 5);
  };

  const lengths = [300, 120, 90, 300, 310, 150, 260, 270];
  const queries = [1, 40, 0, 1, 1, 1, 5, 5];
  const keys = lengths.map((length) => rows(length, kvHeads, headDim));
  const values = lengths.map((length) => rows(length, kvHeads, valueDim));
  const total = queries.reduce((a, b) => a + b, 0);
  const q = rows(total, queryHeads, headDim);

  const swap = (x: Tensor) => x.transpose([1, 0, 2]);
  const filled = (layout: 'bnhd' | 'bhnd' = 'bnhd') => {
    const pool = new KvPool({ pages: 70, pageSize: 32, kvHeads, headDim, valueDim, device, layout });
    const laid = (x: Tensor) => (layout === 'bhnd' ? swap(x) : x);
    const sequences = lengths.map((_, s) => {
      const sequence = pool.sequence();
      sequence.append(0, laid(keys[s]), laid(values[s]));
      return sequence;
    });
    return { pool, sequences };
  };

  /** What each sequence gets alone, over keys in one piece. */
  const expectAlone = (out: Tensor, lse: Tensor, rest: AttentionOptions = {}) => {
    let first = 0;
    for (const [s, count] of queries.entries()) {
      const own = asBatch(q.slice(0, first, first + count));
      if (count > 0) {
        const alone = attentionSync(own, asBatch(keys[s]), asBatch(values[s]), {
          pattern,
          device,
          returnLse: true,
          ...rest,
        });
        expectSame(asBatch(out.slice(0, first, first + count)), alone.out, `sequence ${s}`);
        expectSame(asBatch(lse.slice(1, first, first + count)), alone.lse as Tensor, `sequence ${s}, lse`);
      }
      first += count;
    }
  };

  it('a step of a pool gives each sequence what it gets alone', async () => {
    const { pool, sequences } = filled();
    const told: PoolAttentionOptions & { returnLse: true } = { pattern, queryLengths: queries, returnLse: true };
    const modifiers = { softcap: 3, alibiSlopes: [0.1, 0.2, 0.01, 0.3], sinks: [1, 0, -1, 2] };
    for (const more of [{}, modifiers]) {
      const { out, lse } = pool.attentionSync(0, q, sequences, { ...told, ...more });
      expectAlone(out as Tensor, lse as Tensor, more);
      const later = await pool.attention(0, q, sequences, { ...told, ...more });
      expect(isSame(later.out.data, out.data)).toBe(true);
      expect(isSame(later.lse.data, lse.data)).toBe(true);
    }
    const { out } = pool.attentionSync(0, q, sequences, told);
    const merged = pool.attentionSync(0, q.reshape([total, queryHeads * headDim]), sequences, { ...told, queryHeads });
    expect(merged.out.dims).toEqual([total, queryHeads * valueDim]);
    expect(isSame(merged.out.data, out.data)).toBe(true);
    const held = tensor(total, queryHeads, 2 * valueDim).slice(2, 0, valueDim);
    expect(pool.attentionSync(0, q, sequences, { ...told, out: held }).out).toBe(held);
    expect(isSame(held.contiguous().data, out.data)).toBe(true);
  });

  it('heads first, and with extra keys that all see', () => {
    const { pool, sequences } = filled('bhnd');
    const [extraKeys, extraValues] = [rows(3, kvHeads, headDim), rows(3, kvHeads, valueDim)];
    const extras = { extraKeys: swap(extraKeys), extraValues: swap(extraValues) };
    const { out, lse } = pool.attentionSync(0, swap(q), sequences, {
      pattern,
      queryLengths: queries,
      returnLse: true,
      ...extras,
    });
    expectAlone(swap(out as Tensor), lse as Tensor, {
      extraKeys: asBatch(extraKeys),
      extraValues: asBatch(extraValues),
    });
  });

  it('with a factor on scores: of each query, or of keys alone', () => {
    const { pool, sequences } = filled();
    const [longest, heads] = [Math.max(...lengths), queryHeads];
    for (const factor of [tensor(heads, total, longest), tensor(heads, 1, longest), tensor(1, total, 1)] as Tensor[]) {
      const told = { pattern, queryLengths: queries, scoreFactor: factor, returnLse: true } as const;
      const { out, lse } = pool.attentionSync(0, q, sequences, told);
      let first = 0;
      for (const [s, count] of queries.entries()) {
        const own = factor.dims[1] === 1 ? factor : factor.slice(1, first, first + count);
        const ofKeys = own.dims[2] === 1 ? own : own.slice(2, 0, lengths[s]);
        const [qs, ks, vs] = [q.slice(0, first, first + count), keys[s], values[s]].map(asBatch);
        const alone = count > 0 && attentionSync(qs, ks, vs, { pattern, device, scoreFactor: ofKeys, returnLse: true });
        if (alone) {
          expectSame(asBatch(out.slice(0, first, first + count)), alone.out as Tensor, `sequence ${s}`);
          expectSame(asBatch(lse.slice(1, first, first + count)), alone.lse as Tensor, `sequence ${s}, lse`);
        }
        first += count;
      }
    }
    const narrow = { pattern, queryLengths: queries, scoreFactor: tensor(total - 1, longest) };
    expectError(
      thrownBy(() => pool.attentionSync(0, q, sequences, narrow)),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['`scoreFactor`'] },
    );
  });

  it('attention() over pages of its own, with a batch axis of 1', async () => {
    const perSequence = 10;
    const table = lengths.map((_, s) => Array.from({ length: perSequence }, (_, i) => s * perSequence + i));
    const paged = (tensors: Tensor[], dim: number) => {
      const pool = tensor(lengths.length * perSequence, 32, kvHeads, dim) as Tensor<'float32'>;
      for (const [s, own] of tensors.entries())
        pool.data.set(own.data as Float32Array, s * perSequence * 32 * kvHeads * dim);
      return pool;
    };
    const cuSeqlensQ = [0, ...queries.map((_, s) => queries.slice(0, s + 1).reduce((a, b) => a + b, 0))];
    const [k, v] = [paged(keys, headDim), paged(values, valueDim)];
    const told = { pattern, cuSeqlensQ, keyLengths: lengths, pages: { table, pageSize: 32 }, device } as const;
    const { out, lse } = await attention(asBatch(q), k, v, { ...told, returnLse: true });
    expect([out.dims, lse.dims]).toEqual([
      [1, total, queryHeads, valueDim],
      [1, queryHeads, total],
    ]);
    expectAlone(out.select(0, 0) as Tensor, lse.select(0, 0) as Tensor);
  });

  it('a state over the pages of a cache is one over keys in one piece', () => {
    const [k, v] = [rows(200, kvHeads, headDim), rows(200, kvHeads, valueDim)];
    const steps = rows(200, queryHeads, headDim);
    const cache = new KvCache({ kvHeads, headDim, valueDim, device });
    const [state, dense] = [new HipState({ refresh: 3 }), new HipState({ refresh: 3 })];
    for (const [begin, end] of [[0, 150], ...Array.from({ length: 20 }, (_, i) => [150 + i, 151 + i])]) {
      const part = (x: Tensor, first = begin) => asBatch(x.slice(0, first, end));
      cache.append(0, part(k), part(v));
      const { out } = cache.attentionSync(0, part(steps), { pattern: hierarchical(rule), state });
      const alone = hipAttentionSync(part(steps), part(k, 0), part(v, 0), { ...rule, state: dense, device });
      expectSame(out as Tensor, alone.out as Tensor, `token ${begin}`);
      expect([state.stepCounters, state.basePos]).toEqual([dense.stepCounters, dense.basePos]);
    }
    expect(state.basePos).toBeLessThan(170);
    expect(state.basePos).toBeGreaterThan(160);
  });

  it('states over a pool are each of one sequence', async () => {
    const { pool, sequences } = filled();
    const [states, dense] = [0, 1].map(() => sequences.map(() => new HipState({ refresh: 2 })));
    const own = keys.map((_, s) => ({ k: [keys[s]], v: [values[s]] }));
    for (const queryLengths of [
      [1, 1, 0, 1, 1, 1, 1, 1],
      [1, 30, 0, 1, 1, 1, 1, 1],
      [1, 1, 1, 1, 0, 1, 1, 1],
      [1, 1, 1, 1, 1, 1, 1, 1],
    ]) {
      const asked = rows(
        queryLengths.reduce((a, b) => a + b, 0),
        queryHeads,
        headDim,
      );
      for (const [s, count] of queryLengths.entries()) {
        const [k, v] = [rows(count, kvHeads, headDim), rows(count, kvHeads, valueDim)];
        sequences[s].append(0, k, v);
        own[s].k.push(k);
        own[s].v.push(v);
      }
      const { out } = await pool.attention(0, asked, sequences, { pattern, queryLengths, states });
      let first = 0;
      for (const [s, count] of queryLengths.entries()) {
        const part = asBatch(asked.slice(0, first, first + count));
        const [k, v] = [own[s].k, own[s].v].map((pieces) => asBatch(joined(pieces)));
        if (count > 0) {
          const alone = new KvCache({ kvHeads, headDim, valueDim, device });
          alone.append(0, k, v);
          const wanted = alone.attentionSync(0, part, { pattern, state: dense[s] }).out;
          expectSame(asBatch((out as Tensor).slice(0, first, first + count)), wanted as Tensor, `sequence ${s}`);
        }
        expect([states[s].stepCounters, states[s].basePos], `sequence ${s}`).toEqual([
          dense[s].stepCounters,
          dense[s].basePos,
        ]);
        first += count;
      }
    }
  });
});

/** Tensors one after the other along the first axis. */
function joined(pieces: readonly Tensor[]): Tensor {
  const [{ dims }] = pieces;
  const tokens = pieces.reduce((sum, { dims: [count] }) => sum + count, 0);
  const whole = tensor(tokens, ...dims.slice(1)) as Tensor<'float32'>;
  let at = 0;
  for (const { data } of pieces) {
    whole.data.set(data as Float32Array, at);
    at += data.length;
  }
  return whole;
}

describe('refuses', () => {
  const pool = new KvPool({ pages: 4, kvHeads, headDim });
  const [a, b] = [pool.sequence(), pool.sequence()];
  for (const sequence of [a, b]) sequence.append(0, rows(9, kvHeads, headDim), rows(9, kvHeads, headDim));
  const cache = new KvCache({ kvHeads, headDim });
  cache.append(0, tensor(2, 9, kvHeads, headDim), tensor(2, 9, kvHeads, headDim), { lengths: [9, 4] });
  const [q, batch] = [rows(2, queryHeads, headDim), tensor(2, 1, queryHeads, headDim)];
  const state = new HipState();
  const inPool = (options: object) => () => pool.attentionSync(0, q, [a, b], options as PoolAttentionOptions);
  const inCache = (options: object) => () => cache.attentionSync(0, batch, options as CacheAttentionOptions);
  const selection = { pattern: hierarchical(rule) };
  it.each<[string, () => unknown, ErrorCode, string]>([
    ['one state for a pool', inPool({ ...selection, state }), 'ERR_TILEWISE_UNKNOWN_OPTION', '`states`'],
    ['a state twice', inPool({ ...selection, states: [state, state] }), 'ERR_TILEWISE_INVALID_OPTION', '2 HipStates'],
    ['too few states', inPool({ ...selection, states: [state] }), 'ERR_TILEWISE_INVALID_OPTION', '2 HipStates'],
    [
      'states of no selection',
      inPool({ states: [state, new HipState()] }),
      'ERR_TILEWISE_INVALID_OPTION',
      'hierarchical()',
    ],
    ['a state of no selection', inCache({ state }), 'ERR_TILEWISE_INVALID_OPTION', 'hierarchical()'],
    ['a state that is none', inCache({ ...selection, state: {} }), 'ERR_TILEWISE_INVALID_OPTION', 'a HipState'],
    ['states for a cache', inCache({ ...selection, states: [state] }), 'ERR_TILEWISE_UNKNOWN_OPTION', '`states`'],
    ['a batch of several lengths', inCache({ ...selection, state }), 'ERR_TILEWISE_SHAPE_MISMATCH', 'same length'],
    [
      'a state for packed sequences',
      () => {
        const pages = { table: [[0], [1]], pageSize: 16 };
        const k = tensor(2, 16, kvHeads, headDim);
        hipAttentionSync(q, k, k, { ...rule, state, pages, cuSeqlensQ: [0, 1, 2], keyLengths: [9, 9] });
      },
      'ERR_TILEWISE_INVALID_OPTION',
      '`cuSeqlensQ`',
    ],
  ])('%s', (_, run, code, named) => expectError(thrownBy(run), { code, says: [named] }));
});
