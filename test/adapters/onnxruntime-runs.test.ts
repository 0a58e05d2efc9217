// What a segment asks of onnxruntime: memory of earlier runs for its outputs, only where nobody can see it change.
// Reader: someone who changes segment-runner.ts. onnxruntime is a session that says which memory it was given.

import { describe, expect, it } from 'vitest';
import type { Ort, OrtTensor } from '../../dist/adapters/onnxruntime/ort.js';
import { SharedMemory } from '../../dist/adapters/onnxruntime/segments/run-memory.js';
import { SegmentRunner } from '../../dist/adapters/onnxruntime/segments/segment-runner.js';

class FakeTensor {
  constructor(
    readonly type: string,
    readonly data: Float32Array,
    readonly dims: readonly number[],
  ) {}
}
const ort = { Tensor: FakeTensor } as unknown as Ort;
const floats = (...dims: number[]) =>
  new FakeTensor('float32', new Float32Array(dims.reduce((a, b) => a * b, 1)), dims) as OrtTensor;

/** A segment of x that makes `inner` and `seen` of the dims that `dimsOf` says, and what it was asked. */
function segment(
  dimsOf: (x: OrtTensor) => readonly number[] = ({ dims }) => dims,
  isDeaf = false,
  before?: SegmentRunner,
) {
  const fetched: unknown[] = [];
  let runs = 0;
  const run = async (feeds: Record<string, OrtTensor>, fetches?: Record<string, OrtTensor | null>) => {
    fetched.push(fetches?.inner ?? null);
    const dims = dimsOf(feeds.x);
    if (fetches?.inner && `${fetches.inner.dims}` !== `${dims}`) throw new Error('shape verification failed');
    expect(fetches?.seen ?? null).toBeNull();
    const inner = fetches?.inner ?? floats(...dims);
    if (!isDeaf) (inner.data as Float32Array).fill(++runs);
    return { inner, seen: floats(...dims) };
  };
  const outputMetadata = ['inner', 'seen'].map((name) => ({ name, isTensor: true, type: 'float32' }));
  const session = { outputMetadata, run, release: async () => {} };
  const runner = new SegmentRunner(session as never, ['x'], (name) => name === 'inner', before);
  const memory = new SharedMemory(ort);
  /** One run, up to where `inner` is read no more. */
  const go = async (x: OrtTensor) => {
    const values = new Map([['x', x]]);
    const ofRun = memory.begin();
    await runner.run(values, (name) => values.get(name)!, ofRun, undefined);
    return {
      inner: values.get('inner')!,
      end: () => {
        for (const tensor of values.values()) ofRun.give(tensor);
        ofRun.end();
      },
    };
  };
  return { go, fetched, runner };
}

describe('a segment', () => {
  it('writes into the memory of the run before when dims are the same', async () => {
    const { go, fetched } = segment();
    (await go(floats(2, 3))).end();
    const second = await go(floats(2, 3));
    second.end();
    const third = await go(floats(2, 3));
    expect(fetched[0]).toBeNull();
    expect(third.inner).toBe(second.inner);
  });

  it('lets onnxruntime make memory when dims are others', async () => {
    const { go, fetched } = segment();
    for (const dims of [[2, 3], [2, 4], [6], [6, 1]]) (await go(floats(...dims))).end();
    expect(fetched).toEqual([null, null, null, null]);
  });

  it('knows the dims of other runs once it has seen how they follow', async () => {
    const { go, fetched } = segment(({ dims: [batch, tokens] }) => [batch, tokens, 5]);
    for (const dims of [
      [1, 7],
      [1, 3],
      [1, 4],
      [2, 9],
      [3, 3],
      [2, 5],
    ])
      (await go(floats(...dims))).end();
    // Two runs say that tokens are the second axis; a third, of another batch, that this is the first.
    expect(fetched.map((inner) => inner !== null)).toEqual([false, false, true, false, true, true]);
    const { inner } = await go(floats(4, 8));
    expect(inner.dims).toEqual([4, 8, 5]);
  });

  it('learns nothing where lengths follow by arithmetic', async () => {
    const { go, fetched } = segment(({ dims: [tokens] }) => [2 * tokens]);
    for (const tokens of [4, 6, 8, 8]) expect((await go(floats(tokens))).inner.dims).toEqual([2 * tokens]);
    expect(fetched.map((inner) => inner !== null)).toEqual([false, false, false, true]);
  });

  it('gives up what it has learnt once that was wrong, and still knows the last run', async () => {
    const { go, fetched } = segment(({ dims: [tokens] }) => [Math.min(tokens, 8)]);
    for (const tokens of [4, 6, 7, 9, 9, 5]) {
      expect((await go(floats(tokens))).inner.dims).toEqual([Math.min(tokens, 8)]);
    }
    // 9 is tried, refused, and run again.
    expect(fetched.map((inner) => inner !== null)).toEqual([false, false, true, true, false, true, false]);
  });

  it('has memory of its own in every run in flight', async () => {
    const { go } = segment();
    (await go(floats(5))).end();
    const runs = await Promise.all([go(floats(5)), go(floats(5)), go(floats(5))]);
    expect(new Set(runs.map(({ inner }) => inner.data)).size).toBe(3);
  });

  it('gives no memory back that it was fed', async () => {
    const { go } = segment();
    const x = floats(4);
    (await go(x)).end();
    const { inner, end } = await go(x);
    end();
    expect(inner.data).not.toBe(x.data);
    expect((await go(x)).inner.data).not.toBe(x.data);
  });

  it('is run again, and asked no more, where numbers decide about dims', async () => {
    let length = 3;
    const { go, fetched } = segment(() => [length]);
    (await go(floats(2))).end();
    (await go(floats(2))).end();
    length = 7;
    expect((await go(floats(2))).inner.dims).toEqual([7]);
    (await go(floats(2))).end();
    expect(fetched.map((inner) => inner !== null)).toEqual([false, true, true, false, false]);
  });

  it('is run again, and asked no more, by an onnxruntime that writes elsewhere', async () => {
    const { go, fetched } = segment(undefined, true);
    for (let i = 0; i < 2; ++i) (await go(floats(2))).end();
    expect([...((await go(floats(2))).inner.data as Float32Array)]).toEqual([0, 0]);
    expect(fetched.map((inner) => inner !== null)).toEqual([false, true, false, false]);
  });

  it('is asked again after a run that onnxruntime refuses anyway', async () => {
    let isWrong = false;
    const { go, fetched } = segment(({ dims }) => {
      if (isWrong) throw new Error('no such token');
      return dims;
    });
    for (let i = 0; i < 2; ++i) (await go(floats(2))).end();
    isWrong = true;
    await expect(go(floats(2))).rejects.toThrow('no such token');
    isWrong = false;
    (await go(floats(2))).end();
    expect(fetched.map((inner) => inner !== null)).toEqual([false, true, true, false, true]);
  });

  it('is taken for the segment before in its first run, as long as it is alike', async () => {
    const first = segment();
    (await first.go(floats(2, 3))).end();
    const alike = segment(undefined, false, first.runner);
    expect((await alike.go(floats(2, 3))).inner.dims).toEqual([2, 3]);
    const other = segment(({ dims }) => [...dims, 1], false, first.runner);
    for (let i = 0; i < 2; ++i) expect((await other.go(floats(2, 3))).inner.dims).toEqual([2, 3, 1]);
    expect([alike, other].map(({ fetched }) => fetched.map((inner) => inner !== null))).toEqual([
      [true],
      [true, false, true],
    ]);
  });

  it('keeps no memory that the last run had no use for', async () => {
    const { go } = segment();
    const seen = [];
    for (const length of [5, 5, 6, 6, 5, 5]) {
      const { inner, end } = await go(floats(length));
      seen.push(inner.data);
      end();
    }
    // Of the last two runs alone the second finds the memory of the first.
    expect(new Set(seen).size).toBe(5);
    expect(seen[5]).toBe(seen[4]);
  });
});
