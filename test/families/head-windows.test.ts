// Windows that differ by head, against numbers computed elsewhere (golden/ext-patterns.json), MoA's rule, and
// what is refused. Reader: someone who wants to see which head sees what; laws/head-windows.test.ts has more calls.

import { describe, expect, it } from 'vitest';
import { attentionSync, type ErrorCode, explain, moaWindows, slidingWindow, Tensor } from '../../dist/index.js';
import type { Backend } from '../conformance/backends.js';
import type { Built } from '../conformance/case.js';
import { run } from '../conformance/judge.js';
import { operandOf } from '../conformance/memory.js';
import { onEveryBackend } from '../conformance/suite.js';
import { attention } from '../references/attention.js';
import { toNumbers } from '../references/operand.js';
import { type Problem, rowsOf, sequencesOf } from '../references/problem.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import {
  type ExtCase,
  type ExtInvalid,
  type ExtNumber,
  type ExtSizes,
  extHeadsFirst,
  extNumber,
  extNumbers,
  extOperand,
  extPatterns,
} from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';

interface WindowSink {
  kind: 'windowSink';
  window?: ExtNumber[];
  left?: ExtNumber[];
  right?: ExtNumber[];
  sinkTokens?: ExtNumber[];
}

/** Expects a call to be refused with a code and a name. */
const refused = (run: () => unknown, code: ErrorCode, name: string): void =>
  expectError(thrownBy(run), { code, says: [name] });

const isWindowSink = <C extends ExtCase | ExtInvalid>(c: C): boolean => c.options.pattern?.kind === 'windowSink';

/** The file's pattern in our words: its `window` is `recentTokens`. */
function windowOf({ kind, window, ...others }: WindowSink): Record<string, number[]> {
  const named = { ...(window && { recentTokens: window }), ...others };
  return Object.fromEntries(Object.entries(named).map(([name, list]) => [name, list.map(extNumber)]));
}

const golden = extPatterns.cases
  .filter((c) => isWindowSink(c) && c.options.qPos === undefined)
  .map((c) => {
    const slopes = c.options.alibiSlopes as number[] | undefined;
    const problem: Problem = {
      query: extOperand(c.q),
      key: extOperand(c.k),
      value: extOperand(c.v),
      ...windowOf(c.options.pattern as WindowSink),
      ...(slopes && { alibiSlopes: operandOf('float32', [slopes.length], slopes) }),
    };
    const built: Built = { layout: 'bnhd', storage: 'dense', is3d: false, problem };
    return { name: c.name, c, built, out: extHeadsFirst(c.out), lse: extNumbers(c.lse) };
  });

const fillOf = ({ batch, queries, keys, queryHeads, kvHeads, headDim, valueDim }: ExtSizes) => {
  const zeros = (tokens: number, heads: number, dim: number) =>
    new Tensor('float32', new Float32Array(batch * tokens * heads * dim), [batch, tokens, heads, dim]);
  return [zeros(queries, queryHeads, headDim), zeros(keys, kvHeads, headDim), zeros(keys, kvHeads, valueDim)] as const;
};

describe('the reference and explain()', () => {
  it.each(golden)('$name', ({ c, built, out, lse }) => {
    const result = attention(built.problem);
    expectClose(result.out, out, 6);
    expectClose(result.lse, lse, 6);
    const [sequence] = sequencesOf(built.problem);
    const { queryHeads, kvHeads, queries, keys, headDim } = c.dims;
    for (const [i, rows] of c.visible.entries()) {
      const row = rowsOf(built.problem, sequence!, (i * queryHeads) / c.visible.length);
      for (const [q, runs] of rows.entries()) {
        const isIn = (key: number) => runs.some((begin, n) => n % 2 === 0 && begin <= key && key < runs[n + 1]!);
        for (let key = 0; key < keys; ++key) expect(row.sees(q, key), `${i}, ${q}, ${key}`).toBe(isIn(key));
      }
    }
    const pattern = slidingWindow(windowOf(c.options.pattern as WindowSink));
    const { pairs } = explain(pattern, { queryHeads, kvHeads, queries, keys, headDim, batch: 1 });
    const mean = c.pairs.reduce((sum, n) => sum + n, 0) / c.pairs.length;
    expect(pairs.useful).toBeCloseTo(mean, 9);
  });
});

describe('explain() of heads that differ', () => {
  const shape = { queryHeads: 8, kvHeads: 2, tokens: 128, headDim: 16 };

  it('draws a head of each kind, in text and in SVG', () => {
    const e = explain(slidingWindow({ recentTokens: [16, Infinity], sinkTokens: 8 }), shape);
    for (const drawn of [String(e), e.toSVG()]) {
      expect([...drawn.matchAll(/mask of head (\d+)/g)].map(([, head]) => head)).toEqual(['0', '4']);
    }
    expect(String(e)).toContain('left 15/all, right 0, sinkTokens 8');
  });

  it('names the head that computes most, and how many kinds are not drawn', () => {
    const pattern = slidingWindow({ recentTokens: [4, 8, 16, 32, 64, 128, 2, 1] });
    const e = explain(pattern, shape, { device: 'cpu' }); // whose tiles are small enough for heads to differ
    expect(e.worstHead?.head).toBe(5);
    expect(e.toSVG()).toContain('pictures are of 4 of 8 kinds of heads');
  });

  it('counts a group that shares its tiles once, and each row by its own head', () => {
    const one = { queryHeads: 4, kvHeads: 1, queries: 1, keys: 100, headDim: 16 };
    const { pairs, bytes, bytesTouched } = explain(slidingWindow({ recentTokens: [10, 20, 30, 40] }), one);
    expect(pairs.useful).toBe(25);
    // Keys and values of 40 tokens are read, of 100.
    expect(bytes - bytesTouched).toBe((100 - 40) * 2 * 16 * 4);
  });
});

describe('moaWindows()', () => {
  it.each(extPatterns.moaWindows)('$options', ({ options, sink, window }) => {
    const given = options as unknown as Parameters<typeof moaWindows>[0];
    expect(moaWindows(given)).toEqual({ recentTokens: window, sinkTokens: sink });
  });

  it('refuses numbers that are none, and lists of different lengths', () => {
    const right = { alpha: [1, 2], beta: [0, 1], seqLen: 100 };
    refused(() => moaWindows({ ...right, alpha: Number.NaN }), 'ERR_TILEWISE_INVALID_OPTION', '`alpha`');
    refused(() => moaWindows({ ...right, seqLen: -1 }), 'ERR_TILEWISE_INVALID_OPTION', '`seqLen`');
    refused(() => moaWindows({ ...right, multiple: 0 }), 'ERR_TILEWISE_INVALID_OPTION', '`multiple`');
    refused(() => moaWindows({ ...right, beta: [1, 2, 3] }), 'ERR_TILEWISE_SHAPE_MISMATCH', '`beta`');
  });
});

describe('invalid input is refused by name, before native code', () => {
  const ours: Record<string, string> = { window: 'recentTokens' };
  it.each(extPatterns.invalid.filter(isWindowSink))('$name', ({ dims, options, names }) => {
    const { pattern, ...others } = options;
    const name = ours[names] ?? names;
    const message = new RegExp(`\`${name}[\`[]`);
    expect(() =>
      attentionSync(...fillOf(dims), { ...others, pattern: slidingWindow(windowOf(pattern as WindowSink)) }),
    ).toThrow(message);
    // As options of attention(), but for the name of the function and what stands beside a pattern.
    if (others.causal !== undefined || names === 'sinks') return;
    const { left, right, ...direct } = windowOf(pattern as WindowSink);
    const window = left || right ? { window: { ...(left && { left }), ...(right && { right }) } } : {};
    expect(() => attentionSync(...fillOf(dims), { ...direct, ...window })).toThrow(message);
  });

  it('recentTokens is causal, and says the whole window', () => {
    const code = 'ERR_TILEWISE_INVALID_OPTION';
    refused(() => slidingWindow({ recentTokens: 3, causal: false }), code, '`causal`');
    refused(() => slidingWindow({ recentTokens: 3, right: 0 }), code, '`right`');
    refused(() => slidingWindow({ left: -1 }), code, '`left`');
    const [q, k, v] = fillOf({ batch: 1, queries: 2, keys: 2, queryHeads: 1, kvHeads: 1, headDim: 4, valueDim: 4 });
    refused(() => attentionSync(q, k, v, { recentTokens: 3, window: [2, 0] }), code, '`window`');
    refused(() => attentionSync(q, k, v, { recentTokens: 3, pattern: slidingWindow({}) }), code, '`recentTokens`');
  });

  it('a window that others built is read once, so that numbers are those that were checked', () => {
    const [q, k, v] = fillOf({ batch: 1, queries: 4, keys: 4, queryHeads: 2, kvHeads: 2, headDim: 4, valueDim: 4 });
    const good = slidingWindow({ left: [1, 2], right: 0 });
    let reads = 0;
    const left = Object.defineProperty([1, 2], 0, { get: () => (reads++ === 0 ? 1 : -9) });
    const { out } = attentionSync(q, k, v, { pattern: { ...good, left } });
    expect(out.data).toEqual(attentionSync(q, k, v, { pattern: good }).out.data);
  });

  it('lists of pages have one window', () => {
    const pages = { table: [[0]], pageSize: 4 };
    const [q, k, v] = fillOf({ batch: 1, queries: 1, keys: 4, queryHeads: 2, kvHeads: 2, headDim: 4, valueDim: 4 });
    refused(
      () => attentionSync(q, k, v, { pages, keyLengths: [4], pageLists: [[0]], recentTokens: [1, 2] }),
      'ERR_TILEWISE_INVALID_OPTION',
      '`pageLists`',
    );
  });
});

onEveryBackend((backend: Backend) => {
  it.each(golden)('$name', ({ built, out, lse }) => {
    const result = run(built, backend);
    expectClose(toNumbers(result.out), out, 5);
    expectClose(toNumbers(result.lse), lse, 5);
  });
});
