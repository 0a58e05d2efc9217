// Calls on device tensors: every op takes them, results are where the queries are, and what they refuse.
// Reader: someone who keeps tensors on a GPU between calls. Results are compared, bit for bit, with calls on the same device
// that were handed the process's memory; whether those are right is the conformance suite's business.

import { expect, it } from 'vitest';
import {
  type AttentionOptions,
  attention,
  attentionSync,
  blocks,
  HipState,
  hierarchical,
  hipAttention,
  hipSelect,
  mergeAttention,
  neighborhood,
  S2Cache,
  s2Layout,
  stridedShards,
  Tensor,
} from '../../dist/index.js';
import { expectSame, failureOf, onDevice, wrongDevice } from '../support/device-tensors.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { onGpu, others } from '../support/gpu.js';
import { operands, tensor } from '../support/tensors.js';

/** Selects few of some keys. */
const selecting = { sink: 2, window: 8, blockQ: 8, stages: [{ strideQ: 2, chunk: 4, keep: 12 }] };

const layouts: [string, AttentionOptions, { grid?: true }?][] = [
  ['full attention', {}],
  ['causal attention with a window and sink tokens', { causal: true, window: { left: 9 }, sinkTokens: 2 }],
  ['neighborhoods', { pattern: neighborhood({ kernelSize: [3, 3] }) }, { grid: true }],
  ['strided shards', { pattern: stridedShards({ blockSize: 4, localBlocks: 2, vertStride: 3 }) }],
  [
    'block lists',
    {
      pattern: blocks({
        blockQ: 16,
        blockK: 8,
        csr: { rowOffsets: Int32Array.of(0, 2, 3, 5), columns: Int32Array.of(0, 1, 2, 0, 4) },
      }),
    },
  ],
  ['hierarchical pruning', { pattern: hierarchical(selecting) }],
  ['padded batches', { keyLengths: Int32Array.of(21) }],
  ['packed sequences', { cuSeqlensQ: Int32Array.of(0, 20, 48), cuSeqlensK: Int32Array.of(0, 30, 48) }],
];

onGpu('calls on device tensors', () => {
  const make = (isGrid: boolean, heads: number, dim: number) =>
    isGrid ? tensor(1, 6, 8, heads, dim) : tensor(1, 48, heads, dim);

  it.each(layouts)('%s: as from the process, and results stay', async (_, options, { grid = false } = {}) => {
    const [q, k, v] = [make(grid, 4, 16), make(grid, 2, 16), make(grid, 2, 24)];
    const expected = attentionSync(q, k, v, { ...options, device: 'cuda', returnLse: true });
    const [there, keys, values] = await onDevice(q, k, v);
    const { out, lse } = await attention(there, keys, values, { ...options, returnLse: true });
    expect([out.location, lse.location]).toEqual(['cuda', 'cuda']);
    await expectSame(out, expected.out);
    await expectSame(lse, expected.lse);
    const sync = attentionSync(there, keys, values, { ...options, device: 'cuda' });
    await expectSame(sync.out, expected.out);
  });

  it('any operand may lie on the device or not; results lie where q does', async () => {
    const [q, k, v] = [make(false, 2, 16), make(false, 2, 16), make(false, 2, 16)];
    const modifiers: Record<string, Tensor> = {
      bias: tensor(2, 48, 48),
      mask: new Tensor(
        'bool',
        new Uint8Array(48).map((_, i) => i % 5),
        [48],
      ),
      alibiSlopes: tensor(2),
      sinks: tensor(2),
      extraKeys: tensor(1, 3, 2, 16),
      extraValues: tensor(1, 3, 2, 16),
    };
    const expected = attentionSync(q, k, v, { ...modifiers, device: 'cuda' }).out;
    const names = ['q', 'k', 'v', ...Object.keys(modifiers)];
    for (let n = 0; n < 2 * names.length; ++n) {
      // One of them here and the rest there, and the other way round.
      const place = async (t: Tensor, name: string) =>
        (names[n % names.length] === name) === n < names.length ? t.to('cuda') : t;
      const [a, b, c] = [await place(q, 'q'), await place(k, 'k'), await place(v, 'v')];
      const entries = Object.entries(modifiers).map(async ([name, t]) => [name, await place(t, name)]);
      const { out } = await attention(a, b, c, Object.fromEntries(await Promise.all(entries)));
      expect(out.location, `${n}`).toBe(a.location);
      await expectSame(out, expected, `${n}`);
    }
  });

  it('out may lie on the device or not, wherever q lies, with any strides', async () => {
    const [q, k, v] = [make(false, 2, 16), make(false, 2, 16), make(false, 2, 16)];
    const expected = attentionSync(q, k, v, { device: 'cuda' }).out;
    const [there] = await onDevice(q);
    const room = () =>
      new Tensor('float32', new Float32Array(48 * 2 * 16 + 5).fill(9), [1, 48, 2, 16], {
        strides: [0, 16, 768, 1],
        offset: 5,
      });
    for (const queries of [q, there]) {
      const here = room();
      expect((await attention(queries, k, v, { out: here })).out).toBe(here);
      await expectSame(here, expected);
      expect([...here.data.slice(0, 5)]).toEqual([9, 9, 9, 9, 9]);
      const target = await room().to('cuda');
      expect((await attention(queries, k, v, { out: target })).out).toBe(target);
      await expectSame(target, expected);
    }
  });

  it('chain without the process in between', async () => {
    const x = make(false, 2, 16);
    let here: Tensor = x;
    let there: Tensor = await x.to('cuda');
    for (let layer = 0; layer < 3; ++layer) {
      here = attentionSync(here, here, here, { causal: true, device: 'cuda' }).out;
      const before = there;
      there = (await attention(there, there, there, { causal: true })).out;
      before.dispose();
    }
    await expectSame(there, here);
  });

  it('views are read in place: q, k and v of one buffer, as a grid of 48 by 1', async () => {
    const packed = tensor(1, 48, 3, 2, 16);
    const there = await packed.to('cuda');
    const call = (t: Tensor) => {
      const [q, k, v] = [0, 1, 2].map((i) => t.slice(2, i, i + 1));
      return attention(q, k, v, { pattern: neighborhood({ kernelSize: [9, 1] }), device: 'cuda' });
    };
    await expectSame((await call(there)).out, (await call(packed)).out);
  });

  it('keys on pages, and a cache that forgets', async () => {
    const [q, k, v] = [tensor(1, 2, 4, 16), tensor(6, 8, 2, 16), tensor(6, 8, 2, 16)];
    const options = {
      keyLengths: Int32Array.of(30),
      pages: { table: new Tensor('int32', Int32Array.of(4, 0, 5, 2), [1, 4]), pageSize: 8 },
    };
    const expected = attentionSync(q, k, v, { ...options, device: 'cuda' }).out;
    const [there, keys, values] = await onDevice(q, k, v);
    await expectSame((await attention(there, keys, values, options)).out, expected);

    const cache = new S2Cache(s2Layout({ blockSize: 4, localBlocks: 2, vertStride: 3, numHeads: 2 }));
    cache.append(tensor(1, 30, 2, 16), tensor(1, 30, 2, 16));
    const last = tensor(1, 1, 2, 16);
    const { out } = await cache.attention(await last.to('cuda'));
    expect(out.location).toBe('cuda');
    await expectSame(out, cache.attentionSync(last, { device: 'cuda' }).out);
    expectError(
      thrownBy(() => cache.append(there, there)),
      { code: 'ERR_TILEWISE_INVALID_TENSOR', says: ['`k`', "'cuda'"] },
    );
  });

  it('merge where the parts lie', async () => {
    const [q, k, v] = [make(false, 2, 16), make(false, 2, 16), make(false, 2, 16)];
    const [there, keys, values] = await onDevice(q, k, v);
    const part = (from: Tensor[], begin: number, end: number) =>
      attention(from[0], from[1].slice(1, begin, end), from[2].slice(1, begin, end), {
        returnLse: true,
        device: 'cuda',
      });
    const parts = await Promise.all([part([there, keys, values], 0, 20), part([there, keys, values], 20, 48)]);
    const merged = await mergeAttention(parts);
    expect([merged.out.location, merged.lse.location]).toEqual(['cuda', 'cuda']);
    const host = await Promise.all([part([q, k, v], 0, 20), part([q, k, v], 20, 48)]);
    const expected = await mergeAttention(host, { device: 'cuda' });
    await expectSame(merged.out, expected.out);
    await expectSame(merged.lse, expected.lse);
    expect((await mergeAttention([host[0], parts[1]])).out.location).toBe('cpu');
  });

  it('selections stay on the device, by themselves and in a state', async () => {
    const [q, k] = [make(false, 2, 16), make(false, 2, 16)];
    const [there, keys] = await onDevice(q, k);
    const [here, found] = [
      await hipSelect(q, k, { ...selecting, device: 'cuda' }),
      await hipSelect(there, keys, selecting),
    ];
    expect(found.blocks.indices.location).toBe('cuda');
    await expectSame(found.blocks.counts, here.blocks.counts);
    await expectSame(found.blocks.indices, here.blocks.indices);

    const decode = {
      sink: 2,
      window: 8,
      blockQ: 1,
      refresh: [4, 2],
      stages: [
        { strideQ: 1, chunk: 8, keep: 24 },
        { strideQ: 1, chunk: 2, keep: 8 },
      ],
    };
    const [a, b] = [new HipState(), new HipState()];
    for (let tokens = 40; tokens < 48; ++tokens) {
      const step = (t: Tensor, begin = 0) => t.slice(1, begin, tokens);
      const expected = await hipAttention(step(q, tokens - 1), step(k), step(k), {
        ...decode,
        state: a,
        device: 'cuda',
      });
      const { out } = await hipAttention(step(there, tokens - 1), step(keys), step(keys), { ...decode, state: b });
      await expectSame(out, expected.out, `${tokens} tokens`);
      expect(b.stepCounters).toEqual(a.stepCounters);
    }
    expect(b.lists[1].indices.location).toBe('cuda');
    await expectSame(b.lists[1].indices, a.lists[1].indices);
    expectError(await failureOf(hipAttention(q.slice(1, 47), k, k, { ...decode, state: b, device: 'cuda' })), {
      code: 'ERR_TILEWISE_INVALID_OPTION',
      says: ['`state`', 'another device'],
    });
  });
});

onGpu('calls on device tensors refuse', () => {
  const { q, k, v } = operands(8, 2, 8);

  it('another device than the tensors lie on', async () => {
    const [there] = await onDevice(q);
    for (const error of [
      thrownBy(() => attentionSync(there, k, v, { device: 'cpu' })),
      await failureOf(hipSelect(k, there, { device: 'cpu' })),
      await failureOf(attention(q, k, v, { bias: await tensor(8, 8).to('cuda'), device: 'cpu' })),
    ]) {
      expectError(error, { ...wrongDevice, says: ["`device` is 'cpu'", "lies on 'cuda'"] });
    }
  });

  it.skipIf(others.length === 0)('tensors on two devices (with two GPUs)', async () => {
    const [first] = await onDevice(q);
    const second = await first.to('cuda:1');
    await expectSame(second, q);
    expectError(await failureOf(attention(first, k, second)), {
      ...wrongDevice,
      says: ["`q` lies on 'cuda'", "`v` on 'cuda:1'"],
    });
    const { out } = await attention(second, second, second);
    expect(out.location).toBe('cuda:1');
  });

  it('a class of results that cannot hold them', async () => {
    class Theirs {
      constructor(
        readonly type: string,
        readonly data: unknown,
        readonly dims: readonly number[],
      ) {}
    }
    const [there] = await onDevice(q);
    expectError(await failureOf(attention(there, k, v, { Tensor: Theirs })), {
      code: 'ERR_TILEWISE_INVALID_OPTION',
      says: ['`Tensor`', "'cuda'"],
    });
    expect((await attention(q, await k.to('cuda'), v, { Tensor: Theirs })).out).toBeInstanceOf(Theirs);
  });

  it('an out that shares memory with an input, or that a call in flight writes', async () => {
    const [there, keys, values, out] = await onDevice(q, k, v, q);
    const overlap = { code: 'ERR_TILEWISE_OVERLAP', type: RangeError } as const;
    expectError(await failureOf(attention(there, keys, values, { out: keys.slice(1, 0) })), {
      ...overlap,
      says: ['`k`'],
    });
    const first = attention(there, keys, values, { out });
    expectError(await failureOf(attention(there, keys, values, { out })), overlap);
    expectError(await failureOf(attention(out, keys, values)), overlap);
    expectError(await failureOf(out.getData()), overlap);
    await first;
    await attention(out, keys, values);
  });

  it('grids whose axes no stride walks in order, which are copied only in the process', async () => {
    const grid = tensor(1, 4, 5, 2, 8);
    const turned = grid.transpose([0, 2, 1, 3, 4]);
    const there = (await grid.to('cuda')).transpose([0, 2, 1, 3, 4]);
    const pattern = neighborhood({ kernelSize: [3, 3] });
    expectError(await failureOf(attention(there, there, there, { pattern })), {
      code: 'ERR_TILEWISE_INVALID_OPTION',
      says: ['`q` on a device', '[5, 4]'],
    });
    expect((await attention(turned, turned, turned, { pattern, device: 'cuda' })).out.dims).toEqual([1, 5, 4, 2, 8]);
  });

  it('nothing else: copyInputs and signals are taken', async () => {
    const [there, keys, values] = await onDevice(q, k, v);
    const expected = attentionSync(q, k, v, { device: 'cuda' }).out;
    const { signal } = new AbortController();
    await expectSame((await attention(there, keys, values, { copyInputs: true, signal })).out, expected);
    const aborted = AbortSignal.abort(new Error('enough'));
    expect(await failureOf(attention(there, keys, values, { signal: aborted }))).toMatchObject({ message: 'enough' });
  });
});
