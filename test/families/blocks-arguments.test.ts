// Arguments of block lists: every wrong one gets a sentence and a stable code, and what the right ones become.
// Reader: someone who brings a block mask and gets an error.

import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  type BlocksOptions,
  blockSparseAttention,
  blockSparseAttentionSync,
  blocks,
  type ErrorCode,
  type TensorLike,
} from '../../dist/index.js';
import { build, callOf } from '../conformance/case.js';
import { expectedOf } from '../conformance/judge.js';
import { fromOutput, fromTensor } from '../conformance/memory.js';
import { listsOption, padded } from '../conformance/patterns.js';
import { expectRight } from '../conformance/suite.js';
import type { Blocks } from '../references/blocks.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { operands } from '../support/tensors.js';
import { view } from '../support/views.js';

const int32 = (dims: number[], ...numbers: number[]): TensorLike => ({
  type: 'int32',
  data: Int32Array.from(numbers),
  dims,
});

/** The same lists for every head and batch entry. */
const listed = (blockQ: number, blockK: number, rows: number[][]): Blocks => ({
  kind: 'blocks',
  blockQ,
  blockK,
  lists: [[rows]],
});

describe('arguments', () => {
  const { q, k, v } = operands(8, 2, 8);
  const plain = { blockQ: 4, blockK: 4 };
  const rows = listsOption(listed(4, 4, [[0], [0, 1]]), 'lists');
  const mask = (more: object) => ({
    blockMask: { ...listsOption(listed(4, 4, [[0], [0, 1]]), 'blockMask').blockMask!, ...more },
  });
  const invalid = 'ERR_TILEWISE_INVALID_OPTION' as const;
  const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH' as const;
  type ErrorType = typeof TypeError | typeof RangeError;
  const wrong: [options: Record<string, unknown>, code: ErrorCode, type: ErrorType, says: string[]][] = [
    [{ ...plain }, invalid, TypeError, ['`csr`', '`lists`', '`blockMask`']],
    [{ ...plain, ...rows, ...mask({}) }, invalid, TypeError, ['`lists`', '`blockMask`']],
    [{ ...rows, blockK: 4 }, invalid, TypeError, ['`blockQ`', 'undefined']],
    [{ ...plain, ...rows, blockQ: 0 }, invalid, RangeError, ['`blockQ`', '0']],
    [{ ...plain, ...rows, blockK: 1.5 }, invalid, RangeError, ['`blockK`', '1.5']],
    [{ ...plain, ...rows, blockQ: 2 }, mismatch, RangeError, ['[1, 1, 2]', '8 queries in blocks of 2 are 4 blocks']],
    [{ ...plain, ...rows, causal: 1 }, invalid, TypeError, ['`causal`', '1']],
    [{ ...plain, ...rows, align: 4 }, invalid, TypeError, ['`align`', '4']],
    [{ ...plain, ...rows, predicate: true }, invalid, TypeError, ['`predicate`', 'true']],
    [{ ...plain, ...rows, mask_mod: () => true }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`mask_mod`']],
    [{ ...plain, lists: {} }, 'ERR_TILEWISE_INVALID_TENSOR', TypeError, ['`lists.counts`']],
    [
      { ...plain, lists: { counts: int32([2], 1, 1), indices: int32([2, 1], 0, 2) } },
      invalid,
      RangeError,
      ['block 2', '2 blocks'],
    ],
    [
      { ...plain, lists: { counts: int32([2], 1, 1), indices: int32([2, 1], 0, -1) } },
      invalid,
      RangeError,
      ['`lists.indices`', '-1'],
    ],
    [
      { ...plain, lists: { counts: int32([2], 1, 2), indices: int32([2, 2], 0, 0, 1, 1) } },
      invalid,
      RangeError,
      ['`lists.indices`', '1 twice'],
    ],
    [
      { ...plain, lists: { counts: int32([2], 1, 3), indices: int32([2, 2], 0, 0, 1, 0) } },
      invalid,
      RangeError,
      ['`lists.counts`', '3'],
    ],
    [
      { ...plain, lists: { counts: int32([2], 1, 1), indices: int32([1, 2], 0, 1) } },
      mismatch,
      RangeError,
      ['`lists.indices` [1, 2]', '[2]'],
    ],
    [
      { ...plain, lists: { counts: int32([3, 2], 1, 1, 1, 1, 1, 1), indices: int32([3, 2, 1], 0, 1, 0, 1, 0, 1) } },
      mismatch,
      RangeError,
      ['[1, 3, 2]'],
    ],
    [
      { ...plain, lists: { counts: [1, 1], indices: int32([2, 1], 0, 1) } },
      'ERR_TILEWISE_INVALID_TENSOR',
      TypeError,
      ['`lists.counts`'],
    ],
    [
      {
        ...plain,
        lists: { counts: int32([2], 1, 1), indices: { type: 'float32', data: new Float32Array(2), dims: [2, 1] } },
      },
      'ERR_TILEWISE_DTYPE',
      TypeError,
      ['`lists.indices`', 'float32', 'int32'],
    ],
    [
      { ...plain, csr: { rowOffsets: Int32Array.of(1, 1, 2), columns: Int32Array.of(0, 1) } },
      invalid,
      RangeError,
      ['`csr.rowOffsets`', '1'],
    ],
    [
      { ...plain, csr: { rowOffsets: Int32Array.of(0, 2, 1), columns: Int32Array.of(0, 1) } },
      invalid,
      RangeError,
      ['`csr.rowOffsets`', '2 to 1'],
    ],
    [
      { ...plain, csr: { rowOffsets: Int32Array.of(0, 1, 3), columns: Int32Array.of(0, 1) } },
      invalid,
      RangeError,
      ['`csr.rowOffsets`', '3'],
    ],
    [
      { ...plain, csr: { rowOffsets: Int32Array.of(), columns: Int32Array.of() } },
      invalid,
      RangeError,
      ['`csr.rowOffsets`'],
    ],
    [
      { ...plain, csr: { rowOffset: Int32Array.of(0), columns: Int32Array.of() } },
      'ERR_TILEWISE_UNKNOWN_OPTION',
      TypeError,
      ['`rowOffset`'],
    ],
    [{ ...plain, ...mask({ blockSize: 8 }) }, invalid, RangeError, ['`blockQ`', '8', '4']],
    [{ ...mask({ blockSize: [4] }) }, invalid, TypeError, ['`blockMask.blockSize`', '[4]']],
    [
      { ...mask({ blockSize: 4, fullKvNumBlocks: int32([2], 1, 0) }) },
      'ERR_TILEWISE_INVALID_TENSOR',
      TypeError,
      ['`blockMask.fullKvIndices`'],
    ],
    [
      { ...mask({ blockSize: 4, fullKvNumBlocks: int32([2], 1, 0), fullKvIndices: int32([2, 1], 0, 0) }) },
      invalid,
      TypeError,
      ['`blockMask.fullKvIndices`', 'block 0'],
    ],
  ];

  it.each(wrong)('%o is refused', (options, code, type, says) =>
    expectBoth(
      () => blockSparseAttentionSync(q, k, v, options as unknown as BlocksOptions),
      () => blockSparseAttention(q, k, v, options as unknown as BlocksOptions),
      { code, type, says },
    ),
  );

  it('a BlockMask brings its own block size', () => {
    const straight = blockSparseAttentionSync(q, k, v, { ...plain, ...rows, returnLse: true });
    for (const blockSize of [4, [4, 4]] as const) {
      const same = blockSparseAttentionSync(q, k, v, { ...mask({ blockSize }), returnLse: true });
      expect(same.out.data).toEqual(straight.out.data);
      expect(same.lse.data).toEqual(straight.lse.data);
    }
  });

  it('the pattern is frozen, keeps copies, and attention() takes it', () => {
    const { counts, indices } = padded([[[[0], [0, 1]]]]);
    const pattern = blocks({ ...plain, lists: { counts, indices } });
    const straight = blockSparseAttentionSync(q, k, v, { ...plain, ...rows });
    (indices.data as Int32Array).fill(1);
    expect(Object.isFrozen(pattern) && pattern.kind).toBe('blocks');
    expect(attentionSync(q, k, v, { pattern }).out.data).toEqual(straight.out.data);
  });

  it('packed sequences do not go with lists', () => {
    const cu = Int32Array.of(0, 8);
    const error = thrownBy(() =>
      blockSparseAttentionSync(q, k, v, { ...plain, ...rows, cuSeqlensQ: cu, cuSeqlensK: cu } as never),
    );
    expectError(error, { code: invalid, type: TypeError, says: ['cuSeqlensK'] });
  });

  it('with key lengths, lists are read as far as the keys go', () => {
    const { problem } = build({ batch: 2, heads: [2, 1], queries: 20, keys: 40, keyLengths: [13, 40] });
    const pattern = listed(10, 8, [
      [0, 1, 4],
      [1, 2, 3],
    ]);
    for (const causal of [undefined, true] as const) {
      const whole = { ...problem, pattern, causal };
      const { query, key, value, options } = callOf(view(whole));
      const { out, lse } = attentionSync(query, key, value, options);
      expectRight({ out: fromOutput(out, 'bhnd'), lse: fromTensor(lse!) }, expectedOf(whole));
    }
  });
});
