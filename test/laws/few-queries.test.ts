// Few queries over many keys, tokens first: heads that lie beside each other share a tile (cpu/attention/tiling.cc), whatever
// the score rules say to each of them. Reader: someone who changed which heads a tile takes together.

import { it } from 'vitest';
import type { Case } from '../conformance/case.js';
import { expectCases, onEveryBackend } from '../conformance/suite.js';

/** 8 KV heads in groups of one and of four, rows of one panel or two, blocks of keys that end early. */
const shapes: Case[] = [
  { heads: [8, 8], dims: [32, 24], queries: 15, keys: 300 }, // few in panels of 8 and 16
  { heads: [8, 8], dims: [32, 24], queries: 31, keys: 300 }, // in those of 16 and 32
  { heads: [32, 8], dims: [16, 40], queries: 9, keys: 205 },
  { heads: [12, 6], dims: [64, 64], queries: 21, keys: 97, batch: 2 },
];
const rules: Partial<Case>[] = [
  {},
  { causal: true },
  { alibi: 'h' },
  { bias: { axes: 'bhqk' } },
  { mask: { axes: 'bhqk', hidden: 0.4 } },
  { mask: { axes: 'bhk', hidden: 0.99 } }, // blocks of keys that one head sees nothing of and another does
  { bias: { axes: 'qk' }, softcap: 4 },
  { cosine: true, scale: 8 },
  { extra: 3, sinks: true },
  { recentTokens: 90, sinkTokens: 3 },
];

onEveryBackend((backend) => {
  it.each(['float32', 'float16'] as const)('%s, against float64', (dtype) => {
    expectCases(
      shapes.flatMap((shape) => rules.map((rule) => ({ ...shape, ...rule, dtype }))),
      backend,
    );
  });
});
