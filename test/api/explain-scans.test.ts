// explainDelta() and explainCumulative(): how these are divided, and what they read and write. Reader: someone who reads an
// answer of them.

import { expect, it } from 'vitest';
import { explainCumulative, explainDelta, numThreads, setNumThreads } from '../../dist/index.js';
import { expectError, thrownBy } from '../support/expect-error.js';

const gpu = { device: 'cuda' } as const;

it('the gated delta rule is one pass on a GPU, which reads q and k for every 64 columns of v', () => {
  const sizes = {
    batch: 2,
    queryHeads: 16,
    keyHeads: 16,
    valueHeads: 32,
    tokens: 4096,
    headDim: 128,
    dtype: 'bfloat16',
  };
  const got = explainDelta(sizes as never, gpu);
  const rows = 2 * 4096;
  const [inKeys, inValues, numbers] = [(16 + 16) * 128 * 2, (32 + 32) * 128 * 2, 32 * 4];
  expect(got).toMatchObject({ passes: 1, groups: 1, chunk: 64, stateBytes: 2 * 32 * 128 * 128 * 4 });
  expect(got.operandBytes).toBe(rows * (inKeys + inValues + numbers));
  expect(got.bytes).toBe(rows * (2 * (inKeys + numbers) + inValues));
  expect(explainDelta({ ...sizes, chunk: 20 } as never, gpu).chunk).toBe(20);
});

it('counts products of the delta rule with pairs and states', () => {
  const { chunk, flops } = explainDelta({
    queryHeads: 4,
    keyHeads: 1,
    valueHeads: 2,
    tokens: 100,
    headDim: 8,
    valueDim: 16,
  });
  const [state, pairs] = [8 * 16, (chunk + 1) * (8 + 16)];
  expect(flops).toBe(100 * (2 * (4 * state + pairs) + 4 * (2 * state + pairs)));
});

it('on the CPU columns are divided where value heads do not fill the threads', () => {
  const threads = numThreads();
  const bytes = (count: number) => {
    setNumThreads(count);
    return explainDelta({ queryHeads: 1, tokens: 1000, headDim: 64, valueDim: 512 }, { device: 'cpu' }).bytes;
  };
  try {
    const perPiece = 1000 * (2 * 64 * 4 + 4);
    expect(bytes(2) - bytes(1)).toBe(perPiece);
    expect(bytes(4) - bytes(1)).toBe(3 * perPiece);
  } finally {
    setNumThreads(threads);
  }
});

it('cumulative attention is one pass where heads fill a GPU, else two, which read scores and values twice', () => {
  const full = explainCumulative({ batch: 64, heads: 32, tokens: 8192, valueDim: 64 }, gpu);
  expect(full).toMatchObject({ passes: 1, groups: 1, stateBytes: 64 * 32 * 66 * 4 });
  expect(full.bytes).toBe(full.operandBytes);
  expect(full.operandBytes).toBe(64 * 32 * 8192 * (4 + 2 * 64 * 4));
  const few = explainCumulative({ heads: 1, tokens: 1 << 20, valueDim: 64 }, gpu);
  expect(few).toMatchObject({ passes: 2, groups: 64 });
  expect(few.bytes / few.operandBytes).toBeGreaterThan(1.48);
  expect(few.bytes / few.operandBytes).toBeLessThan(1.52);
  expect(explainCumulative({ heads: 2, tokens: 100, valueDim: 8 }, { device: 'cpu' })).toMatchObject({
    passes: 1,
    groups: 1,
  });
});

it('on the CPU threads divide groups of cumulative attention where heads are too few', () => {
  const threads = numThreads();
  const explained = (count: number) => {
    setNumThreads(count);
    return explainCumulative({ heads: 2, tokens: 1 << 17, valueDim: 64 }, { device: 'cpu' });
  };
  try {
    const [one, eight] = [1, 8].map(explained);
    expect(one).toMatchObject({ passes: 1, groups: 1 });
    expect(one.bytes).toBe(one.operandBytes);
    expect(eight).toMatchObject({ passes: 2, groups: 64 });
    expect(eight.bytes - one.bytes).toBe(2 * ((1 << 17) * (4 + 64 * 4) + 4 * 64 * 66 * 4));
  } finally {
    setNumThreads(threads);
  }
});

it.each<[string, () => unknown, string]>([
  ['no heads', () => explainDelta({ tokens: 1, headDim: 1 } as never), 'queryHeads'],
  ['a chunk of 0', () => explainDelta({ queryHeads: 1, tokens: 4, headDim: 1, chunk: 0 }), 'chunk'],
  ['a dim that is too large', () => explainDelta({ queryHeads: 1, tokens: 4, headDim: 4097 }), 'headDim'],
  ['no tokens', () => explainCumulative({ heads: 1, valueDim: 1 } as never), 'tokens'],
])('refuses %s', (_, call, says) => {
  expectError(thrownBy(call), { code: 'ERR_TILEWISE_INVALID_OPTION', says: [says] });
});

it('refuses heads that do not fit', () => {
  const call = () => explainDelta({ queryHeads: 4, keyHeads: 3, valueHeads: 4, tokens: 1, headDim: 1 });
  expectError(thrownBy(call), { code: 'ERR_TILEWISE_SHAPE_MISMATCH' });
});
