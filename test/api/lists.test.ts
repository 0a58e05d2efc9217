// Lists with holes, and lists longer than any call's: each is refused at the first element that is no number or object of its kind.
// Reader: someone who reads a new list. map(), every() and Int32Array.from() skip holes or run through all 2^32 of them.

import { describe, expect, it } from 'vitest';
import {
  attentionSlices,
  attentionSync,
  documents,
  gaussianMixture,
  haloAttentionSync,
  KvPool,
  LinearState,
  landmarkAttentionSync,
  rotateSync,
} from '../../dist/index.js';
import { filled } from '../support/caches.js';
import { thrownBy } from '../support/expect-error.js';
import { operands, tensor } from '../support/tensors.js';

const { q, k, v } = operands(4, 2, 8);
const pool = new KvPool({ pages: 2, kvHeads: 2, headDim: 8 });
const sequence = pool.sequence();
sequence.append(0, tensor(3, 2, 8), tensor(3, 2, 8));
const state = new LinearState({ kvHeads: 1, headDim: 2, valueDim: 2 });

/** Calls that take a list of `good`, without what another length alone would refuse. */
const calls: Record<string, { good: unknown; call(list: never[]): unknown }> = {
  'integers of an option': { good: 3, call: (keyLengths) => attentionSync(q, k, v, { keyLengths }) },
  'rows of a table': {
    good: [0],
    call: (table) => attentionSync(q, k, v, { pages: { table, pageSize: 4 }, keyLengths: [4] }),
  },
  positions: { good: 1, call: (queries) => attentionSync(q, k, v, { positions: { queries, keys: queries } }) },
  'positions of rotate()': { good: 1, call: (positions) => rotateSync(q, { positions }) },
  slices: { good: { q: [0, 1], k: [0, 1], kind: 'full' }, call: (slices) => attentionSlices(slices) },
  'lists of slices': { good: [{ q: [0, 1], k: [0, 1], kind: 'full' }], call: (slices) => attentionSlices(slices) },
  'lists of documents': { good: [4], call: (lengths) => documents({ lengths }) },
  'a grid': { good: 2, call: (grid) => gaussianMixture({ grid, alpha: [[1]], sigma: [[1]] }) },
  'weights of a mixture': { good: [1], call: (alpha) => gaussianMixture({ grid: [2], alpha, sigma: [[1]] }) },
  'blocks of heads': { good: [0], call: (blocks) => landmarkAttentionSync(q, k, v, { blockSize: 2, blocks }) },
  'blocks of a head': {
    good: 0,
    call: (list) => landmarkAttentionSync(q, k, v, { blockSize: 2, blocks: [list, list] }),
  },
  'keys of distances': {
    good: tensor(5, 8),
    call: (relativeKeys) => {
      const map = tensor(1, 2, 2, 2, 8);
      return haloAttentionSync(map, map, map, { block: 2, halo: 1, relativeKeys });
    },
  },
  'sequences of a pool': { good: sequence, call: (list) => pool.attentionSync(0, tensor(2, 2, 8), list) },
  'parts of a state': { good: state, call: (parts) => LinearState.merge(parts) },
  'tokens of sequences': { good: [[0], [0]], call: (lists) => filled(4).compact(0, lists) },
  'tokens of heads': { good: [0], call: (list) => filled(4).compact(0, [list]) },
  'lengths of a cache': { good: 1, call: (lengths) => filled(4).truncate(lengths) },
  'new dims': { good: 1, call: (dims) => tensor(4).reshape(dims) },
};
const coded = expect.stringMatching(/^ERR_TILEWISE_(INVALID_OPTION|INVALID_TENSOR|SHAPE_MISMATCH|OUT_OF_MEMORY)$/);

describe.each(Object.entries(calls))('%s', (_, { good, call }) => {
  it.each([1, 2])('with a hole at the end of %i', (length) => {
    const list: unknown[] = [good].slice(0, length - 1);
    list.length = length;
    expect(thrownBy(() => call(list as never[]))).toMatchObject({ code: coded });
  });

  it('without end', () => {
    expect(thrownBy(() => call(new Array(2 ** 32 - 1) as never[]))).toMatchObject({ code: coded });
  });
});
