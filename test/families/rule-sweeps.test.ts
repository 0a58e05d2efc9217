// Documents, slices, power, sampled blocks, MoA's windows, windows that differ by head, and positions: attention against float64,
// where the reference asks each rule pair by pair. Reader: someone who changed a rule, a plan of ranges, or a loop that runs them.

import { it } from 'vitest';
import type { Case } from '../conformance/case.js';
import {
  documentCases,
  headWindowCases,
  moaCases,
  positionCases,
  powerCases,
  sampledCases,
  sliceCases,
} from '../conformance/rule-sweep.js';
import { expectMatrix, onEveryBackend, sweep } from '../conformance/suite.js';
import { range } from '../references/operand.js';

const heads: [number, number] = [4, 2];
const square = { heads, queries: 300, keys: 300, dims: [24, 20] as [number, number] };
const decode = { heads: [8, 2] as [number, number], queries: 1, keys: 700, dims: [32, 32] as [number, number] };
const documents = { lists: [[70, 1, 0, 129, 100]] };
const zigzag = (rank: number) => [rank, 7 - rank].flatMap((chunk) => range(chunk * 50, chunk * 50 + 50));

/** A row for each form of a rule, on tiles of many queries and on one query. */
const rows: Case[] = [
  { ...square, documents },
  { ...square, documents: { ...documents, causal: true } },
  { ...square, documents: { ...documents, causal: true, shared: true, prefix: 9 } },
  { ...square, documents: { ...documents, causal: true, lastSeesAll: true } },
  { ...square, documents: { ...documents, blockCausal: 64, globalTokens: 5 } },
  { ...square, documents: { lists: [[300]], globalTokens: 17, window: { left: 40, right: 40 } } },
  { ...square, batch: 2, documents: { lists: [[300], [3, 200, 97]], causal: true }, dtype: 'float16' },
  {
    ...square,
    slices: [
      [
        { q: [0, 100], k: [0, 100], kind: 'causal' },
        { q: [100, 300], k: [0, 90], kind: 'full' },
        { q: [100, 180], k: [90, 300], kind: 'bicausal' },
        { q: [200, 300], k: [100, 300], kind: 'invcausal' },
      ],
      [{ q: [10, 290], k: [5, 250], kind: 'causal' }],
    ],
  },
  { ...decode, slices: [[{ q: [0, 1], k: [100, 350], kind: 'full' }], []] },
  { ...square, power: { block: 16, window: 3, sinkBlocks: 1 } },
  { ...square, queries: 40, power: { block: 7, window: 0, sinkBlocks: 0 }, dtype: 'bfloat16' },
  { ...decode, power: { block: 16, window: 2, sinkBlocks: 1 } },
  { ...square, sampled: { block: 16, geometric: { rho: 0.8, floor: 0.1 }, seed: 5, layer: 3, scope: 'kv' } },
  { ...decode, sampled: { block: 8, keep: [1, 0.9, 0.3], seed: 2 ** 40 + 7, layer: 0, scope: 'head' } },
  {
    ...square,
    moa: { alpha: [-20, 30, 0, 10], beta: [0.25, 0.125, 0, 1], seqLen: 300, sink: 16, min: 32, multiple: 16 },
  },
  { ...decode, moa: { alpha: [0, 64], beta: [0.125, 0.5], seqLen: 800, sink: 64, min: 128, multiple: 64 } },
  { ...square, recentTokens: [1, 60, Number.POSITIVE_INFINITY, 0], sinkTokens: [0, 9] },
  { ...square, queries: 100, keys: 100, causal: true, positions: { queries: [zigzag(1)], keys: [zigzag(2)] } },
  {
    ...{ ...square, queries: 100, keys: 100, left: 30, right: 5, sinkTokens: 8, alibi: 'h' },
    positions: { queries: [zigzag(0)], keys: [zigzag(0)] },
  },
  {
    ...{ ...square, batch: 2, queries: 100, keys: 100, power: { block: 16, window: 2, sinkBlocks: 1 } },
    positions: { queries: [zigzag(2), zigzag(3)], keys: [zigzag(1), zigzag(3)] },
  },
];

onEveryBackend((backend) => {
  it('every form of a rule, with what goes with it', () => {
    expectMatrix(
      rows.flatMap((c): Case[] => [
        c,
        { ...c, sinks: true, softcap: 5, extra: 3 },
        { ...c, mask: { axes: 'qk', hidden: 0.3 }, bias: { axes: 'h', dtype: 'float16' } },
      ]),
      backend,
    );
  });
});

sweep('documents', documentCases, 60);
sweep('slices', sliceCases, 60);
sweep('power', powerCases, 60);
sweep('sampled blocks', sampledCases, 60);
sweep("MoA's windows", moaCases, 40);
sweep('windows that differ by head', headWindowCases, 80);
sweep('positions', positionCases, 80);
