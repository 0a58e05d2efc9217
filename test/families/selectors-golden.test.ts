// Selectors against numbers computed elsewhere (golden/ext-kv.json): their scores, the lists, and attention over these; and what
// the file says is wrong. Reader: someone who ports a model that selects keys.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attentionSync,
  blockMeanTopK,
  blockMeanTopKSync,
  deltaPageScores,
  deltaPageScoresSync,
  landmarkTopK,
  landmarkTopKSync,
  questPageScores,
  questPageScoresSync,
  snapKV,
  snapKVSync,
  type Tensor,
  verticalSlash,
  verticalSlashSync,
} from '../../dist/index.js';
import { selected } from '../conformance/backends.js';
import { onEveryBackend } from '../conformance/suite.js';
import { extKv, type KvCase, kvCasesOf } from '../support/ext-kv.js';
import { expectNear } from '../support/ext-linear.js';
import { expectRefused, extTensor } from '../support/ext-modifiers.js';
import { type ExtTensor, extNumbers } from '../support/ext-patterns.js';

const here = () => ({ device: selected()?.device });
const plain = (lists: unknown): unknown =>
  ArrayBuffer.isView(lists) ? [...(lists as Int32Array)] : Array.isArray(lists) ? lists.map(plain) : lists;
const operands = (given: KvCase) => [extTensor(given.q), extTensor(given.k)] as const;

/** Expects the numbers of a tensor of the file, infinities exactly. */
function expectScores(got: Tensor, want: ExtTensor): void {
  const numbers = extNumbers(want);
  expect(got.data.length).toBe(numbers.length);
  numbers.forEach((x, i) => {
    expect(got.data[i], `element ${i}`).toSatisfy(
      (y: number) => y === x || Math.abs(y - x) <= 2e-6 * Math.max(1, Math.abs(x)),
    );
  });
}

/** Attention over what was selected, as the file has it. */
function expectOut(given: KvCase, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): void {
  const { out, lse } = attentionSync(q, k, v, { ...options, ...here(), returnLse: true });
  expectNear(out, given.out);
  extNumbers(given.lse).forEach((x, i) => {
    expect(lse.data[i], `lse ${i}`).toSatisfy(
      (y: number) => y === x || Math.abs(y - x) < 3e-6 * Math.max(1, Math.abs(x)),
    );
  });
}

/** Tensors of keys whose pages have one token each, for lists of tokens. */
function onPages(given: KvCase) {
  const { keys, kvHeads, headDim, valueDim } = given.dims;
  const table = [Array.from({ length: keys }, (_, i) => i)];
  return {
    k: extTensor(given.k).reshape([keys, 1, kvHeads, headDim]),
    v: extTensor(given.v).reshape([keys, 1, kvHeads, valueDim]),
    pages: { pages: { table, pageSize: 1 }, keyLengths: [keys] },
  };
}

onEveryBackend(() => {
  it.each(kvCasesOf('questPageScores'))('$name', (given) => {
    const [q, k] = operands(given);
    const options = { ...(given.options as { pageSize: number; pages: number }), ...here() };
    const groups = questPageScoresSync(q, k, options);
    expectScores(groups.scores, given.groupScores as ExtTensor);
    expect(plain(groups.lists)).toEqual(given.selectedPerGroup);
    // A list per query head: of keys that every query head has for itself.
    const { batch, keys, queryHeads, kvHeads, headDim } = given.dims;
    const group = queryHeads / kvHeads;
    const own = extTensor({ ...given.k, dims: [batch, keys, queryHeads, headDim], data: ownKeys(given, group) });
    const heads = questPageScoresSync(q, own, options);
    expectScores(heads.scores, given.scores as ExtTensor);
    expect(plain(heads.lists)).toEqual(given.selected);
  });

  it.each(kvCasesOf('deltaPageScores'))('$name', (given) => {
    const [q, k] = operands(given);
    const options = { ...(given.options as { pageSize: number; pages: number }), ...here() };
    for (const lse of [undefined, extTensor(given.queryLse as ExtTensor)]) {
      const { scores, lists } = deltaPageScoresSync(q, k, { ...options, lse });
      expectScores(scores, given.scores as ExtTensor);
      expect(plain(lists)).toEqual(given.selected);
    }
  });

  it.each(kvCasesOf('blockMeanTopK'))('$name', (given) => {
    const [q, k] = operands(given);
    const { scale, ...options } = given.options as { blockSize: number; topK: number; scale: number };
    const { scores, lists } = blockMeanTopKSync(q, k, { ...options, ...here() });
    expectScores(scores, given.scores as ExtTensor);
    const { offsets, columns } = lists.listed;
    const rows = (given.selected as number[][][]).flat();
    expect(rows.map((_, i) => [...columns.subarray(offsets[i], offsets[i + 1])])).toEqual(rows);
    expectOut(given, q, k, extTensor(given.v), { pattern: lists, scale });
  });

  it.each(kvCasesOf('verticalSlash'))('$name', (given) => {
    const [q, k] = operands(given);
    const options = given.options as { vertical: number; slash: number };
    const { scores, verticals, slashes, lists } = verticalSlashSync(q, k, { ...options, ...here() });
    expectScores(scores.columns, given.columnSums as ExtTensor);
    expectScores(scores.diagonals, given.diagonalSums as ExtTensor);
    expect(plain(verticals[0])).toEqual(given.verticals);
    expect(plain(slashes[0])).toEqual(given.slashes);
    expectOut(given, q, k, extTensor(given.v), { pattern: lists });
  });

  it.each(kvCasesOf('snapKV'))('$name', (given) => {
    const [q, k] = operands(given);
    const { scores, lists } = snapKVSync(q, k, { ...(given.options as { capacity: number }), ...here() });
    expectScores(scores, given.importance as ExtTensor);
    expect(plain(lists[0])).toEqual(given.selected);
    const paged = onPages(given);
    expectOut(given, extTensor(given.decodeQuery as ExtTensor), paged.k, paged.v, { ...paged.pages, pageLists: lists });
  });

  it.each(kvCasesOf('landmarkTopK'))('$name', (given) => {
    const [q, k] = operands(given);
    const { scores, lists } = landmarkTopKSync(q, k, {
      ...(given.options as { blockSize: number; topK: number }),
      ...here(),
    });
    expectScores(scores, given.scores as ExtTensor);
    expect(lists[0]).toEqual(given.selected);
  });
});

/** The keys of a case, those of each KV head once for each of its query heads. */
function ownKeys({ k, dims: { batch, keys, kvHeads, headDim } }: KvCase, group: number): number[] {
  const numbers = extNumbers(k);
  return Array.from({ length: batch * keys * kvHeads }, (_, row) => numbers.slice(row * headDim, (row + 1) * headDim))
    .flatMap((row) => Array.from({ length: group }, () => row))
    .flat();
}

describe('what the golden file refuses', () => {
  const selectors = {
    questPageScores: [questPageScoresSync, questPageScores],
    deltaPageScores: [deltaPageScoresSync, deltaPageScores],
    blockMeanTopK: [blockMeanTopKSync, blockMeanTopK],
    verticalSlash: [verticalSlashSync, verticalSlash],
    snapKV: [snapKVSync, snapKV],
    landmarkTopK: [landmarkTopKSync, landmarkTopK],
  } as const;
  const isSelector = (op: string): op is keyof typeof selectors => op in selectors;
  it.each(extKv.invalid.filter(({ op }) => isSelector(op)))('$op: $name', (given) => {
    const [sync, promised] = selectors[given.op as keyof typeof selectors];
    return expectRefused<never>(
      given,
      (q, k, _, options) => sync(q, k, options),
      (q, k, _, options) => promised(q, k, options),
    );
  });
});
