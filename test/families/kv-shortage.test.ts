// Caches that run out of memory, at every place where they allocate: the call says so, nothing has changed, and it works once
// there is memory. Reader: someone who changes what append() or attention() of a cache does first.

import { expect, it } from 'vitest';
import { KvCache, KvPool, type Tensor } from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { withFailingMemory } from '../support/failing-memory.js';
import { tensor } from '../support/tensors.js';

const numbers = (x: Tensor) => [...(x.toSync('cpu').data as Float32Array)];

onEveryBackend(({ device }) => {
  /** Two caches that share pages, the last of them begun; heads that keep different tokens, so that there are two parts. */
  const scene = () => {
    const cache = new KvCache({
      layers: 2,
      kvHeads: 3,
      headDim: 4,
      recentTokens: [500, 500, Number.POSITIVE_INFINITY],
      sinkTokens: 3,
      rotary: {},
      device,
    });
    const [k, v] = [tensor(2, 300, 3, 4), tensor(2, 300, 3, 4)];
    for (const layer of [0, 1]) cache.append(layer, k, v);
    return { cache, fork: cache.fork() };
  };
  const stateOf = ({ cache, fork }: ReturnType<typeof scene>) =>
    [cache, fork].map((one) => ({
      bytes: one.bytes,
      lengths: [0, 1].map((layer) => [one.lengthOf(layer, 0), one.lengthOf(layer, 1)]),
      rows: [0, 1].flatMap((layer) => [numbers(one.keys(layer)), numbers(one.values(layer))]),
    }));
  const [k, v, q] = [tensor(2, 900, 3, 4), tensor(2, 900, 3, 4), tensor(2, 2, 6, 4)];
  const calls: [string, (of: ReturnType<typeof scene>) => Tensor | undefined][] = [
    ['append() to a fork', ({ fork }) => void fork.append(1, k, v)],
    ['append() to what was forked', ({ cache }) => void cache.append(0, k, v, { lengths: [900, 1] })],
    ['attentionSync()', ({ cache }) => cache.attentionSync(0, q.toSync(device), { returnLse: true }).out],
    ['values()', ({ fork }) => fork.values(0)],
  ];
  // Results in the process's memory are the collector's, which cannot be made to fail.
  const allocating = device === 'cpu' ? calls.slice(0, 2) : calls;

  it.each(allocating)('%s: no memory at one place or another changes nothing', (_, call) => {
    /** The result and what the caches hold then. */
    const outcome = (given: ReturnType<typeof scene>) => {
      const result = call(given);
      return JSON.stringify([result && numbers(result), stateOf(given)]);
    };
    const expected = outcome(scene());
    const before = withFailingMemory(0, () => scene());
    const places = withFailingMemory(0, () => call(scene())) - before;
    expect(places).toBeGreaterThan(0);
    for (let place = 1; place <= places; place++) {
      const given = scene();
      const state = JSON.stringify(stateOf(given));
      let error: unknown;
      withFailingMemory(place, () => {
        error = thrownBy(() => call(given));
      });
      expectError(error, { code: 'ERR_TILEWISE_OUT_OF_MEMORY', says: ['memory'] });
      expect(JSON.stringify(stateOf(given)) === state, `place ${place}: unchanged`).toBe(true);
      expect(outcome(given) === expected, `place ${place}: works afterwards`).toBe(true);
      for (const cache of [given.cache, given.fork]) cache.dispose();
    }
  });

  it('a pool and its sequences', () => {
    const options = { pages: 6, pageSize: 4, layers: 2, kvHeads: 1, headDim: 4, device };
    const places = withFailingMemory(0, () => new KvPool(options));
    expect(places).toBeGreaterThan(0);
    for (let place = 1; place <= places; place++) {
      let error: unknown;
      withFailingMemory(place, () => {
        error = thrownBy(() => new KvPool(options));
      });
      expectError(error, { code: 'ERR_TILEWISE_OUT_OF_MEMORY', says: ['memory'] });
    }
    const pool = new KvPool(options);
    const sequence = pool.sequence();
    const allocations = withFailingMemory(0, () => {
      for (const layer of [0, 1]) sequence.append(layer, tensor(9, 1, 4), tensor(9, 1, 4));
      sequence.fork().append(0, tensor(9, 1, 4), tensor(9, 1, 4));
    });
    expect(allocations).toBe(0);
  });

  it('`capacity` is reserved: what fits in it needs no memory', () => {
    const cache = new KvCache({ layers: 2, kvHeads: 2, headDim: 4, batch: 2, type: 'float32', capacity: 700, device });
    const [many, more] = [tensor(2, 400, 2, 4), tensor(2, 300, 2, 4)];
    const append = () => {
      for (const layer of [0, 1]) for (const rows of [many, more]) cache.append(layer, rows, rows);
    };
    expect(withFailingMemory(0, append)).toBe(0);
    expect(cache.length).toBe(700);
    expect(withFailingMemory(0, () => cache.append(0, many, many))).toBeGreaterThan(0);
  });
});
