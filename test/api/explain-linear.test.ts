// explainLinear(): how linear attention is divided, and what it reads and writes. Reader: someone who reads an answer of it.

import { describe, expect, it } from 'vitest';
import { explainLinear, numThreads, setNumThreads } from '../../dist/index.js';
import { native } from '../../dist/native/native.js';
import { expectError, thrownBy } from '../support/expect-error.js';

const option = 'ERR_TILEWISE_INVALID_OPTION' as const;

describe('on a GPU, there or not', () => {
  const on = (shape: object) =>
    explainLinear({ queryHeads: 32, tokens: 8192, headDim: 64, dtype: 'bfloat16', ...shape } as never, {
      device: 'cuda',
    });

  it('is one pass where heads fill it, which reads and writes operands once', () => {
    const got = on({ batch: 32 });
    expect(got.passes).toBe(1);
    expect(got.groups).toBe(1);
    expect(got.operandBytes).toBe(32 * 32 * 8192 * 4 * 64 * 2);
    expect(got.bytes).toBe(got.operandBytes);
    expect(got.stateBytes).toBe(32 * 32 * 64 * 64 * 4);
  });

  it('is two where they do not, which read keys and values twice', () => {
    const got = on({ queryHeads: 1, tokens: 1 << 20 });
    expect(got.passes).toBe(2);
    expect(got.groups).toBe(64);
    expect(got.bytes / got.operandBytes).toBeGreaterThan(1.5);
    expect(got.bytes / got.operandBytes).toBeLessThan(1.7);
  });

  it('has groups of 2048 tokens at least', () => {
    expect(on({ queryHeads: 1, tokens: 2048 })).toMatchObject({ passes: 1, groups: 1 });
    expect(on({ queryHeads: 1, tokens: 2049 })).toMatchObject({ passes: 2, groups: 2 });
  });

  it('works on chunks of at most 64', () => {
    expect(on({}).chunk).toBe(64);
    expect(on({ chunk: 16 }).chunk).toBe(16);
    expect(on({ chunk: 500 }).chunk).toBe(64);
  });
});

it('counts threads on the CPU', () => {
  const shape = { queryHeads: 2, tokens: 65536, headDim: 32, valueDim: 16 };
  const threads = numThreads();
  try {
    setNumThreads(1);
    expect(explainLinear(shape, { device: 'cpu' })).toMatchObject({ passes: 1, groups: 1 });
    setNumThreads(4);
    const got = explainLinear(shape, { device: 'cpu' });
    expect(got).toMatchObject({ passes: 2, groups: 64, backend: { name: 'cpu' } });
    expect(got.bytes).toBe(got.operandBytes * 1.5 + 64 * 4 * got.stateBytes);
  } finally {
    setNumThreads(threads);
  }
});

it('counts products of a chunk and of the state', () => {
  const { chunk, flops } = explainLinear(
    { queryHeads: 4, kvHeads: 2, tokens: 100, headDim: 8, valueDim: 16 },
    { device: 'cpu' },
  );
  expect(flops).toBe(100 * (4 * ((chunk + 1) * (8 + 16) + 2 * 8 * 16) + 2 * 2 * 8 * 16));
  const all = explainLinear(
    { queryHeads: 4, tokens: 10, keys: 100, causal: false, headDim: 8, valueDim: 16 },
    { device: 'cpu' },
  );
  expect(all.flops).toBe(4 * (10 * 2 * 8 * 16 + 100 * 2 * 8 * 16));
});

it.each<[string, object, string]>([
  ['no heads', { tokens: 1, headDim: 1 }, 'queryHeads'],
  ['an unknown map', { queryHeads: 1, tokens: 1, headDim: 1, featureMap: 'exp' }, 'featureMap'],
  ['other keys in a causal call', { queryHeads: 1, tokens: 4, keys: 5, headDim: 1 }, 'keys'],
  ['a chunk of 0', { queryHeads: 1, tokens: 4, headDim: 1, chunk: 0 }, 'chunk'],
])('refuses %s', (_, shape, says) => {
  expectError(
    thrownBy(() => explainLinear(shape as never)),
    { code: option, says: [says] },
  );
});

it('refuses dims and heads that do not fit', () => {
  for (const shape of [
    { queryHeads: 1, tokens: 1, headDim: 65, featureMap: 'taylor2' as const },
    { queryHeads: 3, kvHeads: 2, tokens: 1, headDim: 1 },
  ]) {
    expectError(
      thrownBy(() => explainLinear(shape)),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH' },
    );
  }
  expect(() => native.linearPasses(new Float64Array(3))).toThrow();
});
