// Views of a tensor: which elements they show, and what a library that knows no strides makes of them.
// Reader: someone who hands a slice to onnxruntime, or cuts a fused qkv.

import * as ort from 'onnxruntime-common';
import { describe, expect, it } from 'vitest';
import { attention, attentionSync, Tensor } from '../../dist/index.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { tensor } from '../support/tensors.js';

const counted = (...dims: number[]) =>
  new Tensor(
    'float32',
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => i),
    dims,
  );
/** The elements by their indices, as the definition of strides has it. */
const elementsOf = (t: Tensor<'float32'>): number[] => {
  const at = (axis: number, from: number): number[] =>
    axis === t.dims.length
      ? [t.data[from]]
      : Array.from({ length: t.dims[axis] }, (_, i) => at(axis + 1, from + i * t.strides[axis])).flat();
  return at(0, t.offset);
};
const option = 'ERR_TILEWISE_INVALID_OPTION' as const;

describe('libraries that read `data` from its start', () => {
  it('find the elements of a dense slice there, and no others', async () => {
    const whole = counted(4, 2, 3);
    const part = whole.slice(0, 1, 3);
    expect(part).toMatchObject({ dims: [2, 2, 3], strides: [6, 3, 1], offset: 0, location: 'cpu' });
    expect([...part.data]).toEqual([6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
    expect(part.data.buffer).toBe(whole.data.buffer);
    expect(await part.getData()).toBe(part.data);
    const feed = new ort.Tensor(part.type, part.data, part.dims);
    expect([feed.size, feed.data[0]]).toEqual([12, 6]);
  });

  it('find those of a slice of one token, whatever the strides of axes of length 1', () => {
    expect([...counted(1, 8, 1, 4).slice(1, 2, 3).data]).toEqual([8, 9, 10, 11]);
    expect([...counted(2, 8, 4).slice(0, 1).slice(1, 7).data]).toEqual([60, 61, 62, 63]);
  });

  it('are told where a view is not dense', () => {
    const whole = counted(4, 2, 3);
    const views = [
      whole.transpose([1, 0, 2]),
      whole.slice(2, 1),
      whole.slice(1, 0, 1),
      new Tensor('float32', whole.data, [4, 2, 3], { strides: [0, 3, 1] }),
      new Tensor('float32', whole.data, [24], { strides: [-1], offset: 23 }),
    ];
    for (const view of views) expect(view.location).toBe('strided');
    // One of the classes that onnxruntime's own functions take a tensor apart by.
    expect(() => new ort.Tensor(views[0] as never)).toThrow("unsupported location 'strided'");
  });

  it('are told by the constructor as by slices', () => {
    const data = Float32Array.of(0, 1, 2, 3, 4, 5);
    const part = new Tensor('float32', data, [2, 2], { offset: 1 });
    expect([...part.data]).toEqual([1, 2, 3, 4]);
    expect(part).toMatchObject({ offset: 0, location: 'cpu' });
    expect(new Tensor('float32', data, [3, 2], { strides: [2, 1] }).data).toBe(data);
  });

  it('our own readers take every view, in place or copied', async () => {
    const [q, k, v] = [counted(1, 6, 4, 8), tensor(1, 9, 4, 8), tensor(1, 9, 4, 8)];
    const view = q.transpose([0, 2, 1, 3]).slice(1, 1, 3).transpose([0, 2, 1, 3]);
    const same = Tensor.from(new Proxy(view, { get: (target, key) => Reflect.get(target, key, target) }));
    const expected = attentionSync(view.contiguous(), k.slice(2, 1, 3), v.slice(2, 1, 3)).out.data;
    for (const options of [{}, { copyInputs: true }]) {
      for (const given of [view, same]) {
        const { out } = await attention(given, k.slice(2, 1, 3), v.slice(2, 1, 3), options);
        expect(out.data).toEqual(expected);
      }
    }
    expect(view.location).toBe('strided');
  });
});

describe('slice()', () => {
  it('has the elements of that slice alone', async () => {
    const t = counted(3, 2);
    expect([...(await t.slice(0, 0, 1).getData())]).toEqual([0, 1]);
    expect([...(await t.slice(0, 2).getData())]).toEqual([4, 5]);
    expect([...(await t.slice(1, 1).getData())]).toEqual([1, 3, 5]);
  });

  it('takes far and negative indices as Array.prototype.slice does', () => {
    const t = counted(3);
    const list = [0, 1, 2];
    for (let start = -10; start <= 10; ++start) {
      for (let end = -10; end <= 10; ++end) {
        expect(elementsOf(t.slice(0, start, end)), `${start} to ${end}`).toEqual(list.slice(start, end));
      }
      expect(elementsOf(t.slice(0, start)), `from ${start}`).toEqual(list.slice(start));
    }
  });

  it('goes on where there is no element to show', () => {
    const empty = new Tensor('float32', new Float32Array(0), [0, 3], { strides: [3, -1] });
    expect(empty.slice(1, 1, 2)).toMatchObject({ dims: [0, 1], offset: 0, location: 'cpu' });
    expect(counted(2, 3).slice(0, 2).data).toHaveLength(0);
  });
});

describe('select() and squeeze()', () => {
  it('cut a fused qkv without a copy', () => {
    const [batch, tokens, heads, dim] = [2, 5, 3, 4];
    const qkv = tensor(batch, tokens, 3, heads, dim);
    const [q, k, v] = [0, 1, 2].map((i) => qkv.select(2, i));
    expect(q).toMatchObject({ dims: [batch, tokens, heads, dim], strides: [180, 36, 4, 1], location: 'strided' });
    expect(v.data).toBe(qkv.data);
    const apart = [0, 1, 2].map((i) => {
      const rows = Array.from({ length: batch * tokens }, (_, row) =>
        qkv.data.subarray((row * 3 + i) * heads * dim, (row * 3 + i + 1) * heads * dim),
      );
      return Tensor.from(rows).reshape([batch, tokens, heads, dim]);
    });
    expect(attentionSync(q, k, v).out.data).toEqual(attentionSync(apart[0], apart[1], apart[2]).out.data);
  });

  it('count a negative index from the end', () => {
    const t = counted(2, 3);
    expect(elementsOf(t.select(0, -1))).toEqual([3, 4, 5]);
    expect(elementsOf(t.select(1, -3))).toEqual([0, 3]);
  });

  it('leave out axes of length 1, one or all of them', () => {
    const t = counted(1, 2, 1, 3);
    expect(t.squeeze().dims).toEqual([2, 3]);
    expect(t.squeeze(0).dims).toEqual([2, 1, 3]);
    expect(t.squeeze(2).dims).toEqual([1, 2, 3]);
    expect(elementsOf(t.squeeze())).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it.each<[string, () => unknown, typeof TypeError | typeof RangeError, string[]]>([
    ['an axis that is none', () => counted(2, 3).select(2, 0), RangeError, ['`axis`', '2', '[2, 3]']],
    ['an index past the end', () => counted(2, 3).select(1, 3), RangeError, ['`index`', '3', '[2, 3]']],
    ['an index before the start', () => counted(2, 3).select(1, -4), RangeError, ['-4']],
    ['an axis that is longer', () => counted(2, 3).squeeze(1), RangeError, ['`axis`', 'length 1', '[2, 3]']],
    ['a word', () => counted(2, 3).squeeze('1' as never), TypeError, ["'1'"]],
  ])('refuse %s', (_, run, type, says) => expectError(thrownBy(run), { code: option, type, says }));
});

describe('reshape()', () => {
  it('shows the same elements in the same order', () => {
    const t = counted(2, 3, 4);
    for (const dims of [[24], [6, 4], [2, 12], [1, 24, 1], [3, 2, 2, 2], [-1], [4, -1], [-1, 1, 8]]) {
      const view = t.reshape(dims);
      expect(elementsOf(view), `${dims}`).toEqual([...t.data]);
      expect(view.data).toBe(t.data);
    }
    expect(t.reshape([4, -1]).dims).toEqual([4, 6]);
    expect(counted(1).reshape([]).dims).toEqual([]);
    expect(counted(0, 3).reshape([5, 0]).dims).toEqual([5, 0]);
  });

  it('cuts and joins the axes of views whose strides allow it', () => {
    const tail = counted(2, 3, 8).slice(2, 4); // [2, 3, 4], strides [24, 8, 1]
    expect(tail.reshape([6, 2, 2])).toMatchObject({ dims: [6, 2, 2], strides: [8, 2, 1] });
    expect(elementsOf(tail.reshape([6, 2, 2]))).toEqual(elementsOf(tail));
    const backwards = new Tensor('float32', Float32Array.of(0, 1, 2, 3), [4], { strides: [-1], offset: 3 });
    expect(elementsOf(backwards.reshape([2, 2]))).toEqual([3, 2, 1, 0]);
    const repeated = new Tensor('float32', Float32Array.of(7), [2, 3], { strides: [0, 0] });
    expect(elementsOf(repeated.reshape([6]))).toEqual([7, 7, 7, 7, 7, 7]);
    const turned = counted(2, 3).transpose([1, 0]); // [3, 2], strides [1, 3]
    expect(elementsOf(turned.reshape([3, 1, 2]))).toEqual([0, 3, 1, 4, 2, 5]);
  });

  it.each<[string, () => unknown, typeof TypeError | typeof RangeError, string[]]>([
    [
      'what strides cannot say',
      () => counted(2, 3).transpose([1, 0]).reshape([6]),
      RangeError,
      ['`dims`', '[1, 3]', 'contiguous()', '[6]'],
    ],
    ['a part of a gap', () => counted(2, 4).slice(1, 0, 3).reshape([3, 2]), RangeError, ['[4, 1]', 'contiguous()']],
    ['another number of elements', () => counted(2, 3).reshape([7]), RangeError, ['6 elements', '[7]']],
    ['what -1 cannot fill', () => counted(2, 3).reshape([4, -1]), RangeError, ['6 elements', '[4, -1]']],
    ['two axes of -1', () => counted(2, 3).reshape([-1, -1]), RangeError, ['-1 at most']],
    ['a fraction', () => counted(2, 3).reshape([1.5, 4]), RangeError, ['1.5']],
    ['no array', () => counted(2, 3).reshape(6 as never), RangeError, ['6']],
    ['a word', () => counted(2, 3).reshape('6' as never), TypeError, ["'6'"]],
  ])('refuses %s', (_, run, type, says) => expectError(thrownBy(run), { code: option, type, says }));
});

describe('contiguous()', () => {
  it('copies what is not in order, and nothing else', () => {
    const t = counted(2, 3);
    expect(t.contiguous().data).toBe(t.data);
    const copy = t.transpose([1, 0]).contiguous();
    expect(copy).toMatchObject({ dims: [3, 2], strides: [2, 1], offset: 0, location: 'cpu' });
    expect([...copy.data]).toEqual([0, 3, 1, 4, 2, 5]);
    copy.data[0] = 9;
    expect(t.data[0]).toBe(0);
  });

  it('does not read what a call in flight writes', async () => {
    const out = tensor(1, 4, 2, 8);
    const call = attention(tensor(1, 4, 2, 8), tensor(1, 4, 2, 8), tensor(1, 4, 2, 8), { out });
    for (const copy of [() => out.transpose([0, 2, 1, 3]).contiguous(), () => out.astype('float16')]) {
      expectError(thrownBy(copy), { code: 'ERR_TILEWISE_OVERLAP', type: RangeError });
    }
    await call;
  });
});
