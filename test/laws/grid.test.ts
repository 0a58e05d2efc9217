// Every pair of option values meets in at least one case: dtype x layout x memory x window x heads x score modifiers x
// dims x lengths. Reader: someone adding an option: add a factor, or a level to one.

import { expect, it } from 'vitest';
import type { Case } from '../conformance/case.js';
import { storages } from '../conformance/memory.js';
import { pairwise } from '../conformance/pairwise.js';
import { expectMatrix, onEveryBackend } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';

const same = [1, 3, 7, 8, 16, 40, 64, 80, 96, 128, 192, 256, 512].map((d): [number, number] => [d, d]);
const different: [number, number][] = [
  [1, 3],
  [8, 10],
  [40, 72],
  [64, 128],
  [128, 64],
  [192, 128],
  [5, 512],
  [512, 5],
];

const packed = { batch: 1, cuSeqlensQ: [0, 1, 1, 40, 64], cuSeqlensK: [0, 5, 9, 9, 100] };

const factors: Record<string, Partial<Case>[]> = {
  dtype: [{ dtype: 'float32' }, { dtype: 'float16' }, { dtype: 'bfloat16' }],
  layout: [{ layout: 'bnhd' }, { layout: 'bhnd' }],
  storage: storages.map((storage) => ({ storage })),
  window: [
    {},
    { causal: true },
    { left: 20 },
    { right: 9 },
    { left: 33, right: 2 },
    { left: 15, causal: true },
    { left: 15, causal: true, sinkTokens: 4 },
    { left: 0, right: 0 },
    { left: 8, right: 8, sinkTokens: 70 },
    { ranges: { form: 'alike', most: 3, per: 'head' } },
    { ranges: { form: 'documents', most: 2, perBatch: true } },
  ],
  align: [{}, { align: 'top-left' }, { align: 'bottom-right' }, { align: 3 }, { align: -17 }],
  heads: [
    { heads: [1, 1] },
    { heads: [3, 3] },
    { heads: [4, 2] },
    { heads: [6, 2] },
    { heads: [8, 1] },
    { heads: [2, 4] },
    { heads: [2, 4], pairing: 'tile' },
    { heads: [2, 6], pairing: 'interleave' },
  ],
  bias: [
    {},
    { bias: { axes: 'qk' } },
    { bias: { axes: 'bhqk', dtype: 'float16', hidden: 0.3 } },
    { bias: { axes: 'hk', dtype: 'bfloat16' } },
    { bias: { axes: 'bk', hidden: 0.5 } },
    { bias: { axes: 'hq' } },
    { bias: { axes: 'bhk', heads: 'kv' } },
    { bias: { axes: 'bhqk', dtype: 'float16', hidden: 0.3, heads: 'kv' } },
  ],
  factor: [
    {},
    { factor: { axes: 'k' } },
    { factor: { axes: 'bhqk', dtype: 'float16' } },
    { factor: { axes: 'hqk', dtype: 'bfloat16' } },
    { factor: { axes: 'hq' } },
  ],
  mask: [
    {},
    { mask: { axes: 'qk', hidden: 0.4 } },
    { mask: { axes: 'bhqk', hidden: 0.97 } },
    { mask: { axes: 'bk', hidden: 0.2 } },
    { mask: { axes: 'hq', hidden: 0.2 } },
    { mask: { axes: 'k', prefix: 70 } },
    { keyMask: { hidden: 0.3 } },
    { keyMask: { structure: 'left' }, mask: { axes: 'hq', hidden: 0.2 } },
  ],
  softcap: [{}, { softcap: 0.7 }, { softcap: 20 }],
  alibi: [{}, { alibi: 'h' }, { alibi: 'bh' }],
  sinks: [{}, { sinks: true }],
  scale: [{}, { scale: 1 }, { scale: -0.3 }, { cosine: true, scale: 3 }],
  extra: [{}, { extra: 5 }],
  dims: [...same, ...different].map((dims) => ({ dims })),
  lengths: [
    { batch: 1, queries: 1, keys: 1 },
    { batch: 2, queries: 1, keys: 257 },
    { batch: 1, queries: 1, keys: 33 },
    { batch: 2, queries: 7, keys: 5 },
    { batch: 1, queries: 64, keys: 64 },
    { batch: 2, queries: 65, keys: 129 },
    { batch: 1, queries: 130, keys: 130 },
    { batch: 1, queries: 100, keys: 37 },
    { batch: 3, queries: 16, keys: 48, keyLengths: [0, 48, 31] },
    { batch: 3, queries: 1, keys: 300, keyLengths: [300, 1, 77] },
    { batch: 3, queries: 20, keys: 90, keyLengths: [90, 60, 61], keyStarts: [7, 60, 0] },
    { batch: 2, queries: 1, keys: 300, keyStarts: [299, 65] },
    { ...packed, queries: 64, keys: 100 },
    { ...packed, queries: 64, keys: 100, is3d: true },
  ],
};

const levels = Object.values(factors);

const cases = pairwise(levels.map((level) => level.length)).map((row, n): Case => {
  const c: Case = Object.assign({ seed: n + 1, queries: 0, keys: 0 }, ...row.map((level, f) => levels[f][level]));
  if (c.cuSeqlensQ) {
    // Scores of packed sequences have no [queries, keys] rectangle for a bias or mask to cover, nor [batch, keys]; ranges are of a batch entry.
    delete c.bias;
    delete c.mask;
    delete c.keyMask;
    delete c.ranges;
  }
  return c;
});

it('the grid has every pair of levels', () => {
  const pairs = new Set(
    pairwise(levels.map((level) => level.length)).flatMap((row) =>
      row.flatMap((i, f) => row.slice(f + 1).map((j, g) => `${f} ${i} ${f + 1 + g} ${j}`)),
    ),
  );
  const sizes = levels.map((level) => level.length);
  const all = sizes.flatMap((n, f) => sizes.slice(f + 1).map((m) => n * m)).reduce((sum, n) => sum + n, 0);
  expect(pairs.size).toBe(all);
});

onEveryBackend((backend) => {
  it.each(dtypes)(`%s, all the grid's cases`, (dtype) => {
    expectMatrix(
      cases.filter((c) => c.dtype === dtype),
      backend,
    );
  });
});
