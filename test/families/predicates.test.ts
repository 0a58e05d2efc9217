// Predicates: how often one is asked and when, what is refused, and that the event loop has its turns meanwhile.
// Reader: someone who brings a mask_mod to a server.

import { describe, expect, it } from 'vitest';
import {
  attention,
  attentionSync,
  type BlocksOptions,
  blockSparseAttention,
  blockSparseAttentionSync,
  blocks,
  createBlockMask,
  explain,
  type MaskPredicate,
  type Tensor,
} from '../../dist/index.js';
import { range } from '../references/operand.js';
import { expectBoth } from '../support/expect-error.js';
import { isSame, operands } from '../support/tensors.js';

/** Every block of keys for every block of queries, one list for all heads. */
const everything = (queries: number, keys: number, block: number): BlocksOptions => {
  const [rows, columns] = [queries, keys].map((tokens) => Math.ceil(tokens / block));
  const indices = Int32Array.from({ length: rows * columns }, (_, i) => i % columns);
  return {
    blockQ: block,
    blockK: block,
    lists: {
      counts: new Int32Array(rows).fill(columns),
      indices: { type: 'int32', data: indices, dims: [rows, columns] },
    },
  };
};

/** A causal predicate that counts what it is asked. */
function counted(answer: MaskPredicate = (_b, _h, query, key) => key <= query) {
  const asked = new Map<string, number>();
  const predicate: MaskPredicate = (...pair) => {
    asked.set(pair.join(), (asked.get(pair.join()) ?? 0) + 1);
    return answer(...pair);
  };
  return { predicate, asked, calls: () => [...asked.values()].reduce((sum, times) => sum + times, 0) };
}

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error) => error,
  );

/** The same numbers but for the order of sums. */
function expectClose(data: ArrayLike<unknown>, expected: ArrayLike<unknown>): void {
  const distances = Array.from(data, (x, i) => Math.abs((x as number) - (expected[i] as number)));
  expect(distances).toHaveLength(expected.length);
  expect(Math.max(...distances)).toBeLessThan(1e-6);
}

/**
 * Runs something on a clock of its own, which a predicate moves: how far it moves in one turn of the event loop at most, and
 * in how many turns. What else the machine does changes nothing.
 */
async function turnsOf(
  run: (move: (ms: number) => void) => Promise<unknown>,
): Promise<{ longest: number; turns: number }> {
  const { now } = performance;
  let [clock, isOver] = [0, false];
  const perTurn = [0];
  performance.now = () => clock;
  const look = () => {
    perTurn.push(0);
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  try {
    await run((ms) => {
      clock += ms;
      perTurn[perTurn.length - 1] += ms;
    });
  } finally {
    performance.now = now;
    isOver = true;
  }
  const spent = perTurn.filter((ms) => ms > 0); // the others, of which a slow device brings many, wait
  return { longest: Math.max(0, ...spent), turns: spent.length };
}

describe('a predicate is asked', () => {
  const { q, k, v } = operands(40, 3, 8);
  const causal = attentionSync(q, k, v, { causal: true }).out.data;

  it('once per pair, head and batch entry; per pair alone where it ignores both', async () => {
    for (const [predicateIgnores, times] of [
      [undefined, 3],
      [['batch'], 3],
      [['head'], 1],
      [['batch', 'head'], 1],
    ] as const) {
      const { predicate, asked, calls } = counted();
      const options = { ...everything(40, 40, 16), predicate, predicateIgnores };
      expectClose((await blockSparseAttention(q, k, v, options)).out.data, causal);
      expect(calls()).toBe(times * 40 * 40);
      expect(Math.max(...asked.values())).toBe(1);
    }
  });

  it('per list where lists tell heads apart and it does not', () => {
    const { predicate, calls } = counted();
    const threefold = {
      counts: { type: 'int32', data: new Int32Array(3).fill(1), dims: [3, 1] },
      indices: { type: 'int32', data: new Int32Array(3), dims: [3, 1, 1] },
    };
    const options = { blockQ: 40, blockK: 40, lists: threefold, predicate, predicateIgnores: ['head'] as const };
    expectClose(blockSparseAttentionSync(q, k, v, options).out.data, causal);
    expect(calls()).toBe(3 * 40 * 40);
  });

  it('again for new lengths alone: 40 keys, then 37, then 40, by one pattern or by patterns of their own', () => {
    const plain = everything(40, 37, 20); // 40 and 37 keys are as many blocks
    const third: MaskPredicate = (_b, _h, query, key) => (query + key) % 3 !== 0;
    const short = (keys: number) => [k.slice(1, 0, keys), v.slice(1, 0, keys)] as const;
    /** By a mask in place of the predicate. */
    const expected = (keys: number) => {
      const mask = Uint8Array.from({ length: 40 * keys }, (_, i) =>
        Number(third(0, 0, Math.floor(i / keys), i % keys)),
      );
      return attentionSync(q, ...short(keys), { mask: { type: 'bool', data: mask, dims: [40, keys] } }).out.data;
    };
    const { predicate, calls } = counted(third);
    const pattern = blocks({ ...plain, predicate });
    for (const keys of [40, 37, 40, 37]) {
      const [byPattern, byOptions] = [
        attentionSync(q, ...short(keys), { pattern }),
        blockSparseAttentionSync(q, ...short(keys), { ...plain, predicate }),
      ];
      expectClose(byPattern.out.data, expected(keys));
      expect(isSame(byOptions.out.data, byPattern.out.data)).toBe(true);
    }
    expect(calls()).toBe(3 * 40 * (40 + 37));
  });

  it('again where other blocks are listed', () => {
    const { predicate, calls } = counted();
    blockSparseAttentionSync(q, k, v, { ...everything(40, 40, 20), predicate, predicateIgnores: ['head'] });
    for (const columns of [
      [0, 1],
      [1, 0],
    ]) {
      const csr = { rowOffsets: Int32Array.of(0, 1, 2), columns: Int32Array.from(columns) };
      blockSparseAttentionSync(q, k, v, { blockQ: 20, blockK: 20, csr, predicate, predicateIgnores: ['head'] });
    }
    expect(calls()).toBe(40 * 40 + 2 * 2 * 20 * 20);
  });

  it('by explain() and calls together once', () => {
    const { predicate, calls } = counted();
    const pattern = blocks({ ...everything(40, 40, 16), predicate, predicateIgnores: ['batch', 'head'] });
    const { pairs } = explain(pattern, { queryHeads: 3, kvHeads: 3, tokens: 40, headDim: 8 });
    expect(pairs.useful).toBe((40 * 41) / 2);
    expectClose(attentionSync(q, k, v, { pattern }).out.data, causal);
    expect(calls()).toBe(40 * 40);
  });
});

describe('asked by an asynchronous call', () => {
  const tokens = 1024;
  const { q, k, v } = operands(tokens, 4, 8);
  const small = [q, k, v].map((tensor) => tensor.slice(1, 0, 256)) as [Tensor, Tensor, Tensor];
  /** Slow enough for many slices: 0.1 s and more. */
  const slow = (): MaskPredicate => (_b, _h, query, key) => {
    let x = query;
    for (let i = 0; i < 40; ++i) x = (x * 31 + key) % 65521;
    return x >= 0 && key <= query;
  };
  const options = (predicate: MaskPredicate): BlocksOptions => ({
    ...everything(tokens, tokens, 128),
    predicate,
    predicateIgnores: ['batch', 'head'],
  });

  it('it has slices of at most 10 ms, each in a turn of the event loop of its own', async () => {
    for (const cost of [0.00003, 0.001, 0.02]) {
      const total = cost * tokens ** 2;
      const { longest, turns } = await turnsOf((move) => {
        const predicate: MaskPredicate = (_b, _h, query, key) => {
          move(cost);
          return key <= query;
        };
        return blockSparseAttention(q, k, v, options(predicate));
      });
      expect(longest).toBeLessThanOrEqual(10);
      expect(turns).toBeGreaterThanOrEqual(total / 10);
      expect(turns, 'slices are not much shorter').toBeLessThanOrEqual(total / 7 + 1);
    }
  });

  it('many calls at once take turns', async () => {
    const { longest, turns } = await turnsOf((move) => {
      const call = () => {
        const predicate: MaskPredicate = (_b, _h, query, key) => {
          move(0.001);
          return key <= query;
        };
        return blockSparseAttention(...small, { ...everything(256, 256, 64), predicate, predicateIgnores: ['head'] });
      };
      return Promise.all(range(0, 8).map(call));
    });
    expect(longest).toBeLessThanOrEqual(10);
    expect(turns).toBeGreaterThanOrEqual((8 * 256 ** 2 * 0.001) / 10);
  });

  it('calls at once that ask the same share the answers; one that is aborted holds up no other', async () => {
    const { predicate, calls } = counted();
    const call = (signal?: AbortSignal) =>
      blockSparseAttention(...small, { ...everything(256, 256, 64), predicate, predicateIgnores: ['head'], signal });
    const controller = new AbortController();
    const aborted = failureOf(call(controller.signal));
    const others = Promise.all([call(), call()]);
    controller.abort('not me');
    expect(await aborted).toBe('not me');
    const expected = attentionSync(...small, { causal: true }).out.data;
    for (const { out } of await others) expectClose(out.data, expected);
    expect(calls()).toBe(256 * 256);
  });

  it('onProgress hears how far it is, up to the end', async () => {
    const heard: [number, number][] = [];
    const onProgress = (done: number, total: number) => void heard.push([done, total]);
    const mine = { ...options(slow()), onProgress };
    await blockSparseAttention(q, k, v, mine);
    expect(heard.length).toBeGreaterThan(3);
    expect(heard.every(([done, total], i) => total === tokens ** 2 && done > (heard[i - 1]?.[0] ?? 0))).toBe(true);
    expect(heard.at(-1)).toEqual([tokens ** 2, tokens ** 2]);
    const before = heard.length;
    await blockSparseAttention(q, k, v, mine);
    blockSparseAttentionSync(q, k, v, { ...options(slow()), onProgress });
    expect(heard).toHaveLength(before);
  });

  it('an abort stops it between slices; the next call goes on where it was left', async () => {
    const { predicate, asked, calls } = counted();
    const controller = new AbortController();
    let seen = 0;
    const onProgress = (done: number) => {
      seen = done;
      controller.abort('enough');
    };
    const mine = { ...options(predicate), onProgress };
    expect(await failureOf(blockSparseAttention(q, k, v, { ...mine, signal: controller.signal }))).toBe('enough');
    expect(seen).toBeGreaterThan(0);
    expect(asked.size).toBe(seen);
    expect(seen).toBeLessThan(tokens ** 2 / 2);
    await blockSparseAttention(q, k, v, options(predicate));
    expect(asked.size).toBe(tokens ** 2);
    expect(calls()).toBe(tokens ** 2);
    const gone = blockSparseAttention(q, k, v, { ...options(slow()), signal: AbortSignal.abort('never') });
    expect(await failureOf(gone)).toBe('never');
  });

  it('what it or onProgress throws rejects the call, and it may be asked again', async () => {
    let isBroken = true;
    const predicate: MaskPredicate = (_b, _h, query, key) => {
      if (isBroken && query === 500) throw new Error('no mask today');
      return key <= query;
    };
    const failures = await Promise.all([1, 2].map(() => failureOf(blockSparseAttention(q, k, v, options(predicate)))));
    for (const failure of failures) expect(failure).toMatchObject({ message: 'no mask today' });
    isBroken = false;
    const { out } = await blockSparseAttention(q, k, v, options(predicate));
    expectClose(out.data, attentionSync(q, k, v, { causal: true }).out.data);
    const onProgress = () => {
      throw new Error('no progress');
    };
    expect(await failureOf(attention(q, k, v, { pattern: blocks({ ...options(slow()), onProgress }) }))).toMatchObject({
      message: 'no progress',
    });
  });

  it('inputs are those of the start: `copyInputs` copies before the first question', async () => {
    const expected = attentionSync(q, k, v, { pattern: blocks(options(slow())) }).out.data;
    const own = [q, k, v].map((tensor) => tensor.slice(0, 0, 1));
    const [a, b, c] = own.map(({ type, data, dims }) => ({ type, data: (data as Float32Array).slice(), dims }));
    const call = blockSparseAttention(a, b, c, { ...options(slow()), copyInputs: true });
    for (const { data } of [a, b, c]) data.fill(Number.NaN);
    expect(isSame((await call).out.data, expected)).toBe(true);
  });

  it('`out` is leased from the start', async () => {
    const out = { type: 'float32', data: new Float32Array(tokens * 4 * 8), dims: [1, tokens, 4, 8] };
    const call = blockSparseAttention(q, k, v, { ...options(slow()), out });
    expect(await failureOf(attention(q, k, v, { out }))).toMatchObject({ code: 'ERR_TILEWISE_OVERLAP' });
    await call;
  });
});

describe('a predicate that cannot answer is refused', () => {
  const { q, k, v } = operands(4, 1, 4);
  const plain = everything(4, 4, 4);
  const invalid = 'ERR_TILEWISE_INVALID_OPTION' as const;
  const later = (async () => true) as unknown as MaskPredicate;
  const promise = (() => Promise.resolve(true)) as unknown as MaskPredicate;
  it.each<[string, object, string[]]>([
    ['an async function', { predicate: later }, ['`predicate`', 'async']],
    ['a promise', { predicate: promise }, ['`predicate`', 'a Promise', 'query 0 key 0']],
    ['a number', { predicate: () => 1 }, ['`predicate`', 'true or false', '1']],
    ['nothing', { predicate: () => undefined }, ['`predicate`', 'undefined']],
    [
      'what it ignores is no axis',
      { predicate: () => true, predicateIgnores: ['query'] },
      ['`predicateIgnores[0]`', "'query'"],
    ],
    [
      'what it ignores is no array',
      { predicate: () => true, predicateIgnores: 'head' },
      ['`predicateIgnores`', "'head'"],
    ],
    ['nobody to ignore', { predicateIgnores: ['head'] }, ['`predicateIgnores`', '`predicate`']],
    ['nobody to progress', { onProgress: () => {} }, ['`onProgress`', '`predicate`']],
    ['no function', { predicate: () => true, onProgress: 1 }, ['`onProgress`', '1']],
  ])('%s', (_, wrong, says) => {
    const options = { ...plain, ...wrong } as BlocksOptions;
    return expectBoth(
      () => blockSparseAttentionSync(q, k, v, options),
      () => blockSparseAttention(q, k, v, options),
      { code: invalid, type: TypeError, says },
    );
  });

  it('and createBlockMask() refuses it, too', async () => {
    for (const predicate of [later, promise, undefined, 7] as MaskPredicate[]) {
      expect(await failureOf(createBlockMask(predicate, { queries: 4, keys: 4 }))).toMatchObject({ code: invalid });
    }
  });
});
