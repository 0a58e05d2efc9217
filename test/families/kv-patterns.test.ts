// Patterns over the pages of a cache: strided shards, block lists and selections see there what they see in one tensor.
// Reader: someone who changes how a cache calls attention().

import { it } from 'vitest';
import { KvCache, Tensor } from '../../dist/index.js';
import { build, type Case, callOf } from '../conformance/case.js';
import { expectedOf } from '../conformance/judge.js';
import { fromOutput, fromTensor } from '../conformance/memory.js';
import { selectedBy } from '../conformance/selection.js';
import { expectRight, onEveryBackend } from '../conformance/suite.js';
import { expectError, thrownBy } from '../support/expect-error.js';

const stages = [{ blockQ: 8, strideQ: 1, chunk: 4, keep: 48 }];
const common: Case = { heads: [4, 2], keys: 600, queries: 20, dims: [24, 20] };
const cases: [string, Case][] = [
  ['strided shards', { ...common, shards: { blockSize: 16, localBlocks: 3, vertStride: 4 } }],
  ['a step of strided shards', { ...common, queries: 1, shards: { blockSize: 16, localBlocks: 3, vertStride: 4 } }],
  ['block lists', { ...common, blocks: { blockQ: 16, blockK: 16, density: 0.3 } }],
  ['a selection', { ...common, hip: { method: 'staged', blockQ: 8, sink: 4, window: 16, scope: 'kv', stages } }],
];

onEveryBackend((backend) => {
  it.each(cases)('%s', (_, c) => {
    const built = build(c);
    const { query, key, value, options } = callOf(built);
    const [k, v] = [key, value].map(({ data, dims }) => new Tensor('float32', data as Float32Array, dims as number[]));
    const cache = new KvCache({ kvHeads: 2, headDim: 24, valueDim: 20, device: backend.device });
    for (const [from, to] of [
      [0, 250],
      [250, 600],
    ]) {
      cache.append(0, k.slice(1, from, to), v.slice(1, from, to));
    }
    const { layout, ...told } = options;
    const { out, lse } = cache.attentionSync(0, query, { ...told, returnLse: true });
    const { problem } = built;
    const { pattern } = problem;
    const expected =
      pattern?.kind === 'hierarchical'
        ? expectedOf({ ...problem, pattern: { ...pattern, selected: selectedBy(built, backend) } })
        : expectedOf(problem);
    expectRight({ out: fromOutput(out, 'bnhd'), lse: fromTensor(lse) }, expected);
  });
});

it('a cache that says itself what a query sees takes no pattern', () => {
  const cache = new KvCache({ kvHeads: 1, headDim: 4, recentTokens: 8, sinkTokens: 1 });
  const rows = Tensor.zeros('float32', [1, 3, 1, 4]);
  cache.append(0, rows, rows);
  const { options } = callOf(build({ ...cases[0][1], heads: [1, 1] }));
  expectError(
    thrownBy(() => cache.attentionSync(0, rows, { pattern: options.pattern })),
    { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['`pattern`', '`recentTokens`'] },
  );
});
