// Runs of a model that keeps keys and values: what they refuse, and what they hold and let go of.
// Reader: someone who changes session.ts or cache-counts.ts. The model is attention alone, so that no session of onnxruntime is
// needed; that numbers are right is test/clients/onnxruntime/caches.mjs.

import * as ort from 'onnxruntime-common';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { makeModel, makeNode, makeValueInfo } from '../../dist/adapters/onnx/make.js';
import { fuse } from '../../dist/adapters/onnxruntime/index.js';
import { KvCache } from '../../dist/caches/kv-cache.js';

const [heads, dim] = [2, 8];
const pasts = ['past_key', 'past_value'];

/** @param sites of which each has its own lengths and presents */
function sessionOf(hasPast = true, sites = 1) {
  const rows = ['q', 'k', 'v'].map((name) =>
    makeValueInfo(name, 'float32', ['batch', `${name} tokens`, name === 'q' ? heads * dim : dim]),
  );
  const past = hasPast ? pasts.map((name) => makeValueInfo(name, 'float32', ['batch', 1, 'past', dim])) : [];
  const endings = Array.from({ length: sites }, (_, i) => (i === 0 ? '' : `_${i + 1}`));
  const counts = endings.map((ending) => makeValueInfo(`seqlens_k${ending}`, 'int32', ['batch']));
  const outputsOf = (ending: string) => ['y', 'present_key', 'present_value'].map((name) => name + ending);
  const given = ['q', 'k', 'v', ...(hasPast ? pasts : ['', ''])];
  const attributes = { num_heads: heads, kv_num_heads: 1 };
  const { bytes } = makeModel({
    ...{ opset: 21, inputs: [...rows, ...past, ...counts, makeValueInfo('total', 'int32', [])] },
    outputs: endings.flatMap(outputsOf).map((name) => makeValueInfo(name, 'float32')),
    nodes: endings.map((ending) => {
      const inputs = [...given, `seqlens_k${ending}`, 'total'];
      return makeNode('GroupQueryAttention', inputs, outputsOf(ending), attributes, 'com.microsoft');
    }),
  });
  return fuse(ort as never, bytes);
}

const floats = (...dims: number[]) =>
  new ort.Tensor('float32', new Float32Array(dims.reduce((product, length) => product * length, 1)).fill(0.5), dims);

/** @param lengths of the sequences after the run */
const feedsOf = (tokens: number, lengths: number[], total: number) => ({
  q: floats(lengths.length, tokens, heads * dim),
  ...{ k: floats(lengths.length, tokens, dim), v: floats(lengths.length, tokens, dim) },
  seqlens_k: new ort.Tensor(
    'int32',
    Int32Array.from(lengths, (length) => length - 1),
    [lengths.length],
  ),
  total: new ort.Tensor('int32', Int32Array.of(total), []),
});
const noPast = (batch: number) => ({ past_key: floats(batch, 1, 0, dim), past_value: floats(batch, 1, 0, dim) });

type Outputs = Record<string, ort.Tensor>;
const pastOf = ({ present_key, present_value }: Outputs) => ({ past_key: present_key, past_value: present_value });

describe('a run refuses', () => {
  const code = 'ERR_TILEWISE_SHAPE_MISMATCH';

  it('to go on from tokens that a model without a past has not got', async () => {
    const session = await sessionOf(false);
    for (const [tokens, length] of [
      [1, 3],
      [2, 5],
      [1, 2],
    ]) {
      await expect(session.run(feedsOf(tokens, [length], length) as never)).rejects.toMatchObject({ code });
    }
    const { present_key } = (await session.run(feedsOf(4, [4], 4) as never)) as unknown as Outputs;
    expect(present_key.data).toHaveLength(4 * dim);
  });

  it('places before the first, as many as are not there, no new tokens, and more keys than queries', async () => {
    const session = await sessionOf();
    const refused = [
      feedsOf(3, [0, 3], 3),
      feedsOf(3, [-4, 3], 3),
      { ...feedsOf(3, [3, 3], 3), seqlens_k: new ort.Tensor('int32', Int32Array.of(2), [1]) },
      feedsOf(0, [5, 5], 5),
      feedsOf(0, [0, 0], 0),
      { ...feedsOf(1, [4, 4], 4), k: floats(2, 4, dim), v: floats(2, 4, dim) },
    ];
    for (const feeds of refused) {
      await expect(session.run({ ...feeds, ...noPast(2) } as never)).rejects.toMatchObject({ code });
    }
  });
});

describe('a run', () => {
  afterEach(() => vi.restoreAllMocks());

  it('frees presents that nobody fetched', async () => {
    const session = await sessionOf();
    const dispose = vi.spyOn(KvCache.prototype, 'dispose');
    const feeds = { ...feedsOf(4, [4], 4), ...noPast(1) };
    await session.run(feeds as never, ['y']);
    expect(dispose).toHaveBeenCalledTimes(1);
    const { present_key } = (await session.run(feeds as never, ['present_key'])) as unknown as Outputs;
    expect(dispose).toHaveBeenCalledTimes(1);
    present_key.dispose();
    expect(dispose).toHaveBeenCalledTimes(2);
  });

  it('leaves presents that it is fed to the caller, and needs them no longer than itself', async () => {
    const session = await sessionOf();
    const dispose = vi.spyOn(KvCache.prototype, 'dispose');
    const first = (await session.run({ ...feedsOf(4, [4], 4), ...noPast(1) } as never)) as unknown as Outputs;
    await session.run({ ...feedsOf(1, [5], 5), ...pastOf(first) } as never, ['y']);
    expect(dispose).not.toHaveBeenCalled();
    const running = session.run({ ...feedsOf(1, [5], 5), ...pastOf(first) } as never, ['y']);
    for (const tensor of Object.values(pastOf(first))) tensor.dispose();
    expect(dispose).not.toHaveBeenCalled();
    await running;
    // The first line, and the one that forked from it.
    expect(dispose).toHaveBeenCalledTimes(2);
  });

  it('makes the step of the run before again, as long as tokens follow one by one on one line', async () => {
    const session = await sessionOf();
    const append = vi.spyOn(KvCache.prototype, 'append');
    const step = async (past: Outputs, length: number, total = length): Promise<Outputs> => {
      const feeds = { ...feedsOf(1, [length, length - 1], total), ...pastOf(past) };
      return (await session.run(feeds as never)) as unknown as Outputs;
    };
    const prompt = await session.run({ ...feedsOf(4, [4, 3], 4), ...noPast(2) } as never);
    let last = await step(prompt as unknown as Outputs, 5);
    const before = last;
    expect(append).toHaveBeenCalledTimes(2);
    for (const length of [6, 7, 8]) last = await step(last, length);
    expect(append).toHaveBeenCalledTimes(2);
    expect(last.present_key.dims).toEqual([2, 1, 8, dim]);
    expect(Array.from(last.present_key.data.slice(-dim) as Float32Array)).toEqual(Array(dim).fill(0));
    // The second of the same past goes its own way.
    await step(before, 6);
    expect(append).toHaveBeenCalledTimes(3);
    // As many tokens as there are in all is a prompt.
    await expect(step(before, 6, 1)).rejects.toThrow(RangeError);
  });

  it('that fails lets go of what it was fed', async () => {
    const session = await sessionOf();
    const dispose = vi.spyOn(KvCache.prototype, 'dispose');
    const first = (await session.run({ ...feedsOf(4, [4], 4), ...noPast(1) } as never)) as unknown as Outputs;
    await expect(session.run({ ...feedsOf(1, [9], 9), ...pastOf(first) } as never)).rejects.toThrow(RangeError);
    first.present_key.dispose();
    expect(dispose).not.toHaveBeenCalled();
    first.present_value.dispose();
    expect(dispose).toHaveBeenCalledTimes(1);
  });

  it('that fails lets go of the presents that it has made', async () => {
    const session = await sessionOf(false, 2);
    const dispose = vi.spyOn(KvCache.prototype, 'dispose');
    const feeds = feedsOf(4, [4], 4);
    // The second attention has no such place.
    const seqlens_k_2 = new ort.Tensor('int32', Int32Array.of(9), [1]);
    await expect(session.run({ ...feeds, seqlens_k_2 } as never)).rejects.toThrow(RangeError);
    expect(dispose).toHaveBeenCalledTimes(1);
  });
});
