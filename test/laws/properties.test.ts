// Laws that hold whatever the numbers are: invariances that have to be bitwise, and identities within rounding.
// Reader: someone who changed scheduling, splitting or merging.

import { afterAll, expect, it } from 'vitest';
import { attention, numThreads, setNumThreads } from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf, run } from '../conformance/judge.js';
import { fromOutput, fromTensor, operandOf } from '../conformance/memory.js';
import { expectRight, expectSameBits, onEveryBackend, runCase } from '../conformance/suite.js';
import { dtypes, round } from '../references/half.js';
import { type Operand, range, toNumbers } from '../references/operand.js';
import { gather, view } from '../support/views.js';

/** A prefill, a decode over many keys, and a decode of grouped heads. */
const shapes: Case[] = [
  { heads: [4, 2], queries: 150, keys: 200, dims: [32, 24], causal: true },
  { heads: [2, 2], queries: 1, keys: 3000, dims: [16, 16] },
  { heads: [8, 1], queries: 1, keys: 2000, dims: [64, 64], dtype: 'float16' },
  { heads: [4, 2], queries: 3, keys: 1500, dims: [40, 40], dtype: 'bfloat16', causal: true, left: 900 },
];

/** The same of heads that have windows of their own, which do not go where a head goes. */
const byHead: Case[] = [
  { heads: [4, 2], queries: 150, keys: 200, dims: [16, 16], recentTokens: [3, 60, Infinity, 0], sinkTokens: [5, 40] },
  { heads: [4, 2], queries: 1, keys: 2500, dims: [16, 16], recentTokens: [3, 600, Infinity, 0], sinkTokens: [5, 40] },
];

onEveryBackend((backend) => {
  const threads = numThreads();
  afterAll(() => setNumThreads(threads));

  it('[data race] the same call gives the same bits every time', () => {
    setNumThreads(4);
    for (const c of [...shapes, ...byHead]) {
      const built = build({ ...c, batch: 3 });
      const first = run(built, backend);
      for (let n = 0; n < 20; n++) expectSameBits(run(built, backend), first, `run ${n} of ${JSON.stringify(c)}`);
    }
    setNumThreads(threads);
  });

  it('the number of threads changes no bit', () => {
    for (const c of [...shapes, ...byHead]) {
      for (const batch of [1, 3]) {
        const built = build({ ...c, batch });
        setNumThreads(1);
        const alone = run(built, backend);
        for (const count of [2, 3, 7]) {
          setNumThreads(count);
          expectSameBits(run(built, backend), alone, `${count} threads, ${JSON.stringify(c)}`);
        }
      }
    }
    setNumThreads(threads);
  });

  // Tiles of windows are cut by the number of threads, where a grid's and a list's are not.
  it.skipIf(backend.device !== 'cpu')('the number of threads changes no bit of any window', () => {
    const reaches: Partial<Case>[] = [
      {},
      { causal: true },
      ...[0, 7, 40, 100, 250, 399, 640].flatMap((left): Partial<Case>[] => [
        { left, causal: true },
        { left, right: 30 },
        { left, right: 30, sinkTokens: 5 },
      ]),
      { left: 90, sinkTokens: 64, causal: true, align: 'top-left' },
      { left: 90, causal: true, align: -37 },
      { right: 45, align: 70 },
    ];
    for (const [queries, keys] of [
      [150, 150],
      [333, 333],
      [700, 1100],
      [2000, 2000],
    ]) {
      for (const [i, reach] of reaches.entries()) {
        const heads = (
          [
            [1, 1],
            [4, 2],
            [2, 2],
          ] as const
        )[i % 3];
        const c: Case = { heads: [...heads], queries, keys, dims: [16, 8], dtype: dtypes[i % 2], ...reach };
        const built = build(c);
        setNumThreads(1);
        const alone = run(built, backend);
        for (const count of [2, 3, 8, 64]) {
          setNumThreads(count);
          expectSameBits(run(built, backend), alone, `${count} threads, ${JSON.stringify(c)}`);
        }
      }
    }
    setNumThreads(threads);
  });

  it('[batch invariance] a batch entry gives the same bits alone and among others', () => {
    for (const c of [...shapes, ...byHead]) {
      const { problem } = build({
        ...c,
        batch: 5,
        keyLengths: [0, 1, 0.3, 0.7, 1].map((share) => Math.floor(share * c.keys)),
      });
      const all = run(view(problem), backend);
      for (let b = 0; b < 5; b++) {
        const single = {
          ...problem,
          query: gather(problem.query, 0, [b]),
          key: gather(problem.key, 0, [b]),
          value: gather(problem.value, 0, [b]),
          keyLengths: [problem.keyLengths![b]],
        };
        const entry = { out: gather(all.out, 0, [b]), lse: gather(all.lse, 0, [b]) };
        expectSameBits(run(view(single), backend), entry, `entry ${b} of ${JSON.stringify(c)}`);
      }
    }
  });

  it('[batch invariance] a packed sequence gives the same bits as alone', () => {
    const { problem } = build({
      heads: [4, 2],
      queries: 161,
      keys: 900,
      dims: [16, 16],
      causal: true,
      cuSeqlensQ: [0, 1, 41, 41, 160, 161],
      cuSeqlensK: [0, 600, 640, 650, 880, 900],
    });
    const all = run(view(problem), backend);
    for (let s = 0; s < 5; s++) {
      const queries = range(problem.cuSeqlensQ![s], problem.cuSeqlensQ![s + 1]);
      const keys = range(problem.cuSeqlensK![s], problem.cuSeqlensK![s + 1]);
      const single = {
        query: gather(problem.query, 2, queries),
        key: gather(problem.key, 2, keys),
        value: gather(problem.value, 2, keys),
        causal: true,
      };
      expectSameBits(
        run(view(single), backend),
        { out: gather(all.out, 2, queries), lse: gather(all.lse, 2, queries) },
        `sequence ${s}`,
      );
    }
  });

  it('permuting heads permutes outputs, bit for bit', () => {
    for (const c of shapes) {
      const { problem } = build({ ...c, heads: [6, 3], softcap: 9, alibi: 'h', sinks: true, bias: { axes: 'hk' } });
      const kvOrder = [2, 0, 1];
      const order = kvOrder.flatMap((kv) => [2 * kv + 1, 2 * kv]);
      const permuted = {
        ...problem,
        query: gather(problem.query, 1, order),
        key: gather(problem.key, 1, kvOrder),
        value: gather(problem.value, 1, kvOrder),
        alibiSlopes: gather(problem.alibiSlopes!, 0, order),
        sinks: gather(problem.sinks!, 0, order),
        bias: gather(problem.bias!, 0, order),
      };
      const straight = run(view(problem), backend);
      const want = { out: gather(straight.out, 1, order), lse: gather(straight.lse, 1, order) };
      expectSameBits(run(view(permuted), backend), want, JSON.stringify(c));
    }
  });

  it('a KV head that several query heads share gives what it gives each alone', () => {
    for (const c of shapes) {
      const { problem } = build({ ...c, heads: [6, 2] });
      const alone = [0, 0, 0, 1, 1, 1];
      const repeated = { ...problem, key: gather(problem.key, 1, alone), value: gather(problem.value, 1, alone) };
      const expected = expectedOf(problem);
      expectRight(run(view(problem), backend), expected, JSON.stringify(c));
      expectRight(run(view(repeated), backend), expected, JSON.stringify(c));
    }
  });

  it('reverse SQA: tile is interleave after permuting the KV heads', () => {
    const [queryHeads, kvHeads] = [2, 6];
    const { problem } = build({ heads: [queryHeads, kvHeads], queries: 20, keys: 30 });
    // Output head j of tile reads query head j mod 2, which interleave gives to heads 3 (j mod 2) and on.
    const place = range(0, kvHeads).map((j) => (j % queryHeads) * (kvHeads / queryHeads) + Math.floor(j / queryHeads));
    const inverse = range(0, kvHeads).map((i) => place.indexOf(i));
    const tile = run(view({ ...problem, pairing: 'tile' }), backend);
    const interleave = run(
      view({
        ...problem,
        pairing: 'interleave',
        key: gather(problem.key, 1, inverse),
        value: gather(problem.value, 1, inverse),
      }),
      backend,
    );
    expectSameBits({ out: gather(interleave.out, 1, place), lse: gather(interleave.lse, 1, place) }, tile);
  });

  it('doubling the queries and halving the scale changes no bit; doubling the values doubles the output', () => {
    for (const c of shapes.slice(0, 2)) {
      const built = build({ ...c, scale: 0.25 });
      const twice = (operand: Operand): Operand => ({
        ...operand,
        data: operand.data.map((x: number) => 2 * x) as Float32Array,
      });
      const straight = run(built, backend);
      const { problem } = built;
      const scaled = run({ ...built, problem: { ...problem, query: twice(problem.query), scale: 0.125 } }, backend);
      expectSameBits(scaled, straight);
      const doubled = run({ ...built, problem: { ...problem, value: twice(problem.value) } }, backend);
      expectSameBits(doubled, { out: twice(straight.out), lse: straight.lse });
    }
  });

  it('a window that reaches everything, and causal for the last query, change no bit', () => {
    for (const c of shapes.slice(1, 3)) {
      const full = runCase(c, backend);
      expectSameBits(runCase({ ...c, causal: true }, backend), full, 'causal');
      expectSameBits(runCase({ ...c, left: c.keys, right: 5, sinkTokens: 9 }, backend), full, 'window');
    }
    const square: Case = { queries: 200, keys: 200, dims: [16, 16] };
    expectSameBits(runCase({ ...square, left: 199, right: 199 }, backend), runCase(square, backend), 'square');
  });

  it('a constant added to all scores leaves the output alone and moves lse', () => {
    for (const c of shapes.slice(0, 2)) {
      for (const constant of [3, -40, 700]) {
        const { problem } = build(c);
        const shifted = { ...problem, bias: operandOf('float32', [1], [constant]) };
        const { exact } = expectedOf(problem);
        const moved = { ...exact, lse: exact.lse.map((x) => x + constant) };
        expectRight(run(view(shifted), backend), { ...expectedOf(shifted), exact: moved }, `constant ${constant}`);
      }
    }
  });

  it('the order of keys makes no difference beyond rounding', () => {
    const { problem } = build({ heads: [2, 1], queries: 40, keys: 333, dims: [16, 16] });
    const order = range(0, 333).map((j) => (j * 71) % 333);
    const shuffled = { ...problem, key: gather(problem.key, 2, order), value: gather(problem.value, 2, order) };
    expectRight(run(view(shuffled), backend), expectedOf(problem));
  });

  it('[shared workspace across calls] calls in flight together give the bits they give alone', async () => {
    setNumThreads(4);
    const builts = range(0, 12).map((n) => build({ ...shapes[n % shapes.length], batch: 1 + (n % 3), seed: n }));
    const alone = builts.map((built) => run(built, backend));
    for (let round = 0; round < 3; round++) {
      const together = await Promise.all(
        builts.map(async (built) => {
          const { query, key, value, options } = callOf(built);
          const { out, lse } = await attention(query, key, value, { ...options, device: backend.device });
          return { out: fromOutput(out, built.layout), lse: fromTensor(lse!) };
        }),
      );
      for (const [n, output] of together.entries()) expectSameBits(output, alone[n], `call ${n}`);
    }
    setNumThreads(threads);
  });

  it('attention of keys and values to themselves under extreme scale picks the value of the best key exactly', () => {
    const { problem } = build({ queries: 40, keys: 70, dims: [16, 16] });
    const { exact } = expectedOf({ ...problem, scale: 1e5 });
    const got = toNumbers(run(view({ ...problem, scale: 1e5 }), backend).out);
    expect(got).toEqual(exact.out.map((x) => round('float32', x)));
  });
});
