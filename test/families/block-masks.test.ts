// createBlockMask(): which blocks a predicate shows whole, which it cuts, and that the mask then serves calls by itself.
// Reader: someone who comes from FlexAttention's create_block_mask.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attention,
  attentionSync,
  type BlockMask,
  type BlockMaskOptions,
  blockSparseAttention,
  blockSparseAttentionSync,
  blocks,
  createBlockMask,
  createBlockMaskSync,
  type MaskPredicate,
  type TensorLike,
} from '../../dist/index.js';
import { integers } from '../conformance/draw.js';
import { range } from '../references/operand.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';
import { isSame, operands, tensor } from '../support/tensors.js';

const causal: MaskPredicate = (_b, _h, query, key) => key <= query;

/** The lists that counts and indices say, by [batch][head][queryBlock]. */
function listsOf(counts: TensorLike, indices: TensorLike): number[][][][] {
  const [batch, heads, rows] = Array.from(counts.dims!);
  const most = indices.dims![3];
  expect(indices.dims).toEqual([batch, heads, rows, most]);
  const [lengths, entries] = [counts.data as Int32Array, indices.data as Int32Array];
  return range(0, batch).map((b) =>
    range(0, heads).map((h) =>
      range(0, rows).map((m) => {
        const list = (b * heads + h) * rows + m;
        return Array.from(entries.subarray(list * most, list * most + lengths[list]));
      }),
    ),
  );
}

const partial = (mask: BlockMask) => listsOf(mask.kvNumBlocks, mask.kvIndices);
const full = (mask: BlockMask) => listsOf(mask.fullKvNumBlocks, mask.fullKvIndices);

/** The lists by the definition: all pairs of a block, one by one. */
function byDefinition(predicate: MaskPredicate, o: Required<Omit<BlockMaskOptions, 'signal' | 'onProgress'>>) {
  const kinds = (isWanted: (visible: number, pairs: number) => boolean) =>
    range(0, o.batch).map((b) =>
      range(0, o.heads).map((h) =>
        range(0, Math.ceil(o.queries / o.blockQ)).map((m) =>
          range(0, Math.ceil(o.keys / o.blockK)).filter((c) => {
            const queries = range(m * o.blockQ, Math.min(o.queries, (m + 1) * o.blockQ));
            const keys = range(c * o.blockK, Math.min(o.keys, (c + 1) * o.blockK));
            const seen = queries.flatMap((query) => keys.filter((key) => predicate(b, h, query, key)));
            return isWanted(seen.length, queries.length * keys.length);
          }),
        ),
      ),
    );
  return {
    partial: kinds((visible, pairs) => visible > 0 && visible < pairs),
    full: kinds((visible, pairs) => visible === pairs),
  };
}

describe('createBlockMask()', () => {
  it("gives FlexAttention's four tensors: causal in blocks of 128", async () => {
    const mask = await createBlockMask(causal, {
      batch: 1,
      heads: 1,
      queries: 300,
      keys: 300,
      blockQ: 128,
      blockK: 128,
    });
    expect(mask.kvNumBlocks).toMatchObject({ type: 'int32', dims: [1, 1, 3], data: Int32Array.of(1, 1, 1) });
    expect(mask.kvIndices).toMatchObject({ type: 'int32', dims: [1, 1, 3, 1], data: Int32Array.of(0, 1, 2) });
    expect(mask.fullKvNumBlocks).toMatchObject({ type: 'int32', dims: [1, 1, 3], data: Int32Array.of(0, 1, 2) });
    expect(mask.fullKvIndices).toMatchObject({ dims: [1, 1, 3, 2], data: Int32Array.of(0, 0, 0, 0, 0, 1) });
    expect(mask).toMatchObject({ blockSize: [128, 128], seqLengths: [300, 300], predicateIgnores: ['batch', 'head'] });
    expect(mask.predicate).toBe(causal);
    expect(Object.isFrozen(mask)).toBe(true);
  });

  it('a block is full when all its pairs are visible, partial when some are, absent when none is', () => {
    const sizes = fc.record({
      batch: integers(1, 2),
      heads: integers(1, 3),
      queries: integers(0, 40),
      keys: integers(0, 40),
      blockQ: integers(1, 50),
      blockK: integers(1, 50),
      kind: fc.constantFrom('band', 'documents', 'heads', 'all', 'none'),
    });
    expectForAll(sizes, 60, ({ kind, ...options }) => {
      const predicate: MaskPredicate = {
        band: (_b: number, _h: number, q: number, k: number) => Math.abs(q - k) < 9,
        documents: (_b: number, _h: number, q: number, k: number) => Math.floor(q / 13) === Math.floor(k / 13),
        heads: (b: number, h: number, q: number, k: number) => k <= q + 3 * h - 5 * b,
        all: () => true,
        none: () => false,
      }[kind];
      const mask = createBlockMaskSync(predicate, options);
      const want = byDefinition(predicate, options);
      expect(partial(mask)).toEqual(want.partial);
      expect(full(mask)).toEqual(want.full);
      expect(mask.predicateIgnores).toEqual(
        [options.batch === 1 && 'batch', options.heads === 1 && 'head'].filter((axis) => axis !== false),
      );
    });
  });

  it('has defaults: one mask for all, blocks of 128', () => {
    const mask = createBlockMaskSync(causal, { queries: 200, keys: 130 });
    expect(mask).toMatchObject({ blockSize: [128, 128], predicateIgnores: ['batch', 'head'] });
    expect([mask.kvNumBlocks.dims, full(mask), partial(mask)]).toEqual([[1, 1, 2], [[[[], [0]]]], [[[[0], [1]]]]]);
  });

  it('is the same at once and in slices, asks each pair once, and stops when aborted', async () => {
    let calls = 0;
    const predicate: MaskPredicate = (b, h, query, key) => {
      ++calls;
      return causal(b, h, query, key) && (query ^ key) % 7 !== 0;
    };
    const options = { queries: 2500, keys: 2500 };
    const controller = new AbortController();
    const stopped = createBlockMask(predicate, {
      ...options,
      signal: controller.signal,
      onProgress: () => controller.abort('stop'),
    });
    await expect(stopped).rejects.toBe('stop');
    const heard: number[] = [];
    const mask = await createBlockMask(predicate, { ...options, onProgress: (done) => heard.push(done) });
    expect(calls).toBe(2500 * 2500);
    expect(heard.at(-1)).toBe(2500 * 2500);
    const again = createBlockMaskSync((...pair) => predicate(...pair), options);
    for (const name of ['kvNumBlocks', 'kvIndices', 'fullKvNumBlocks', 'fullKvIndices'] as const) {
      expect(mask[name].dims).toEqual(again[name].dims);
      expect(isSame(mask[name].data, again[name].data)).toBe(true);
    }
  });
});

describe('a block mask', () => {
  const tokens = 150;
  const { q, k, v } = operands(tokens, 4, 16);
  const documents = (token: number) => Math.floor(token / 37);
  const inDocument: MaskPredicate = (_b, _h, query, key) => documents(query) === documents(key) && key <= query;
  /** The result by a mask of all pairs. */
  const expected = (predicate: MaskPredicate, heads = 4) => {
    const data = Uint8Array.from({ length: heads * tokens * tokens }, (_, i) => {
      const [key, query, head] = [i % tokens, Math.floor(i / tokens) % tokens, Math.floor(i / tokens / tokens)];
      return Number(predicate(0, head, query, key));
    });
    return attentionSync(q, k, v, { mask: { type: 'bool', data, dims: [heads, tokens, tokens] } }).out.data;
  };
  const expectClose = (data: ArrayLike<unknown>, want: ArrayLike<unknown>) =>
    expect(Math.max(...Array.from(data, (x, i) => Math.abs((x as number) - (want[i] as number))))).toBeLessThan(1e-6);

  it('serves calls by itself: nothing is asked again', async () => {
    let calls = 0;
    const predicate: MaskPredicate = (...pair) => {
      ++calls;
      return inDocument(...pair);
    };
    const blockMask = await createBlockMask(predicate, { queries: tokens, keys: tokens, blockQ: 32, blockK: 16 });
    expect(calls).toBe(tokens ** 2);
    const want = expected(inDocument);
    const results = [
      blockSparseAttentionSync(q, k, v, { blockMask }),
      await blockSparseAttention(q, k, v, { blockMask, predicate }),
      await attention(q, k, v, { pattern: blocks({ blockMask }) }),
    ];
    for (const { out } of results) expectClose(out.data, want);
    expect(calls).toBe(tokens ** 2);
  });

  it('has full blocks that nobody asks about, and partial ones that are asked', () => {
    const { kvNumBlocks, kvIndices, fullKvNumBlocks, fullKvIndices, blockSize } = createBlockMaskSync(causal, {
      queries: tokens,
      keys: tokens,
      blockQ: 32,
      blockK: 32,
    });
    const asked = new Set<string>();
    const predicate: MaskPredicate = (b, h, query, key) => {
      asked.add(`${Math.floor(query / 32)} ${Math.floor(key / 32)}`);
      return causal(b, h, query, key);
    };
    const blockMask = { kvNumBlocks, kvIndices, fullKvNumBlocks, fullKvIndices, blockSize };
    expectClose(blockSparseAttentionSync(q, k, v, { blockMask, predicate }).out.data, expected(causal));
    expect([...asked]).toEqual(['0 0', '1 1', '2 2', '3 3', '4 4']);
  });

  it('of several heads is for those heads', () => {
    const perHead: MaskPredicate = (_b, head, query, key) => key <= query && query - key <= 20 * (head + 1);
    const blockMask = createBlockMaskSync(perHead, { heads: 4, queries: tokens, keys: tokens, blockQ: 16, blockK: 16 });
    expectClose(blockSparseAttentionSync(q, k, v, { blockMask }).out.data, expected(perHead));
    const [shared, values] = [tensor(1, tokens, 2, 16), tensor(1, tokens, 2, 16)];
    const ofTwo = createBlockMaskSync(perHead, { heads: 2, queries: tokens, keys: tokens });
    expectError(
      thrownBy(() => blockSparseAttentionSync(q, shared, values, { blockMask: ofTwo })),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', type: RangeError, says: ['[1, 2, 2]', '1 or 4'] },
    );
  });

  it('of one batch entry and head is for all, and asked as those', () => {
    const pairs = new Set<string>();
    const predicate: MaskPredicate = (b, h, query, key) => {
      pairs.add(`${b} ${h}`);
      return causal(b, h, query, key);
    };
    const many = [2, 2, 2].map(() => tensor(2, tokens, 4, 16));
    const blockMask = createBlockMaskSync(predicate, { queries: tokens, keys: tokens });
    const { out } = blockSparseAttentionSync(many[0], many[1], many[2], { blockMask });
    expect([...pairs]).toEqual(['0 0']);
    expectClose(out.data, attentionSync(many[0], many[1], many[2], { causal: true }).out.data);
  });

  it('belongs to the lengths it was made for', () => {
    // 150 and 140 tokens are as many blocks; a full block at the end would show keys that nobody asked about.
    for (const [queries, keys] of [
      [140, 150],
      [150, 140],
    ]) {
      const blockMask = createBlockMaskSync(() => true, { queries, keys });
      expectError(
        thrownBy(() => blockSparseAttentionSync(q, k, v, { blockMask })),
        {
          code: 'ERR_TILEWISE_SHAPE_MISMATCH',
          type: RangeError,
          says: [`${queries} queries and ${keys} keys`, '150 and 150', 'createBlockMask()'],
        },
      );
    }
  });

  it('brings its predicate: another one beside it is refused', () => {
    const blockMask = createBlockMaskSync(causal, { queries: tokens, keys: tokens });
    expectError(
      thrownBy(() => blocks({ blockMask, predicate: () => true })),
      { code: 'ERR_TILEWISE_INVALID_OPTION', type: TypeError, says: ['`blockMask`', '`predicate`'] },
    );
  });

  it('may be empty', () => {
    for (const [queries, keys] of [
      [0, 5],
      [5, 0],
      [0, 0],
    ]) {
      const blockMask = createBlockMaskSync(() => true, { queries, keys });
      const [a, b] = [tensor(1, queries, 2, 4), tensor(1, keys, 2, 4)];
      expect(Array.from(blockSparseAttentionSync(a, b, b, { blockMask }).out.data as Float32Array)).toEqual(
        new Array(queries * 8).fill(0),
      );
    }
  });
});

describe('arguments of createBlockMask()', () => {
  const sizes = { queries: 8, keys: 8 };
  const invalid = 'ERR_TILEWISE_INVALID_OPTION' as const;
  it.each<[Record<string, unknown>, typeof TypeError | typeof RangeError, string[]]>([
    [{ keys: 8 }, TypeError, ['`queries`', 'undefined']],
    [{ ...sizes, keys: -1 }, RangeError, ['`keys`', '-1']],
    [{ ...sizes, batch: 0 }, RangeError, ['`batch`', '0']],
    [{ ...sizes, heads: 1.5 }, RangeError, ['`heads`', '1.5']],
    [{ ...sizes, blockQ: 0 }, RangeError, ['`blockQ`', '0']],
    [{ ...sizes, blockK: '128' }, TypeError, ['`blockK`', "'128'"]],
    [{ ...sizes, onProgress: true }, TypeError, ['`onProgress`', 'true']],
    [{ ...sizes, signal: {} }, TypeError, ['`signal`', '{}']],
    [{ queries: 2 ** 20, keys: 2 ** 20, blockQ: 1, blockK: 1 }, RangeError, ['1048576 by 1048576 blocks', '`blockQ`']],
    [{ queries: 2 ** 20, keys: 2 ** 20, blockQ: 2 ** 20, blockK: 2 ** 20 }, RangeError, ['pairs', '`blockQ`']],
  ])('%o is refused', (options, type, says) =>
    expectBoth(
      () => createBlockMaskSync(causal, options as never),
      () => createBlockMask(causal, options as never),
      { code: invalid, type, says },
    ),
  );

  it('a synchronous call cannot be cancelled', () => {
    const { signal } = new AbortController();
    expectError(
      thrownBy(() => createBlockMaskSync(causal, { ...sizes, signal })),
      { code: invalid, type: TypeError, says: ['`signal`'] },
    );
  });
});

describe("PyTorch's names are answered with ours", () => {
  const { q, k, v } = operands(8, 2, 8);
  const one = { type: 'int32', data: Int32Array.of(1), dims: [1, 1, 1] };
  const zero = { type: 'int32', data: Int32Array.of(0), dims: [1, 1, 1, 1] };
  const ours = { kvNumBlocks: one, kvIndices: zero };
  const theirs = { kv_num_blocks: one, kv_indices: zero, BLOCK_SIZE: [8, 8], mask_mod: causal };
  it.each<[() => unknown, string]>([
    [() => blockSparseAttentionSync(q, k, v, { blockMask: theirs } as never), '`kvNumBlocks`'],
    [() => blocks({ blockMask: theirs } as never), '`kvNumBlocks`'],
    [() => blocks({ blockMask: { ...ours, BLOCK_SIZE: 8 } } as never), '`blockSize`'],
    [() => blocks({ blockMask: { ...ours, mask_mod: causal } } as never), '`predicate`'],
    [() => blocks({ blockMask: { ...ours, kv_indices: zero } } as never), '`kvIndices`'],
    [() => blocks({ blockMask: { ...ours, full_kv_num_blocks: one } } as never), '`fullKvNumBlocks`'],
    [() => blocks({ blockMask: { ...ours, full_kv_indices: zero } } as never), '`fullKvIndices`'],
    [() => blocks({ blockMask: { ...ours, seq_lengths: [8, 8] } } as never), '`seqLengths`'],
    [() => blocks({ blockMask: { ...ours, q_num_blocks: one } } as never), 'backward'],
    [() => blockSparseAttentionSync(q, k, v, { ...theirs } as never), '`blockMask.kvNumBlocks`'],
    [() => blockSparseAttentionSync(q, k, v, { mask_mod: causal } as never), '`predicate`'],
    [() => blockSparseAttentionSync(q, k, v, { block_mask: ours } as never), '`blockMask`'],
    [() => blockSparseAttentionSync(q, k, v, { BLOCK_SIZE: 8 } as never), '`blockQ` and `blockK`'],
    [() => attentionSync(q, k, v, { mask_mod: causal } as never), 'blocks({ predicate })'],
    [() => createBlockMaskSync(causal, { B: 1, H: 1, Q_LEN: 8, KV_LEN: 8 } as never), '`batch`'],
    [() => createBlockMaskSync(causal, { batch: 1, Q_LEN: 8, KV_LEN: 8 } as never), '`queries`'],
    [() => createBlockMaskSync(causal, { queries: 8, KV_LEN: 8 } as never), '`keys`'],
    [() => createBlockMaskSync(causal, { queries: 8, keys: 8, BLOCK_SIZE: 8 } as never), '`blockQ` and `blockK`'],
  ])('%s', (call, says) => {
    expectError(thrownBy(call), { code: 'ERR_TILEWISE_UNKNOWN_OPTION', type: TypeError, says: [says] });
  });
});
