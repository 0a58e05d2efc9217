// Memory: `out` buffers, and which of them overlap with inputs. Reader: someone who passes buffers.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attention,
  attentionSync,
  hipAttention,
  mergeAttention,
  mergeAttentionSync,
  Tensor,
} from '../../dist/index.js';
import { integers } from '../conformance/draw.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';
import { operands, tensor } from '../support/tensors.js';

const overlap = { code: 'ERR_TILEWISE_OVERLAP', type: RangeError } as const;

/** WebAssembly.Memory, as far as it is used here; Node's types have it with the DOM's alone. */
type SharedMemory = new (options: {
  initial: number;
  maximum: number;
  shared: boolean;
}) => { readonly buffer: SharedArrayBuffer; grow(pages: number): void };

describe('out', () => {
  const { q, k, v } = operands(5, 2, 4);
  const expected = attentionSync(q, k, v).out.data;

  it('is written and returned as it is', async () => {
    const out = { type: 'float32', data: new Float32Array(40), dims: [1, 5, 2, 4] };
    expect(attentionSync(q, k, v, { out }).out).toBe(out);
    expect(out.data).toEqual(expected);
    out.data.fill(0);
    expect((await attention(q, k, v, { out })).out).toBe(out);
    expect(out.data).toEqual(expected);
  });

  it('may be a view with any strides, and nothing beside it is touched', () => {
    const data = new Float32Array(200).fill(7);
    const out = new Tensor('float32', data, [1, 5, 2, 4], { strides: [0, -24, 11, 2], offset: 4 + 4 * 24 });
    attentionSync(q, k, v, { out });
    const written = new Map<number, number>();
    for (let n = 0; n < 5; ++n) {
      for (let h = 0; h < 2; ++h) {
        for (let d = 0; d < 4; ++d) written.set(out.offset - 24 * n + 11 * h + 2 * d, expected[(n * 2 + h) * 4 + d]);
      }
    }
    data.forEach((value, i) => {
      expect(value, `element ${i}`).toBe(written.get(i) ?? 7);
    });
  });

  it('must not repeat an element', () => {
    const data = new Float32Array(100);
    const strided = (strides: number[]) => new Tensor('float32', data, [1, 5, 2, 4], { strides });
    for (const strides of [
      [0, 8, 0, 1],
      [0, 0, 4, 1],
      [0, 8, 4, 0],
      [0, 7, 4, 1],
      [0, 8, 2, 1],
    ]) {
      expectError(
        thrownBy(() => attentionSync(q, k, v, { out: strided(strides) })),
        { ...overlap, says: ['`out`'] },
      );
    }
    expect(thrownBy(() => attentionSync(q, k, v, { out: strided([0, 1, 20, 5]) }))).toBeUndefined();
  });

  it('must not share an element with an input', () => {
    expectError(
      thrownBy(() => attentionSync(q, k, v, { out: q })),
      { ...overlap, says: ['`out`', '`q`'] },
    );
    expectError(
      thrownBy(() => attentionSync(q, k, v, { out: v })),
      { ...overlap, says: ['`v`'] },
    );
    const bias = tensor(1, 2, 5, 5);
    const out = new Tensor('float32', bias.data, [1, 5, 2, 4], { offset: 5 });
    expectError(
      thrownBy(() => attentionSync(q, k, v, { bias, out })),
      { ...overlap, says: ['`bias`'] },
    );
  });

  it('may lie between the elements of an input: one buffer for q, k, v and out', () => {
    const data = new Float32Array(5 * 4 * 8);
    const part = (i: number) => new Tensor('float32', data, [1, 5, 2, 4], { strides: [0, 32, 4, 1], offset: 8 * i });
    const copy = (to: Tensor, from: Tensor) => {
      for (let n = 0; n < 5; ++n)
        for (let i = 0; i < 8; ++i) data[to.offset + 32 * n + i] = from.data[8 * n + i] as number;
    };
    [q, k, v].forEach((from, i) => {
      copy(part(i), from);
    });
    attentionSync(part(0), part(1), part(2), { out: part(3) });
    const out = Array.from({ length: 40 }, (_, i) => data[24 + 32 * Math.floor(i / 8) + (i % 8)]);
    expect(out).toEqual([...expected]);
    const shifted = new Tensor('float32', data, [1, 5, 2, 4], { strides: [0, 32, 4, 1], offset: 23 });
    expectError(
      thrownBy(() => attentionSync(part(0), part(1), part(2), { out: shifted })),
      { ...overlap, says: ['`v`'] },
    );
  });

  it('must not share an element with an input, whatever objects stand for their memory', () => {
    const shared = new SharedArrayBuffer(4 * 40);
    const view = (buffer: SharedArrayBuffer, offset = 0) =>
      new Tensor('float32', new Float32Array(buffer), [1, 5, 2, 4], { offset });
    const { Memory } = (globalThis as unknown as { WebAssembly: { Memory: SharedMemory } }).WebAssembly;
    const memory = new Memory({ initial: 1, maximum: 2, shared: true });
    const { buffer } = memory;
    memory.grow(1);
    for (const [one, other] of [
      [shared, structuredClone(shared)],
      [buffer, memory.buffer],
    ] as [SharedArrayBuffer, SharedArrayBuffer][]) {
      expect(one).not.toBe(other);
      expectError(
        thrownBy(() => attentionSync(view(one), k, v, { out: view(other) })),
        { ...overlap, says: ['`out`', '`q`'] },
      );
    }
    // Memory beside it is another's.
    const beside = new Tensor('float32', new Float32Array(memory.buffer), [1, 5, 2, 4], { offset: 40 });
    expect(thrownBy(() => attentionSync(view(buffer), k, v, { out: beside }))).toBeUndefined();
  });

  it('overlap agrees with comparing element by element', () => {
    const dims = fc.tuple(fc.constant(1), integers(1, 4), integers(1, 3), integers(1, 4));
    const problems = fc.record({
      dims,
      unit: fc.constantFrom(1, 2),
      head: integers(4, 5),
      token: integers(3, 4),
      offset: integers(0, 100),
      // Any strides at all, out of the middle so that they stay inside.
      input: fc.record({
        strides: fc.tuple(fc.constant(0), integers(-20, 20), integers(-8, 8), integers(-3, 3)),
        offset: integers(100, 120),
      }),
    });
    const addresses = ({ data, dims, strides, offset }: Tensor) => {
      let all = [data.byteOffset / data.BYTES_PER_ELEMENT + offset];
      dims.forEach((length, axis) => {
        all = all.flatMap((at) => Array.from({ length }, (_, i) => at + i * strides[axis]));
      });
      return all;
    };
    let shared = 0;
    let separate = 0;
    expectForAll(problems, 3000, ({ dims, unit, head, token, offset, input: drawn }) => {
      const data = new Float32Array(300);
      const view = (strides: number[], offset: number) => new Tensor('float32', data, dims, { strides, offset });
      const out = view([0, unit * head * token, unit * head, unit], offset);
      const input = view(drawn.strides, drawn.offset);
      const mine = new Set(addresses(out));
      const meets = addresses(input).some((at) => mine.has(at));
      const one = tensor(...dims);
      const error = thrownBy(() => attentionSync(input, one, one, { out }));
      if (meets) {
        ++shared;
        expectError(error, overlap);
      } else {
        ++separate;
        expect(error).toBeUndefined();
      }
    });
    expect(shared).toBeGreaterThan(100);
    expect(separate).toBeGreaterThan(100);
  });

  it('of a merge must not be a part', () => {
    const part = attentionSync(q, k, v, { returnLse: true });
    expectError(
      thrownBy(() => mergeAttentionSync([part], { out: part.out })),
      { ...overlap, says: ['parts[0].out'] },
    );
  });
});

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

it('`out` is given back by every op that is aborted, whatever it was at', async () => {
  const { q, k, v } = operands(2048, 4, 64);
  const out = new Tensor('float32', new Float32Array(q.size), q.dims);
  const part = { out: q, lse: new Tensor('float32', new Float32Array(2048 * 4), [1, 4, 2048]) };
  const selecting = { stages: [{ strideQ: 1, chunk: 64, keep: 512 }], window: 128 };
  const ops: Record<string, (signal: AbortSignal) => Promise<{ out: object }>> = {
    attention: (signal) => attention(q, k, v, { out, signal }),
    hip: (signal) => hipAttention(q, k, v, { ...selecting, out, signal }),
    merge: (signal) => mergeAttention(new Array(8).fill(part), { out, signal }),
  };
  for (const [name, op] of Object.entries(ops)) {
    const isRight = async () => (await op(new AbortController().signal)).out === out;
    expect(await failure(op(AbortSignal.abort(new Error(name))))).toMatchObject({ message: name });
    expect(await isRight(), name).toBe(true);
    for (const delay of [0, 1, 3]) {
      const controller = new AbortController();
      const call = failure(op(controller.signal));
      if (delay === 0) controller.abort();
      else setTimeout(() => controller.abort(), delay);
      await call;
      expect(await isRight(), `${name}, ${delay} ms`).toBe(true);
    }
  }
});
