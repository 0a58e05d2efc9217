// Devices: how they are named and chosen. Reader: someone who asks why a call ran where it ran, or why it did not.
// What can be known without a GPU is here; device tensors are in tensors.test.ts.

import { describe, expect, it } from 'vitest';
import { onDevice } from '../../dist/call/placement.js';
import { asTilewise } from '../../dist/check/errors.js';
import {
  attention,
  attentionSync,
  devices,
  explain,
  full,
  hierarchical,
  mergeAttentionSync,
  TilewiseError,
} from '../../dist/index.js';
import { native } from '../../dist/native/native.js';
import { DeviceBuffer } from '../../dist/tensor/device-buffer.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { onGpu } from '../support/gpu.js';
import { isSame, operands, tensor } from '../support/tensors.js';

describe('devices', () => {
  it('are the CPU first, then cuda and more of them, each once', () => {
    const names = devices().map(({ name }) => name);
    expect(names[0]).toBe('cpu');
    expect(names[1]).toBe('cuda');
    names.slice(2).forEach((name, i) => {
      expect(name).toBe(`cuda:${i + 1}`);
    });
  });

  it("'cuda:0' is another name for 'cuda'", async () => {
    const [a, b] = await Promise.all(
      (['cuda', 'cuda:0'] as const).map((name) =>
        tensor(2)
          .to(name)
          .then(
            ({ location }) => location,
            ({ message }) => message,
          ),
      ),
    );
    expect(a).toBe(b);
  });

  it.each(['gpu', 'CUDA', 'cuda:', 'cuda:-1', 'cuda:01', 'cuda:1.5', '', 1, null, 'auto'])(
    'to() refuses %o',
    async (name) => {
      const error = await tensor(2)
        .to(name as never)
        .catch((reason) => reason);
      expectError(error, { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['`device`'] });
      expectError(
        thrownBy(() => tensor(2).toSync(name as never)),
        { code: 'ERR_TILEWISE_INVALID_OPTION', says: ['`device`'] },
      );
    },
  );

  it('that do not exist are refused by everything that takes one, with those there are', async () => {
    const { q, k, v } = operands(2, 1, 4);
    const part = attentionSync(q, k, v, { returnLse: true, device: 'cpu' });
    const missing = { code: 'ERR_TILEWISE_NO_DEVICE', says: ["'cuda:99'", "'cpu', 'cuda'"] } as const;
    expectError(
      await tensor(2)
        .to('cuda:99')
        .catch((error) => error),
      missing,
    );
    expectError(await attention(q, k, v, { device: 'cuda:99' }).catch((error) => error), missing);
    expectError(
      thrownBy(() => mergeAttentionSync([part], { device: 'cuda:99' })),
      missing,
    );
    expectError(
      thrownBy(() => explain(full(), { queryHeads: 1, kvHeads: 1, tokens: 8, headDim: 8 }, { device: 'cuda:99' })),
      missing,
    );
  });
});

describe("'auto'", () => {
  it('asks the preferred device, and the CPU when that cannot run the problem', () => {
    const asked: number[] = [];
    const answer = onDevice({ candidates: [1, 0] }, (device) => {
      asked.push(device);
      return device === 0 ? 'ran' : ['too large'];
    });
    expect([answer, asked]).toEqual(['ran', [1, 0]]);
  });

  it('lists the reasons of all when none can', () => {
    expectError(
      thrownBy(() => onDevice({ candidates: [0] }, () => ['too large', 'too odd'])),
      { code: 'ERR_TILEWISE_UNSUPPORTED', says: ['The cpu backend', 'too large; too odd'] },
    );
    expectError(
      thrownBy(() => onDevice({ candidates: [1, 0] }, (device) => [`${device} is too small`])),
      { code: 'ERR_TILEWISE_UNSUPPORTED', says: ['cuda: 1 is too small; cpu: 0 is too small'] },
    );
  });
});

describe('failures of a backend', () => {
  it('keep their code and become a TilewiseError', () => {
    const error = asTilewise(Object.assign(new Error('no room for 7 bytes'), { code: 'ERR_TILEWISE_OUT_OF_MEMORY' }));
    expect(error).toBeInstanceOf(TilewiseError);
    expect(error).toMatchObject({ code: 'ERR_TILEWISE_OUT_OF_MEMORY', message: 'no room for 7 bytes' });
    const other = new Error('not ours');
    expect(asTilewise(other)).toBe(other);
    const wrong = new RangeError('an argument');
    expect(asTilewise(wrong)).toBe(wrong);
  });
});

describe('native code trusts no handle', () => {
  it('refuses what is none', () => {
    const imitations: unknown[] = [
      undefined,
      null,
      1,
      'x',
      {},
      [],
      new Float32Array(4),
      Object.create(null),
      tensor(2),
    ];
    for (const call of [native.share, native.release] as unknown as ((handle: unknown) => void)[]) {
      for (const handle of imitations) expect(thrownBy(() => call.call(native, handle))).toBeInstanceOf(TypeError);
    }
    for (const handle of imitations) {
      for (const call of [native.upload, native.uploadSync, native.download, native.downloadSync]) {
        expect(thrownBy(() => call.call(native, handle as never, new Float32Array(1), 0))).toBeInstanceOf(TypeError);
      }
    }
  });

  it('refuses memory of a backend that has none, and sizes that are none', () => {
    for (const numbers of [[0, 8], [99, 8], [0, -1], [0, 0.5], [0, Number.NaN], [0]]) {
      expect(thrownBy(() => native.allocate(Float64Array.from(numbers)))).toBeInstanceOf(RangeError);
    }
  });
});

onGpu('a GPU', () => {
  const { q, k, v } = operands(20, 2, 16);

  it("is what 'auto' means, and runs on tensors in the process's memory", () => {
    expect(explain(full(), { queryHeads: 2, kvHeads: 2, tokens: 20, headDim: 16 }).backend.name).toBe('cuda');
    const [auto, cuda] = [attentionSync(q, k, v), attentionSync(q, k, v, { device: 'cuda' })];
    expect(auto.out.location).toBe('cpu');
    expect(isSame(auto.out.data, cuda.out.data)).toBe(true);
  });

  it("is named in the refusal of a selection it cannot run, which 'auto' takes to the CPU", () => {
    const wide = operands(3, 1, 600);
    const pattern = hierarchical(); // no kernel selects by rows of so many dims
    expectError(
      thrownBy(() => attentionSync(wide.q, wide.k, wide.v, { pattern, device: 'cuda' })),
      { code: 'ERR_TILEWISE_UNSUPPORTED', says: ['cuda', '600'] },
    );
    const onCpu = attentionSync(wide.q, wide.k, wide.v, { pattern, device: 'cpu' }).out.data;
    const { data } = attentionSync(wide.q, wide.k, wide.v, { pattern }).out;
    onCpu.forEach((x, i) => {
      expect(data[i]).toBeCloseTo(x, 4);
    });
  });

  it('reports memory it does not have, and goes on working', async () => {
    const index = native.backends().findIndex(({ name }) => name === 'cuda');
    expectError(
      thrownBy(() => DeviceBuffer.allocate(index, 2 ** 50)),
      { code: 'ERR_TILEWISE_OUT_OF_MEMORY' },
    );
    expect((await tensor(3).to('cuda')).location).toBe('cuda');
  });
});
