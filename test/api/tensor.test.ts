// Tensors: what comes in, what views mean, what is refused. Reader: someone with another library's tensors.

import { describe, expect, it } from 'vitest';
import { attentionSync, Tensor, type TensorLike } from '../../dist/index.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { operands, tensor } from '../support/tensors.js';

const float16Array = (globalThis as { Float16Array?: typeof Uint16Array }).Float16Array;

describe('Tensor', () => {
  it('has what onnxruntime and transformers.js tensors have', async () => {
    const data = new Float32Array(6);
    const t = new Tensor('float32', data, [2, 3]);
    expect(t).toMatchObject({ type: 'float32', dims: [2, 3], size: 6, location: 'cpu' });
    expect(t.data).toBe(data);
    expect(await t.getData()).toBe(data);
    t.dispose();
    expect(t.data[0]).toBe(0);
  });

  it('has row-major strides unless told otherwise, and no axes for a scalar', () => {
    expect(new Tensor('uint8', new Uint8Array(24), [2, 3, 4]).strides).toEqual([12, 4, 1]);
    expect(new Tensor('float32', new Float32Array(1), []).strides).toEqual([]);
    expect(new Tensor('float32', new Float32Array(1), []).size).toBe(1);
    expect(new Tensor('float32', new Float32Array(0), [2, 0, 4]).size).toBe(0);
  });

  it('slices and transposes without copying', () => {
    const t = new Tensor(
      'int32',
      Int32Array.from({ length: 24 }, (_, i) => i),
      [2, 3, 4],
    );
    const part = t.slice(1, 1).slice(2, -2, -1).transpose([2, 0, 1]);
    expect(part.data).toBe(t.data);
    expect(part.dims).toEqual([1, 2, 2]);
    expect(part.strides).toEqual([1, 12, 4]);
    expect(part.offset).toBe(6);
    expect(t.slice(0, 5).dims).toEqual([0, 3, 4]);
    expect(t.slice(2, 1, 1).size).toBe(0);
  });

  it('refuses slices and orders that do not exist', () => {
    const t = new Tensor('float32', new Float32Array(6), [2, 3]);
    const code = 'ERR_TILEWISE_INVALID_OPTION' as const;
    expectError(
      thrownBy(() => t.slice(2, 0)),
      { code, type: RangeError, says: ['axis', '2', '[2, 3]'] },
    );
    expectError(
      thrownBy(() => t.slice(0, 0.5)),
      { code, type: RangeError, says: ['start', '0.5'] },
    );
    expectError(
      thrownBy(() => t.slice(0, 0, Number.NaN)),
      { code, type: RangeError, says: ['end', 'NaN'] },
    );
    expectError(
      thrownBy(() => t.transpose([0])),
      { code, type: RangeError, says: ['order', '[0]', '[2, 3]'] },
    );
    expectError(
      thrownBy(() => t.transpose([0, 0])),
      { code, type: RangeError },
    );
  });

  it('keeps dims and strides as they were', () => {
    const t = new Tensor('float32', new Float32Array(6), [2, 3]);
    expect(() => (t.dims as number[]).push(1)).toThrow(TypeError);
    expect(() => ((t.strides as number[])[0] = 9)).toThrow(TypeError);
  });
});

describe('tensors of other libraries', () => {
  const { q, k, v } = operands(3, 2, 4);
  const expected = attentionSync(q, k, v).out.data;
  const asNumpy = (t: Tensor) => ({ dtype: t.type, data: t.data, shape: t.dims });

  it('come in as { dtype, data, shape }', () => {
    expect(attentionSync(asNumpy(q), asNumpy(k), asNumpy(v)).out.data).toEqual(expected);
  });

  it('come in through getters and proxies', () => {
    const proxy = new Proxy(q, { get: (target, key) => Reflect.get(target, key) });
    expect(attentionSync(proxy, asNumpy(k), v).out.data).toEqual(expected);
  });

  it('come in from another realm', async () => {
    const { runInNewContext } = await import('node:vm');
    const foreign = runInNewContext('({ type: "float32", data: new Float32Array(24).fill(1), dims: [1, 3, 2, 4] })');
    expect(attentionSync(foreign, foreign, foreign).out.data).toEqual(new Float32Array(24).fill(1));
  });

  it('go out as the class that is asked for', () => {
    class Theirs {
      constructor(
        readonly type: string,
        readonly data: Float32Array,
        readonly dims: readonly number[],
      ) {}
    }
    const { out, lse } = attentionSync(q, k, v, { Tensor: Theirs, returnLse: true });
    expect(out).toBeInstanceOf(Theirs);
    expect(out).toMatchObject({ type: 'float32', dims: [1, 3, 2, 4], data: expected });
    expect(lse).toMatchObject({ type: 'float32', dims: [1, 2, 3] });
  });

  it('become ours by from(), sharing the data', () => {
    const t = Tensor.from(asNumpy(q));
    expect(t).toBeInstanceOf(Tensor);
    expect(t.data).toBe(q.data);
  });

  it('hold float16 in a Uint16Array or, where it exists, a Float16Array, and come out as the latter', () => {
    const bits = new Uint16Array(4).fill(0x3c00);
    const half: TensorLike = { type: 'float16', data: bits, dims: [1, 1, 1, 4] };
    const { out } = attentionSync(half, half, half);
    expect(out.data).toBeInstanceOf(float16Array ?? Uint16Array);
    expect(new Uint16Array(out.data.buffer)).toEqual(bits);
    if (!float16Array) return;
    const viewed = { ...half, data: new float16Array(bits.buffer) };
    expect(attentionSync(viewed, viewed, viewed).out.data).toEqual(out.data);
  });
});

describe('what is not a tensor', () => {
  const good = { type: 'float32', data: new Float32Array(8), dims: [1, 2, 1, 4] };
  const { k, v } = { k: good, v: good };
  const invalid = 'ERR_TILEWISE_INVALID_TENSOR' as const;
  const detached = new Float32Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const resizable = new Float32Array(
    new (ArrayBuffer as unknown as new (size: number, options: object) => ArrayBuffer)(32, { maxByteLength: 64 }),
  );

  const refused: [what: string, value: unknown, code: string, says: string[]][] = [
    ['undefined', undefined, invalid, ['`q`', 'undefined']],
    ['null', null, invalid, ['null']],
    ['a number', 5, invalid, ['5']],
    ['a bare typed array', new Float32Array(8), invalid, ['Float32Array(8)', "new Tensor('float32', data, dims)"]],
    ['an object without data', { dims: [1] }, invalid, ['{ dims }', '{ type, data, dims }']],
    ['no type', { ...good, type: undefined }, 'ERR_TILEWISE_DTYPE', ['undefined']],
    ['an unknown type', { ...good, type: 'float64' }, 'ERR_TILEWISE_DTYPE', ["'float64'", 'float32']],
    [
      'a known type that is no float',
      { ...good, type: 'int32', data: new Int32Array(8) },
      'ERR_TILEWISE_DTYPE',
      ['int32'],
    ],
    ['an inherited name as type', { ...good, type: 'constructor' }, 'ERR_TILEWISE_DTYPE', ['constructor']],
    [
      'data of another type',
      { ...good, data: new Float64Array(8) },
      'ERR_TILEWISE_DTYPE',
      ['Float64Array', 'Float32Array'],
    ],
    ['float32 data said to be float16', { ...good, type: 'float16' }, 'ERR_TILEWISE_DTYPE', ['Uint16Array']],
    ['a plain array as data', { ...good, data: [1, 2] }, invalid, ['typed array', '[1, 2]']],
    ['an ArrayBuffer as data', { ...good, data: new ArrayBuffer(32) }, invalid, ['ArrayBuffer']],
    ['a DataView as data', { ...good, data: new DataView(new ArrayBuffer(32)) }, invalid, ['DataView']],
    ['an imitated typed array', { ...good, data: { [Symbol.toStringTag]: 'Float32Array', length: 8 } }, invalid, []],
    ['no dims', { ...good, dims: undefined }, invalid, ['dims']],
    ['dims of another kind', { ...good, dims: 8 }, invalid, ['dims', '8']],
    ['dims as words', { ...good, dims: 'abcd' }, invalid, ['dims']],
    ['a negative dim', { ...good, dims: [1, -2, 1, 4] }, invalid, ['dims', '[1, -2, 1, 4]']],
    ['a fractional dim', { ...good, dims: [1, 2.5, 1, 4] }, invalid, ['2.5']],
    ['a dim that is a bigint', { ...good, dims: [1n, 2n, 1n, 4n] }, invalid, ['1n']],
    ['NaN as a dim', { ...good, dims: [1, Number.NaN, 1, 4] }, invalid, ['NaN']],
    ['too many dims', { ...good, dims: [1, 1, 1, 1, 1, 1, 1, 2, 4] }, invalid, ['at most 8']],
    ['strides of another number', { ...good, strides: [4, 1] }, invalid, ['4 dims', '2 strides']],
    ['a fractional stride', { ...good, strides: [8, 4, 4, 0.5] }, invalid, ['0.5']],
    ['a negative offset', { ...good, offset: -1 }, invalid, ['offset', '-1']],
    ['memory of a GPU', { ...good, location: 'gpu-buffer' }, invalid, ["'gpu-buffer'", "'cpu'"]],
    ['data that was transferred', { ...good, data: detached }, invalid, ['transferred']],
    ['resizable memory', { ...good, data: resizable }, invalid, ['resizable']],
    ['too little data', { ...good, dims: [1, 3, 1, 4] }, 'ERR_TILEWISE_OUT_OF_BOUNDS', ['[1, 3, 1, 4]', '11', '8']],
    ['too much data', { ...good, dims: [1, 1, 1, 4] }, 'ERR_TILEWISE_SHAPE_MISMATCH', ['4 elements', '8', 'offset']],
    ['an offset past the data', { ...good, offset: 1 }, 'ERR_TILEWISE_OUT_OF_BOUNDS', ['offset 1']],
    ['strides past the data', { ...good, strides: [0, 5, 0, 1] }, 'ERR_TILEWISE_OUT_OF_BOUNDS', ['[0, 5, 0, 1]']],
    ['strides before the data', { ...good, strides: [0, -4, 0, 1] }, 'ERR_TILEWISE_OUT_OF_BOUNDS', ['-4']],
    [
      'strides that overflow',
      { ...good, strides: [0, Number.MAX_SAFE_INTEGER, 0, 1] },
      'ERR_TILEWISE_OUT_OF_BOUNDS',
      [],
    ],
    ['dims that overflow', { ...good, dims: [2 ** 50, 2 ** 50, 2, 2] }, 'ERR_TILEWISE_OUT_OF_BOUNDS', []],
  ];
  it.each(refused)('%s is refused', (_, value, code, says) => {
    expectError(
      thrownBy(() => attentionSync(value as TensorLike, k, v)),
      { code: code as typeof invalid, says },
    );
  });

  it('a getter that throws is heard', () => {
    const broken = {
      ...good,
      get data(): never {
        throw new Error('on the GPU');
      },
    };
    expect(() => attentionSync(broken, k, v)).toThrow('on the GPU');
  });
});

describe('memory', () => {
  it('on a SharedArrayBuffer is read and written in place', () => {
    const { q, k, v } = operands(4, 2, 8);
    const shared = (t: Tensor<'float32'>) => {
      const data = new Float32Array(new SharedArrayBuffer(t.data.byteLength));
      data.set(t.data);
      return new Tensor('float32', data, t.dims);
    };
    const out = shared(tensor(1, 4, 2, 8));
    const result = attentionSync(shared(q), shared(k), shared(v), { out });
    expect(result.out).toBe(out);
    expect(out.data).toEqual(attentionSync(q, k, v).out.data);
  });

  it('of a growable SharedArrayBuffer is accepted: it never shrinks', () => {
    const buffer = new (SharedArrayBuffer as unknown as new (size: number, options: object) => SharedArrayBuffer)(32, {
      maxByteLength: 64,
    });
    const t = { type: 'float32', data: new Float32Array(buffer, 0, 8).fill(2), dims: [1, 2, 1, 4] };
    expect(attentionSync(t, t, t).out.data).toEqual(new Float32Array(8).fill(2));
  });

  it('of WebAssembly is accepted', () => {
    const { WebAssembly } = globalThis as unknown as {
      WebAssembly: { Memory: new (o: object) => { buffer: ArrayBuffer } };
    };
    const data = new Float32Array(new WebAssembly.Memory({ initial: 1 }).buffer, 64, 8).fill(3);
    const t = { type: 'float32', data, dims: [1, 2, 1, 4] };
    expect(attentionSync(t, t, t).out.data).toEqual(new Float32Array(8).fill(3));
  });
});
