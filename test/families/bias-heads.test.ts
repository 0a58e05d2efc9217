// A bias per KV head, which serves its group (`biasHeads: 'kv'`), or of all heads. Reader: someone who asks whose heads a
// bias has.

import { describe, expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  type ErrorCode,
  numThreads,
  setNumThreads,
  Tensor,
} from '../../dist/index.js';
import type { Case } from '../conformance/case.js';
import { expectMatrix, onEveryBackend } from '../conformance/suite.js';
import { expectBoth } from '../support/expect-error.js';
import { tensor } from '../support/tensors.js';

onEveryBackend((backend) => {
  const { device } = backend;

  it('gives the bits of the same bias repeated for each head of a group', () => {
    const [q, k, v] = [tensor(2, 20, 6, 16), tensor(2, 70, 2, 16), tensor(2, 70, 2, 16)];
    const perKvHead = tensor(2, 2, 20, 70);
    const repeated = new Float32Array(2 * 6 * 20 * 70);
    for (let b = 0; b < 2; ++b)
      for (let h = 0; h < 6; ++h) {
        const from = (b * 2 + Math.floor(h / 3)) * 20 * 70;
        repeated.set(perKvHead.data.subarray(from, from + 20 * 70), (b * 6 + h) * 20 * 70);
      }
    const perHead = new Tensor('float32', repeated, [2, 6, 20, 70]);
    const told = attentionSync(q, k, v, { bias: perKvHead, biasHeads: 'kv', device });
    expect(told.out.data).toEqual(attentionSync(q, k, v, { bias: perHead, device }).out.data);
  });

  // Where heads share a bias the CPU takes several of them together, as many as leave every thread something to do.
  it.runIf(device === 'cpu')('one bias of all heads gives the bits of the same one per head, with any threads', () => {
    for (const [queries, keys, causal] of [
      [520, 150, false],
      [1600, 1650, true],
    ] as const) {
      const [q, k, v] = [tensor(1, queries, 4, 16), tensor(1, keys, 4, 16), tensor(1, keys, 4, 8)];
      v.data.fill(Number.NaN, 40 * 4 * 8, 41 * 4 * 8); // key 40, hidden from most queries
      const shared = tensor(1, 1, queries, keys);
      for (let i = 0; i < queries * keys; ++i)
        if ((i % keys === 40 && i > 9 * keys) || (i * 7919) % 11 === 0) shared.data[i] = -Infinity;
      const perHead = new Tensor('float32', new Float32Array(4 * queries * keys), [1, 4, queries, keys]);
      for (let head = 0; head < 4; ++head) perHead.data.set(shared.data, head * queries * keys);
      for (const rest of [{}, { softcap: 2 }, { extraKeys: tensor(1, 3, 4, 16), extraValues: tensor(1, 3, 4, 8) }]) {
        const options = { ...rest, causal, device } as const;
        const told = attentionSync(q, k, v, { ...options, bias: perHead }).out;
        const threads = numThreads();
        try {
          for (const count of [1, 2, 3, 8]) {
            setNumThreads(count);
            expect(attentionSync(q, k, v, { ...options, bias: shared }).out.data).toEqual(told.data);
          }
        } finally {
          setNumThreads(threads);
        }
      }
    }
  });

  it('goes with patterns, pages, starts, other types and more KV heads than query heads', () => {
    const bias = { axes: 'bhqk', hidden: 0.2, heads: 'kv' } as const;
    const shape: Case = { queries: 40, keys: 150, batch: 2, heads: [6, 2], dims: [32, 24], bias };
    expectMatrix(
      [
        { ...shape, causal: true },
        { ...shape, queries: 1, keys: 700, bias: { axes: 'bhk', heads: 'kv' } },
        { ...shape, dtype: 'float16', bias: { ...bias, dtype: 'float16', structure: 'causal' } },
        { ...shape, keyLengths: [150, 40], keyStarts: [10, 3] },
        { ...shape, blocks: { blockQ: 16, blockK: 32, density: 0.4, form: 'csr' } },
        { ...shape, keyLengths: [150, 100], pages: { size: 15 } },
        { ...shape, heads: [2, 6], pairing: 'tile' },
        {
          ...shape,
          grid: [9, 8],
          queries: 72,
          keys: 72,
          neighborhood: { kernelSize: [5, 3], stride: [1, 1], dilation: [1, 1], causal: [false, false] },
        },
      ],
      backend,
    );
  });
});

describe('arguments', () => {
  const [q, k, v] = [tensor(1, 4, 4, 8), tensor(1, 6, 2, 8), tensor(1, 6, 2, 8)];
  it.each<[AttentionOptions, typeof TypeError | typeof RangeError, ErrorCode, string[]]>([
    [{ biasHeads: 'kv' }, TypeError, 'ERR_TILEWISE_INVALID_OPTION', ['`biasHeads`', '`bias`']],
    [{ bias: tensor(6), biasHeads: 'all' as 'kv' }, TypeError, 'ERR_TILEWISE_INVALID_OPTION', ['`biasHeads`', "'kv'"]],
    [{ bias: tensor(4, 1, 6), biasHeads: 'kv' }, RangeError, 'ERR_TILEWISE_SHAPE_MISMATCH', ['`bias`', '[1, 2, 4, 6]']],
    [{ bias: tensor(2, 1, 6) }, RangeError, 'ERR_TILEWISE_SHAPE_MISMATCH', ['`bias`', '[1, 4, 4, 6]']],
  ])('%#', async (options, type, code, says) => {
    await expectBoth(
      () => attentionSync(q, k, v, options),
      () => attention(q, k, v, options),
      { code, type, says },
    );
  });
});
