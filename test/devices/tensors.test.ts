// Device tensors: what comes back is what went there, their views, and when they end. Calls on them are in calls.test.ts.
// Reader: someone who keeps tensors on a GPU.

import { describe, expect, it } from 'vitest';
import { attention, attentionSync, blocks, type DataType, Tensor, type TensorLike } from '../../dist/index.js';
import { disposed, expectSame, failureOf, onDevice, wrongDevice } from '../support/device-tensors.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { onGpu } from '../support/gpu.js';
import { operands, tensor } from '../support/tensors.js';

describe('tensors in typed arrays', () => {
  it('move to the CPU as views of themselves, and have nothing to free', async () => {
    const t = tensor(2, 3);
    const same = await t.to('cpu');
    expect(same.data).toBe(t.data);
    expect(t.toSync('cpu').data).toBe(t.data);
    t.dispose();
    t[Symbol.dispose]();
    expect([t.location, same.location]).toEqual(['cpu', 'cpu']);
  });

  it('getData() is the elements in row-major order, data itself where it is just those', async () => {
    const t = tensor(2, 3);
    expect(await t.getData()).toBe(t.data);
    expect(await t.slice(1, 1).getData()).toEqual(Float32Array.of(...[1, 2, 4, 5].map((i) => t.data[i])));
    expect(await t.transpose([1, 0]).getData()).toEqual(Float32Array.of(...[0, 3, 1, 4, 2, 5].map((i) => t.data[i])));
  });
});

onGpu('device tensors', () => {
  it('bring back every bit of every type', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i * 37);
    const types: [DataType, TensorLike['data']][] = [
      ['float32', new Float32Array(bytes.buffer)],
      ['float16', new Uint16Array(bytes.buffer)],
      ['bfloat16', new Uint16Array(bytes.buffer)],
      ['int32', new Int32Array(bytes.buffer)],
      ['uint8', bytes],
      ['bool', bytes],
    ];
    for (const [type, data] of types) {
      const host = new Tensor(type, data as never, [2, 2, (data as Uint8Array).length / 4]);
      const there = await host.to('cuda');
      expect(there).toMatchObject({ type, dims: host.dims, location: 'cuda', size: host.size });
      await expectSame(there, host, type);
      await expectSame(host.toSync('cuda').toSync('cpu'), host, type);
    }
  });

  it('keep what any view of an array shows', async () => {
    const data = Float32Array.from({ length: 600 }, (_, i) => i);
    const views = [
      { dims: [3, 4, 5], strides: [200, 40, 7], offset: 3 },
      { dims: [3, 4, 5], strides: [-20, 5, -1], offset: 44 },
      { dims: [3, 4, 5], strides: [5, 15, 1], offset: 100 },
      { dims: [3, 4, 5], strides: [0, 5, 1], offset: 20 },
      { dims: [3, 4, 5], strides: [0, 0, 0], offset: 599 },
      { dims: [3, 0, 5], strides: [1, 1, 1], offset: 0 },
      { dims: [], strides: [], offset: 17 },
    ];
    for (const { dims, ...view } of views) {
      const host = new Tensor('float32', data, dims, view);
      await expectSame(await host.to('cuda'), host, JSON.stringify(view));
    }
  });

  it('are sliced and transposed as others are, and a part comes back alone', async () => {
    const host = tensor(3, 6, 4);
    const there = await host.to('cuda');
    const views: ((t: Tensor) => Tensor)[] = [
      (t) => t.slice(1, 2, 5),
      (t) => t.slice(0, -1).slice(2, 1, 3),
      (t) => t.transpose([2, 0, 1]),
      (t) => t.transpose([2, 0, 1]).slice(0, 1, 2).transpose([1, 2, 0]),
      (t) => t.slice(1, 3, 3),
      (t) => t.select(1, -1),
      (t) => t.slice(1, 2, 3).squeeze(1),
      (t) => t.slice(2, 1, 3).reshape([3, 2, 3, 2]),
      (t) => t.contiguous(),
      (t) => t.astype('float32'),
    ];
    for (const [i, view] of views.entries()) {
      await expectSame(view(there), view(host), `view ${i}`);
      await expectSame(await view(there).to('cpu'), view(host), `view ${i}`);
    }
    expectError(
      thrownBy(() => there.slice(3, 0)),
      { code: 'ERR_TILEWISE_INVALID_OPTION' },
    );
  });

  it('are copied in the process alone, and say so', async () => {
    const there = await tensor(2, 3).to('cuda');
    for (const copy of [() => there.transpose([1, 0]).contiguous(), () => there.astype('float16')]) {
      expectError(thrownBy(copy), { ...wrongDevice, says: ["'cuda'", "to('cpu')"] });
    }
  });

  it('have no data here, and say how to get it', async () => {
    const there = await tensor(2).to('cuda');
    expectError(
      thrownBy(() => there.data),
      { ...wrongDevice, says: ["'cuda'", 'getData()', "to('cpu')"] },
    );
    expect({ ...there }).not.toHaveProperty('data');
  });

  it('cannot be used once they were disposed of; their views can', async () => {
    const { q, k, v } = operands(4, 1, 8);
    const [there, other] = await onDevice(q, k);
    const view = there.slice(1, 0, 2);
    const same = await there.to('cuda');
    const adopted = Tensor.from(there);
    there.dispose();
    there[Symbol.dispose]();
    expect(there.location).toBe('none');
    expectError(
      thrownBy(() => there.data),
      disposed,
    );
    expectError(
      thrownBy(() => there.slice(1, 0)),
      disposed,
    );
    expectError(
      thrownBy(() => there.toSync('cpu')),
      disposed,
    );
    for (const use of [
      there.getData(),
      there.to('cpu'),
      there.to('cuda'),
      attention(there, k, v),
      attention(q, k, there),
    ]) {
      expectError(await failureOf(use), disposed);
    }
    expectError(
      thrownBy(() => attentionSync(other, other, there)),
      { ...disposed, says: ['`v`'] },
    );
    expectError(await failureOf(attention(q, k, v, { out: there })), { ...disposed, says: ['`out`'] });
    await expectSame(view, q.slice(1, 0, 2));
    view.dispose();
    await expectSame(same, q);
    await expectSame(adopted, q);
  });

  it('are no tensors to what reads lists of blocks or keeps keys itself', async () => {
    const csr = {
      rowOffsets: await new Tensor('int32', Int32Array.of(0, 1), [2]).to('cuda'),
      columns: Int32Array.of(0),
    };
    expectError(
      thrownBy(() => blocks({ blockQ: 4, blockK: 4, csr })),
      { code: 'ERR_TILEWISE_INVALID_TENSOR', says: ['csr.rowOffsets', "'cuda'", "'cpu'"] },
    );
  });
});
