// Key masks over caches: attention() over a dense copy of the tokens, with the same `keyMask`. Reader: someone who generates
// text for padded batches, or leaves tokens of a cache out.

import { describe, expect, it } from 'vitest';
import { attentionSync, hierarchical, KvCache, KvPool, type KvSequence, type TensorLike } from '../../dist/index.js';
import { build, type Case } from '../conformance/case.js';
import { expectedOf } from '../conformance/judge.js';
import { fromOutput, fromTensor, toPlainTensor, toTensor } from '../conformance/memory.js';
import { expectRight, onEveryBackend } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { type Operand, range } from '../references/operand.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { isSame, tensor } from '../support/tensors.js';
import { gather, part } from '../support/views.js';

const shape = { kvHeads: 2, headDim: 24, valueDim: 20 };
const heads: Case['heads'] = [4, 2];
const dims: Case['dims'] = [24, 20];
const visible = (count: number, keys: number, isVisible: (entry: number, key: number) => boolean): TensorLike => ({
  type: 'bool',
  data: Uint8Array.from({ length: count * keys }, (_, i) => Number(isVisible(Math.floor(i / keys), i % keys))),
  dims: [count, keys],
});

onEveryBackend(({ device }) => {
  it.each(dtypes)('of a cache whose sequences differ in length, prompts and single tokens (%s)', (dtype) => {
    const tokens = 150;
    for (const structure of ['left', 'right', undefined] as const) {
      const keyMask = structure ? { structure } : { hidden: 0.4 };
      const { problem } = build({ batch: 2, heads, queries: tokens, keys: tokens, dims, dtype, keyMask, causal: true });
      const cache = new KvCache({ ...shape, device });
      const rows = (operand: Operand, own: number[]) => toTensor(gather(operand, 2, own), 'bnhd');
      const lengths = [0, 0];
      for (const own of [range(0, 120), [120], range(121, tokens)]) {
        const counts = [own.length, Math.max(1, own.length - 20)];
        cache.append(0, rows(problem.key, own), rows(problem.value, own), { lengths: counts });
        for (const b of [0, 1]) lengths[b] += counts[b];
        const keys = range(0, lengths[0]);
        const shown = gather(problem.keyMask!, 1, keys);
        const queries = own.slice(-counts[1]);
        const { out, lse } = cache.attentionSync(0, rows(problem.query, queries), {
          keyMask: toPlainTensor(shown),
          returnLse: true,
        });
        const [k, v] = [cache.keys(0), cache.values(0)].map((held) => fromOutput(held.toSync('cpu'), 'bnhd'));
        const dense = { ...part(problem, queries, keys), key: k, value: v, keyMask: shown, keyLengths: [...lengths] };
        const got = { out: fromOutput(out as never, 'bnhd'), lse: fromTensor(lse as never) };
        expectRight(got, expectedOf(dense), `${structure}, ${lengths}`);
      }
    }
  });

  it('of rings: it counts the tokens that were let go of, in every part', () => {
    const tokens = 300;
    const rings = { recentTokens: [40, Number.POSITIVE_INFINITY], sinkTokens: [3, 0] };
    const { problem } = build({ heads, queries: tokens, keys: tokens, dims, causal: true, keyMask: { hidden: 0.3 } });
    const cache = new KvCache({ ...shape, ...rings, device });
    const rows = (operand: Operand, own: number[]) => toTensor(gather(operand, 2, own), 'bnhd');
    for (const own of [range(0, 200), range(200, 280), [280], range(281, tokens)]) {
      cache.append(0, rows(problem.key, own), rows(problem.value, own));
      const keys = range(0, own.at(-1)! + 1);
      const shown = gather(problem.keyMask!, 1, keys);
      const { out, lse } = cache.attentionSync(0, rows(problem.query, own), {
        keyMask: toPlainTensor(shown),
        returnLse: true,
      });
      const got = { out: fromOutput(out as never, 'bnhd'), lse: fromTensor(lse as never) };
      for (const head of [0, 1]) {
        const queries = [2 * head, 2 * head + 1];
        const alone = { ...part(problem, own, keys), keyMask: shown, ...(head === 0 && { left: 39, sinkTokens: 3 }) };
        alone.query = gather(alone.query, 1, queries);
        alone.key = gather(alone.key, 1, [head]);
        alone.value = gather(alone.value, 1, [head]);
        const own1 = { out: gather(got.out, 1, queries), lse: gather(got.lse, 1, queries) };
        expectRight(own1, expectedOf(alone), `head ${head}, ${keys.length} tokens`);
      }
    }
    expect(cache.bytes).toBeLessThan(2 * tokens * 4 * 44);
  });

  it.each(dtypes)('of a pool: a row for each sequence, prompts beside single tokens (%s)', (dtype) => {
    const keys = 90;
    const { problem } = build({ heads, queries: keys, keys, dims, dtype, causal: true, seed: 5 });
    const pool = new KvPool({ pages: 40, pageSize: 16, ...shape, type: dtype, device });
    const rows = (operand: Operand, own: number[]) => toTensor(gather(operand, 2, own), 'bnhd', 'gaps', true);
    const lengths = [37, 90, 64];
    const queryLengths = [1, 30, 2];
    const sequences = lengths.map((length): KvSequence => {
      const sequence = pool.sequence();
      sequence.append(0, rows(problem.key, range(0, length)), rows(problem.value, range(0, length)));
      return sequence;
    });
    const isVisible = (s: number, key: number) => (key * 5 + s * 3) % 7 < 4 && key >= 20 * s;
    const queries = lengths.map((length, s) => range(length - queryLengths[s], length));
    const { out, lse } = pool.attentionSync(0, rows(problem.query, queries.flat()), sequences, {
      keyMask: visible(lengths.length, keys, isVisible),
      queryLengths,
      returnLse: true,
    });
    const [got, gotLse] = [fromOutput(out as never, 'bnhd'), fromTensor(lse as never)];
    let begin = 0;
    for (const [s, own] of queries.entries()) {
      const at = range(begin, begin + own.length);
      begin += own.length;
      const shown = visible(1, lengths[s], (_, key) => isVisible(s, key));
      const keyMask: Operand = {
        type: 'bool',
        data: shown.data,
        dims: [1, lengths[s]],
        strides: [0, 1],
        offset: 0,
      } as never;
      const ofLse = gather(gotLse, 1, at);
      const one = {
        out: gather(got, 2, at),
        lse: { ...ofLse, dims: [1, ...ofLse.dims], strides: [0, ...ofLse.strides] },
      };
      expectRight(one, expectedOf({ ...part(problem, own, range(0, lengths[s])), keyMask }), `sequence ${s}`);
    }
  });

  it('of a pool whose sequences select: each as if alone', () => {
    const pattern = hierarchical({ sink: 4, window: 16, stages: [{ blockQ: 8, strideQ: 1, chunk: 4, keep: 24 }] });
    const pool = new KvPool({ pages: 20, pageSize: 32, ...shape, device });
    const lengths = [120, 90, 200];
    const sequences = lengths.map((length) => {
      const sequence = pool.sequence();
      sequence.append(0, tensor(length, 2, 24), tensor(length, 2, 20));
      return sequence;
    });
    const isVisible = (s: number, key: number) => (key + s) % 3 > 0;
    const [q, queryLengths] = [tensor(7, 4, 24), [1, 5, 1]];
    const { out } = pool.attentionSync(0, q, sequences, { pattern, queryLengths, keyMask: visible(3, 200, isVisible) });
    let first = 0;
    for (const [s, count] of queryLengths.entries()) {
      const own = visible(1, lengths[s], (_, key) => isVisible(s, key));
      const told = { pattern, queryLengths: [count], keyMask: own };
      const alone = pool.attentionSync(0, q.slice(0, first, first + count), [sequences[s]], told);
      expect(isSame(out.slice(0, first, first + count).data, alone.out.data), `sequence ${s}`).toBe(true);
      expect(
        isSame(
          alone.out.data,
          pool.attentionSync(0, q.slice(0, first, first + count), [sequences[s]], { pattern, queryLengths: [count] })
            .out.data,
        ),
      ).toBe(false);
      first += count;
    }
  });

  it('hides left padding as `keyStarts` do in attention()', () => {
    const [q, k, v] = [tensor(2, 1, 4, 24), tensor(2, 50, 2, 24), tensor(2, 50, 2, 20)];
    const cache = new KvCache({ ...shape, device });
    cache.append(0, k, v);
    const keyMask = visible(2, 50, (b, key) => key >= [0, 31][b]);
    const { out } = attentionSync(q, k, v, { causal: true, keyStarts: [0, 31], device });
    const got = cache.attentionSync(0, q, { keyMask }).out.data as Float32Array;
    for (const [i, x] of (out.data as Float32Array).entries()) expect(got[i]).toBeCloseTo(x, 5);
  });
});

describe('a key mask of a cache', () => {
  const [k, q] = [tensor(2, 9, 2, 24), tensor(2, 1, 4, 24)];
  const sizes = { kvHeads: 2, headDim: 24 };

  it('has the tokens of the longest sequence', () => {
    const cache = new KvCache(sizes);
    cache.append(0, k, k, { lengths: [9, 4] });
    for (const [count, keys] of [
      [2, 8],
      [1, 9],
      [2, 16],
    ]) {
      expectError(
        thrownBy(() => cache.attentionSync(0, q, { keyMask: visible(count, keys, () => true) })),
        { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['`keyMask`', '[2, 9]'] },
      );
    }
    const pool = new KvPool({ ...sizes, pages: 2 });
    const sequence = pool.sequence();
    sequence.append(0, k.select(0, 0), k.select(0, 0));
    expectError(
      thrownBy(() => pool.attentionSync(0, q.select(0, 0), [sequence], { keyMask: visible(1, 8, () => true) })),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['`keyMask`', '[1, 9]'] },
    );
  });

  it.each(['mask', 'keyMask', 'bias'] as const)('and `%s` do not go with sinks that are extra keys', (name) => {
    const rotary = { theta: 10_000 };
    const cache = new KvCache({ ...sizes, recentTokens: 4, sinkTokens: 2, rotary, positions: 'cache' });
    cache.append(0, k, k);
    const given = name === 'bias' ? tensor(9) : visible(name === 'mask' ? 1 : 2, 9, () => true);
    expectError(
      thrownBy(() => cache.attentionSync(0, q, { [name]: given })),
      { code: 'ERR_TILEWISE_INVALID_OPTION', says: [`\`${name}\``, "'cache'"] },
    );
  });
});
