// mergeAttention(): which parts fit together. Reader: someone who splits keys. That the numbers are right is a property in
// laws/parts.test.ts.

import { describe, expect, it } from 'vitest';
import { attentionSync, type MergeOptions, mergeAttention, mergeAttentionSync, Tensor } from '../../dist/index.js';
import { expectBoth } from '../support/expect-error.js';
import { isSame, tensor } from '../support/tensors.js';

const part = (batch = 2, queries = 3, heads = 4, dim = 8) => ({
  out: tensor(batch, queries, heads, dim),
  lse: tensor(batch, heads, queries),
});
const refuse = (
  parts: unknown,
  options: unknown,
  code: string,
  type: typeof TypeError | typeof RangeError,
  says: string[],
) =>
  expectBoth(
    () => mergeAttentionSync(parts as never, options as MergeOptions),
    () => mergeAttention(parts as never, options as MergeOptions),
    { code: code as 'ERR_TILEWISE_DTYPE', type, says },
  );
const half = new Tensor('bfloat16', new Uint16Array(192), [2, 3, 4, 8]);

const wrong: [
  parts: unknown,
  options: unknown,
  code: string,
  type: typeof TypeError | typeof RangeError,
  says: string[],
][] = [
  [undefined, {}, 'ERR_TILEWISE_INVALID_OPTION', TypeError, ['`parts`', 'undefined']],
  [[], {}, 'ERR_TILEWISE_INVALID_OPTION', TypeError, ['`parts`', '[]']],
  [[null], {}, 'ERR_TILEWISE_INVALID_OPTION', TypeError, ['`parts[0]`', 'null']],
  [[{ out: tensor(2, 3, 4, 8) }], {}, 'ERR_TILEWISE_INVALID_TENSOR', TypeError, ['`parts[0].lse`', 'undefined']],
  [[part(), part(2, 3, 4, 9)], {}, 'ERR_TILEWISE_SHAPE_MISMATCH', RangeError, ['`parts[1].out`', '[2, 3, 4, 9]']],
  [
    [part(), { ...part(), lse: tensor(2, 3, 4) }],
    {},
    'ERR_TILEWISE_SHAPE_MISMATCH',
    RangeError,
    ['`parts[1].lse`', '[2, 4, 3]'],
  ],
  [[part(), { ...part(), out: half }], {}, 'ERR_TILEWISE_DTYPE', TypeError, ['`parts[1].out`', 'bfloat16']],
  [[{ ...part(), lse: half }], {}, 'ERR_TILEWISE_DTYPE', TypeError, ['`parts[0].lse`']],
  [
    [{ out: tensor(4, 8), lse: tensor(4) }],
    {},
    'ERR_TILEWISE_SHAPE_MISMATCH',
    RangeError,
    ['`parts[0].out`', '[4, 8]'],
  ],
  [[part()], { layout: 'nhd' }, 'ERR_TILEWISE_INVALID_OPTION', TypeError, ["'nhd'"]],
  [[part()], { out: half }, 'ERR_TILEWISE_DTYPE', TypeError, ['`out`']],
  [[part()], { out: tensor(2, 3, 4, 7) }, 'ERR_TILEWISE_SHAPE_MISMATCH', RangeError, ['`out`', '[2, 3, 4, 7]']],
  [[part()], { causal: true }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`causal`']],
  [[part()], { Tensor: 1 }, 'ERR_TILEWISE_INVALID_OPTION', TypeError, ['`Tensor`']],
  [[part()], { sinks: 1 }, 'ERR_TILEWISE_INVALID_TENSOR', TypeError, ['`sinks`']],
  [[part()], { sinks: new Float32Array(3) }, 'ERR_TILEWISE_SHAPE_MISMATCH', RangeError, ['`sinks`', '[4]', '[3]']],
  [[part()], { sinks: tensor(1, 4) }, 'ERR_TILEWISE_SHAPE_MISMATCH', RangeError, ['`sinks`', '[1, 4]']],
  [[part()], { sinks: half }, 'ERR_TILEWISE_DTYPE', TypeError, ['`sinks`', 'bfloat16']],
  [[part()], { signal: 1 }, 'ERR_TILEWISE_INVALID_OPTION', TypeError, ['`signal`']],
  [[part()], null, 'ERR_TILEWISE_INVALID_OPTION', TypeError, ['null']],
];

describe('a merge', () => {
  it.each(wrong)('of %o with %o is refused', (parts, options, code, type, says) =>
    refuse(parts, options, code, type, says),
  );

  it('takes either layout, and rows without a batch axis', () => {
    const { out, lse } = part(1);
    const others = { out: tensor(1, 3, 4, 8), lse: new Tensor('float32', new Float32Array(12).fill(0.5), [1, 4, 3]) };
    const expected = mergeAttentionSync([{ out, lse }, others]).out;
    const swap = (t: Tensor) => t.transpose([0, 2, 1, 3]);
    const heads = new Tensor('float32', new Float32Array(96), [1, 4, 3, 8]);
    mergeAttentionSync(
      [
        { out: swap(out), lse },
        { out: swap(others.out), lse: others.lse },
      ],
      { layout: 'bhnd', out: heads },
    );
    const swapped = new Tensor('float32', new Float32Array(96), [1, 3, 4, 8]);
    mergeAttentionSync([{ out: swap(heads), lse: others.lse }], { out: swapped });
    expect(isSame(swapped.data, expected.data)).toBe(true);
    const flat = ({ out, lse }: { out: Tensor; lse: Tensor }) => ({
      out: new Tensor('float32', out.data as Float32Array, [3, 4, 8]),
      lse: new Tensor('float32', lse.data as Float32Array, [4, 3]),
    });
    const packed = mergeAttentionSync([flat({ out, lse }), flat(others)]);
    expect(packed.out.dims).toEqual([3, 4, 8]);
    expect(packed.lse.dims).toEqual([4, 3]);
    expect(isSame(packed.out.data, expected.data)).toBe(true);
  });

  it('of one part returns it, and a part without keys changes nothing', () => {
    const [q, k, v] = [tensor(1, 5, 2, 8), tensor(1, 7, 2, 8), tensor(1, 7, 2, 8)];
    const whole = attentionSync(q, k, v, { returnLse: true });
    const none = attentionSync(q, k.slice(1, 0, 0), v.slice(1, 0, 0), { returnLse: true });
    for (const parts of [[whole], [whole, none], [none, whole]]) {
      const merged = mergeAttentionSync(parts);
      merged.out.data.forEach((value, i) => {
        expect(value).toBeCloseTo(whole.out.data[i], 6);
      });
    }
    expect(mergeAttentionSync([none, none]).lse.data.every((x) => x === Number.NEGATIVE_INFINITY)).toBe(true);
  });
});
