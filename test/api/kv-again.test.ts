// A token of a cache that is made again with other memory: the bits of append() and attentionSync(), and nothing where it is
// another one. Reader: someone who changes lib/caches/kv-again.ts.

import { describe, expect, it } from 'vitest';
import type { RepeatedStep } from '../../dist/caches/kv-again.js';
import { KvCache, type Tensor } from '../../dist/index.js';
import type { CallMemory } from '../../dist/ops/attention/again.js';
import { shape } from '../support/caches.js';
import { isSame, tensor } from '../support/tensors.js';

const batch = 2;
const options = { scale: 0.4, sinks: Float32Array.of(0.1, 0.2, 0.3, 0.4) };
const made = { ...shape, batch, type: 'float32' as const };

/** Two caches of the same tokens. @param lengths of the sequences */
function twins(lengths: number[], told = {}): [KvCache, KvCache] {
  const caches: [KvCache, KvCache] = [new KvCache({ ...made, ...told }), new KvCache({ ...made, ...told })];
  const most = Math.max(...lengths);
  const [k, v] = [tensor(batch, most, 2, 8), tensor(batch, most, 2, 8)];
  for (const cache of caches) cache.append(0, k, v, { lengths });
  return caches;
}

/** A query, a key and a value of each sequence, and memory for the output. */
const token = () =>
  [tensor(batch, 1, 4, 8), tensor(batch, 1, 2, 8), tensor(batch, 1, 2, 8), tensor(batch, 1, 4, 8)] as const;
type Token = ReturnType<typeof token>;
const memoryOf = (rows: Token) => rows.map(({ data }: Tensor) => data) as unknown as CallMemory;

/** What a step does, in two calls. */
function inCalls(cache: KvCache, [q, k, v, out]: Token, told = {}): void {
  cache.append(0, k, v);
  cache.attentionSync(0, q, { ...options, ...told, out });
}

/** Makes the calls, and the step that does them again. */
function begin(cache: KvCache, told = {}): RepeatedStep | undefined {
  const rows = token();
  inCalls(cache, rows, told);
  const [q, k, v, out] = rows;
  return cache.repeatedStep(0, [q, k, v], { ...options, ...told, out }, memoryOf(rows));
}

/** Whether a step is made, and gives what the calls give. */
function isStep(step: RepeatedStep, [cache, twin]: [KvCache, KvCache]): boolean {
  const rows = token();
  if (!cache.step(0, step, memoryOf(rows))) return false;
  const [q, k, v] = rows;
  const out = tensor(batch, 1, 4, 8);
  inCalls(twin, [q, k, v, out]);
  expect(isSame(rows[3].data, out.data)).toBe(true);
  for (const entry of [0, 1]) expect(cache.lengthOf(0, entry)).toBe(twin.lengthOf(0, entry));
  expect(isSame(cache.keys(0).data, twin.keys(0).data)).toBe(true);
  expect(isSame(cache.values(0).data, twin.values(0).data)).toBe(true);
  return true;
}

describe('a token that is taken again', () => {
  it('gives what append() and attentionSync() give, for sequences of different lengths', () => {
    const [cache, twin] = twins([40, 9]);
    const step = begin(cache)!;
    const [other, same] = twins([40, 9]);
    expect(twin.lengthOf(0)).toBe(40);
    for (let i = 0; i < 5; ++i) expect(isStep(step, [other, same])).toBe(true);
  });

  it('is another one where a sequence needs a page more, until it has that', () => {
    const pair = twins([254, 9]);
    const step = begin(twins([254, 9])[0])!;
    expect(isStep(step, pair)).toBe(true);
    expect(isStep(step, pair)).toBe(true);
    const before = pair[0].keys(0).data;
    expect(isStep(step, pair)).toBe(false);
    expect(isSame(pair[0].keys(0).data, before)).toBe(true);
    const rows = token();
    for (const cache of pair) inCalls(cache, rows);
    const longer = begin(twins([260, 9])[0])!;
    expect(isStep(longer, pair)).toBe(true);
  });

  it('is another one on a page that a fork shares, while a call reads, and on a cache that was disposed of', async () => {
    const pair = twins([20, 9]);
    const step = begin(twins([20, 9])[0])!;
    const fork = pair[0].fork();
    expect(isStep(step, pair)).toBe(false);
    fork.dispose();
    const flight = pair[0].attention(0, tensor(batch, 1, 4, 8));
    expect(isStep(step, pair)).toBe(false);
    await flight;
    expect(isStep(step, pair)).toBe(true);
    pair[0].dispose();
    expect(isStep(step, pair)).toBe(false);
  });

  it('is another one in caches of other pages, another batch, and where a cache is full', () => {
    const step = begin(twins([20, 9])[0])!;
    const full = twins([20, 9], { maxTokens: 20 });
    expect(isStep(step, full)).toBe(false);
    expect(isStep(step, twins([20, 9], { recentTokens: 8 }))).toBe(false);
    expect(isStep(step, twins([20, 9], { rotary: {} }))).toBe(false);
    const wider = new KvCache({ ...made, headDim: 16 });
    wider.append(0, tensor(batch, 3, 2, 16), tensor(batch, 3, 2, 16));
    const single = new KvCache({ ...made, batch: 1 });
    single.append(0, tensor(1, 3, 2, 8), tensor(1, 3, 2, 8));
    for (const cache of [wider, single, new KvCache(made)]) {
      expect(cache.step(0, step, memoryOf(token()))).toBe(false);
    }
  });

  it('is another one on memory of another kind or size', () => {
    const pair = twins([20, 9]);
    const step = begin(twins([20, 9])[0])!;
    for (const data of [new Float32Array(31), new Uint16Array(64)]) {
      for (const at of [0, 1, 2, 3]) {
        const memory = [...memoryOf(token())];
        memory[at] = data;
        expect(pair[0].step(0, step, memory as unknown as CallMemory)).toBe(false);
      }
    }
    expect(isStep(step, pair)).toBe(true);
  });

  it('is none where numbers are of single tokens', () => {
    const of = (told: object) => begin(twins([20, 20])[0], told);
    expect(of({ bias: tensor(1, 21) })).toBeUndefined();
    expect(of({ mask: { type: 'bool', data: new Uint8Array(21).fill(1), dims: [1, 21] } })).toBeUndefined();
    expect(of({ softcap: 3, window: [4, 0] })).toBeDefined();
  });
});
