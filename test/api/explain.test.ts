// explain(), devices(), versions, threads: what can be known without running anything.
// Reader: someone who plans before computing.

import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  attentionSlices,
  attentionSync,
  causal,
  devices,
  type ExplainShape,
  explain,
  full,
  neighborhood,
  numThreads,
  setNumThreads,
  slidingWindow,
  versions,
  type WindowPattern,
} from '../../dist/index.js';
import { native } from '../../dist/native/native.js';
import { integers } from '../conformance/draw.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';
import { isSame, operands } from '../support/tensors.js';

const shape: ExplainShape = { queryHeads: 8, kvHeads: 2, queries: 1000, keys: 1500, headDim: 64 };

/** Visible pairs of one head, counted by the rule in lib/patterns/window.ts's documentation; heads are alike. */
function visiblePairs({ align, ...window }: WindowPattern, queries: number, keys: number): number {
  const [left, right, sinkTokens] = [window.left, window.right, window.sinkTokens].map(Number);
  const offset = align === 'bottom-right' ? keys - queries : align === 'top-left' ? 0 : align.offset;
  let pairs = 0;
  for (let query = 0; query < queries; ++query) {
    const position = query + offset;
    for (let key = 0; key < keys; ++key) {
      if (key <= position + right && (key >= position - left || key < sinkTokens)) ++pairs;
    }
  }
  return pairs;
}

describe('explain', () => {
  it('counts everything for dense attention', () => {
    const { idealSpeedup, tiles, pairs, flops, bytes } = explain(full(), { ...shape, batch: 3, valueDim: 32 });
    expect(idealSpeedup).toEqual({ average: 1, worst: 1 });
    expect(tiles.visited).toBe(tiles.dense);
    expect(tiles.interior).toBe(tiles.dense);
    const all = 3 * 1000 * 1500;
    expect(pairs).toEqual({ dense: all, computed: all, interior: all, useful: all });
    expect(flops).toBe(2 * 3 * 1000 * 1500 * (64 + 32) * 8);
    expect(bytes).toBe(3 * 4 * (1000 * 8 * (64 + 32) + 1500 * 2 * (64 + 32)));
  });

  it('counts the visible pairs of every pattern as the rule does', () => {
    const problems = fc.record({
      left: fc.constantFrom(0, 3, 40, Number.POSITIVE_INFINITY),
      right: fc.constantFrom(0, 5, Number.POSITIVE_INFINITY),
      sinkTokens: fc.constantFrom(0, 2, 50),
      align: fc.oneof(fc.constantFrom('bottom-right', 'top-left'), fc.record({ offset: integers(-90, 90) })),
      queries: integers(0, 300),
      keys: integers(0, 300),
    });
    expectForAll(problems, 60, ({ queries, keys, ...options }) => {
      const pattern = slidingWindow(options);
      const { pairs, tiles } = explain(pattern, { ...shape, queries, keys });
      expect(pairs.useful).toBe(visiblePairs(pattern, queries, keys));
      expect(pairs.computed).toBeGreaterThanOrEqual(pairs.useful);
      expect(tiles.visited).toBeLessThanOrEqual(tiles.dense);
      expect(tiles.interior).toBeLessThanOrEqual(tiles.visited);
    });
  });

  it('tells what skipping can win', () => {
    const half = explain(causal(), { ...shape, queries: 8192, keys: 8192 });
    expect(half.idealSpeedup.average).toBeGreaterThan(1.85);
    expect(half.idealSpeedup.average).toBeLessThan(2);
    expect(half.idealSpeedup.worst).toBe(1);
    const band = explain(slidingWindow({ left: 255, causal: true }), { ...shape, queries: 8192, keys: 8192 });
    expect(band.idealSpeedup.worst).toBeGreaterThan(8);
  });

  it('has answers where there is nothing to see', () => {
    expect(explain(full(), { ...shape, keys: 0 }).idealSpeedup).toEqual({ average: 1, worst: 1 });
    expect(explain(full(), { ...shape, queries: 0 })).toMatchObject({ flops: 0, pairs: { useful: 0 } });
    const hidden = explain(causal({ align: { offset: -5000 } }), shape);
    expect(hidden.idealSpeedup).toMatchObject({ average: Infinity, worst: Infinity });
    expect(hidden.pairs.computed).toBe(0);
  });

  it('names the backend, and why not others', () => {
    const all = devices();
    const gpu = all.find(({ name, isAvailable }) => name !== 'cpu' && isAvailable);
    const missing = all.flatMap(({ name, isAvailable, reason }) => (isAvailable ? [] : [`${name}: ${reason}`]));
    const { backend } = explain(full(), shape, { device: 'auto' });
    expect(backend).toMatchObject({ name: gpu?.name ?? 'cpu', reasons: missing });
    if (!gpu) expect(backend.why).toBe('the only device that is available');
    expect(explain(full(), shape, { device: 'cpu' }).backend.why).toContain("'cpu'");
    expectError(
      thrownBy(() => explain(full(), shape, { device: 'cuda:99' })),
      { code: 'ERR_TILEWISE_NO_DEVICE', says: ["'cuda:99'"] },
    );
  });

  it('reads as text', () => {
    const text = String(explain(causal(), shape));
    for (const word of ['cpu', 'speed-up', 'tiles', 'pairs', 'GFLOP', 'MB']) expect(text).toContain(word);
  });

  it.each([
    ['full', full()],
    ['causal, align bottom-right', causal()],
    ['slidingWindow, right 0, sinkTokens 4, align bottom-right', slidingWindow({ causal: true, sinkTokens: 4 })],
    ['slidingWindow, left 7, align top-left', slidingWindow({ left: 7, align: 'top-left' })],
    ['slidingWindow, left 7/all, right 0, align bottom-right', slidingWindow({ recentTokens: [8, Infinity] })],
    ['slidingWindow, right 3, align bottom-right', slidingWindow({ right: 3 })],
    ['attentionSlices', attentionSlices([])],
  ])('begins with the name of what made the pattern: %s', (title, pattern) => {
    expect(explain(pattern, shape).toSVG()).toContain(`class="title">${title}; 1000 queries`);
  });

  it.each([
    [{ ...shape, queryHeads: undefined }, 'ERR_TILEWISE_INVALID_OPTION', '`queryHeads`'],
    [{ ...shape, queries: -1 }, 'ERR_TILEWISE_INVALID_OPTION', '`queries`'],
    [{ ...shape, headDim: 4097 }, 'ERR_TILEWISE_INVALID_OPTION', '4097'],
    [{ ...shape, dtype: 'float64' }, 'ERR_TILEWISE_INVALID_OPTION', "'float64'"],
    [{ ...shape, kvHeads: 3 }, 'ERR_TILEWISE_SHAPE_MISMATCH', '3 KV heads'],
    [{ ...shape, tokens: 5 }, 'ERR_TILEWISE_INVALID_OPTION', '`tokens`'],
    [{ ...shape, heads: 5 }, 'ERR_TILEWISE_UNKNOWN_OPTION', '`heads`'],
    [null, 'ERR_TILEWISE_INVALID_OPTION', 'null'],
  ] as const)('refuses %o', (wrong, code, words) => {
    expectError(
      thrownBy(() => explain(full(), wrong as never)),
      { code, says: [words] },
    );
  });
});

describe('devices', () => {
  it('lists the CPU with what it runs, and CUDA with why not', () => {
    const [cpu, ...others] = devices();
    expect(cpu).toMatchObject({ name: 'cpu', isAvailable: true, threads: numThreads() });
    expect(cpu.instructionSets).toContain(cpu.instructionSet);
    expect(cpu.instructionSets?.at(-1)).toBe('portable');
    expect(others.map(({ name }) => name)).toContain('cuda');
    for (const { isAvailable, reason } of others) expect(isAvailable ? '' : reason).toMatch(isAvailable ? /^$/ : /\w/);
  });

  it('and versions name what is loaded', () => {
    expect(versions).toEqual({
      tilewise: expect.stringMatching(/^\d+\.\d+\.\d+/),
      binary: versions.tilewise,
      napi: '8',
      compiler: expect.any(String),
    });
  });

  it('refuse an instruction set that is not there', () => {
    const before = native.instructionSet();
    expect(native.setInstructionSet('abacus')).toBe(false);
    expect(native.instructionSet()).toBe(before);
  });
});

describe('threads', () => {
  const before = numThreads();
  afterAll(() => setNumThreads(before));

  it('can be set, and any number gives the same bits', () => {
    const { q, k, v } = operands(200, 4, 32);
    const expected = attentionSync(q, k, v).out.data;
    for (const threads of [1, 2, 7]) {
      setNumThreads(threads);
      expect(numThreads()).toBe(threads);
      expect(isSame(attentionSync(q, k, v).out.data, expected)).toBe(true);
    }
  });

  it.each([[0], [-1], [1.5], [1025], [Number.NaN], ['2'], [undefined], [null]])('%o of them are refused', (threads) => {
    expectError(
      thrownBy(() => setNumThreads(threads as number)),
      { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['`threads`'] },
    );
  });
});

describe('options of explain()', () => {
  const one = { queryHeads: 1, kvHeads: 1, headDim: 64 };
  const grid = { ...one, tokens: [8, 8] };
  const window = neighborhood({ kernelSize: 3 });
  it.each([
    [() => explain(window, { ...one, queries: 64, keys: 64 }), 'ERR_TILEWISE_INVALID_OPTION', '`tokens`'],
    [() => explain(window, { ...grid, queries: 64 }), 'ERR_TILEWISE_INVALID_OPTION', '`queries`'],
    [() => explain(window, { ...grid, tokens: [] }), 'ERR_TILEWISE_INVALID_OPTION', 'one to 3'],
    [() => explain(window, { ...grid, tokens: [8, -1] }), 'ERR_TILEWISE_INVALID_OPTION', '`tokens[1]`'],
    [() => explain(full(), { ...grid, tokens: [2 ** 20, 2 ** 20] }), 'ERR_TILEWISE_INVALID_OPTION', 'in all'],
    [() => explain(window, { ...grid, tokens: [8, 2] }), 'ERR_TILEWISE_INVALID_OPTION', '`kernelSize` 3'],
    [() => explain(window, grid, { queryTile: [4, 4, 4] }), 'ERR_TILEWISE_SHAPE_MISMATCH', '3 axes'],
    [() => explain(full(), grid, { queryTile: [4, 4] }), 'ERR_TILEWISE_SHAPE_MISMATCH', '2 axes'],
    [() => explain(window, grid, { keyTile: 0 }), 'ERR_TILEWISE_INVALID_OPTION', '`keyTile`'],
    [() => explain(window, grid, { keyTile: [1, 0.5] }), 'ERR_TILEWISE_INVALID_OPTION', '`keyTile[1]`'],
    [() => explain(window, grid, { tiling: 'elastic' as never }), 'ERR_TILEWISE_INVALID_OPTION', "'elastic'"],
    [() => explain(window, grid, { tile: 4 } as never), 'ERR_TILEWISE_UNKNOWN_OPTION', '`tile`'],
  ] as const)('%s', (call, code, words) => {
    expectError(thrownBy(call), { code, says: [words] });
  });

  it('native code takes nothing on trust', () => {
    const numbers = new Float64Array(native.ops.attention.fields.length).fill(1);
    const views = native.ops.attention.views.map(() => undefined);
    for (const call of [native.explain, native.sights]) {
      for (const last of [
        undefined,
        null,
        new Float64Array(1),
        new Float32Array(8),
        new Float64Array(8).fill(-1),
        [1],
      ]) {
        for (const pattern of [0, 1, 2, 3]) {
          numbers[native.ops.attention.fields.indexOf('pattern')] = pattern;
          const thrown = thrownBy(() => call(numbers, views, last as never));
          if (thrown !== undefined) expect(thrown).toBeInstanceOf(Error);
        }
      }
    }
  });
});
