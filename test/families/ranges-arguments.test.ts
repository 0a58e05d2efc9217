// Arguments of ranges(): every wrong one gets a sentence and a stable code, with the place of the number.
// Reader: someone who brings ranges and gets an error.

import { describe, expect, it } from 'vitest';
import {
  attention,
  attentionSync,
  type ErrorCode,
  explain,
  type Pattern,
  type RangesOptions,
  ranges,
  type TensorLike,
} from '../../dist/index.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { operands } from '../support/tensors.js';

const int32 = (dims: number[], ...numbers: number[]): TensorLike => ({
  type: 'int32',
  data: Int32Array.from(numbers),
  dims,
});

const invalid = 'ERR_TILEWISE_INVALID_OPTION';
const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH';
type ErrorType = typeof TypeError | typeof RangeError;

describe('ranges()', () => {
  const two = { begins: int32([2, 2], 0, 4, 1, 6), ends: int32([2, 2], 2, 5, 6, 6) };
  const wrong: [options: unknown, code: ErrorCode, type: ErrorType, says: string[]][] = [
    [undefined, invalid, TypeError, ['ranges()']],
    [{ ...two, most: 2 }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`most`']],
    [{ begins: two.begins }, 'ERR_TILEWISE_INVALID_TENSOR', TypeError, ['`ends`']],
    [{ ...two, align: 3 }, invalid, TypeError, ['`align`', '3']],
    [{ ...two, ends: int32([2, 1], 2, 5) }, mismatch, RangeError, ['`begins` [2, 2]', '`ends` [2, 1]']],
    [{ begins: int32([2], 0, 0), ends: int32([2], 1, 1) }, mismatch, RangeError, ['`begins`', '[queries, most]']],
    [
      { begins: new Float32Array(2), ends: new Float32Array(2) },
      'ERR_TILEWISE_INVALID_TENSOR',
      TypeError,
      ['`begins`'],
    ],
    [
      { ...two, begins: { type: 'int64', data: new BigInt64Array(4), dims: [2, 2] } },
      'ERR_TILEWISE_DTYPE',
      TypeError,
      ['`begins`', 'int64'],
    ],
    [{ ...two, ends: int32([2, 2], 2, 3, 6, 6) }, invalid, RangeError, ['`ends[0, 1]` is 3', '`begins[0, 1]`', '4']],
    [{ ...two, ends: int32([2, 2], 2, 5, 7, 8) }, invalid, RangeError, ['`begins[1, 1]` is 6', 'ends at 7']],
    [
      { begins: int32([2, 2], 0, 4, 6, 1), ends: int32([2, 2], 2, 5, 8, 3) },
      invalid,
      RangeError,
      ['`begins[1, 1]` is 1', 'ascend'],
    ],
    [{ begins: int32([2 ** 31, 0]), ends: int32([2 ** 31, 0]) }, invalid, RangeError, ['`begins`', '2147483648']],
    [{ ...two, begins: int32([2, 2], -1, 4, 1, 6) }, invalid, RangeError, ['`begins[0, 0]`', '-1']],
    [
      { begins: int32([1, 2, 1, 2], 0, 3, 0, 1), ends: int32([1, 2, 1, 2], 2, 4, 2, 4) },
      invalid,
      RangeError,
      ['`begins[0, 1, 0, 1]` is 1', 'ends at 2'],
    ],
  ];
  it.each(wrong)('%o is refused', (options, code, type, says) =>
    expectError(
      thrownBy(() => ranges(options as RangesOptions)),
      { code, type, says },
    ),
  );

  it('the pattern is frozen, keeps copies, joins ranges that touch and leaves out empty ones', () => {
    const begins = int32([2, 3], 0, 2, 9, 5, 1, 6);
    const pattern = ranges({ begins, ends: int32([2, 3], 2, 4, 9, 5, 3, 8) });
    (begins.data as Int32Array).fill(7);
    expect(Object.isFrozen(pattern)).toBe(true);
    expect([...pattern.dims, ...pattern.offsets, ...pattern.bounds]).toEqual([1, 1, 2, 0, 1, 3, 0, 4, 1, 3, 6, 8]);
    expect(ranges({ begins: Int32Array.of(0, 3), ends: Int32Array.of(2, 3) }).offsets).toEqual(Int32Array.of(0, 1, 1));
  });
});

describe('attention() with ranges', () => {
  const { q, k, v } = operands(8, 2, 8);
  const row = (...numbers: number[]) => Int32Array.from({ length: 8 }, (_, i) => numbers[i % numbers.length]);
  const good = ranges({ begins: row(0), ends: row(8) });
  const of = (table: object): Pattern => ({ ...good, ...table }) as Pattern;
  const wrong: [options: Record<string, unknown>, code: ErrorCode, type: ErrorType, says: string[]][] = [
    [{ pattern: ranges({ begins: row(0), ends: row(9, 8) }) }, invalid, RangeError, ['query 0', 'key 9', '8 keys']],
    [
      { pattern: ranges({ begins: Int32Array.of(0), ends: Int32Array.of(1) }) },
      mismatch,
      RangeError,
      ['[1, 1, 1]', '8 queries'],
    ],
    [{ pattern: good, causal: true }, invalid, TypeError, ['`causal`']],
    [
      { pattern: good, cuSeqlensQ: [0, 8], cuSeqlensK: [0, 8] },
      invalid,
      TypeError,
      ["`cuSeqlensQ` does not go with a pattern of kind 'ranges'"],
    ],
    [{ pattern: of({ offsets: [0] }) }, invalid, TypeError, ['`pattern`', 'ranges()']],
    [{ pattern: of({ offsets: new Int32Array(3) }) }, invalid, RangeError, ['`pattern.offsets`', '9 offsets']],
    [
      { pattern: of({ offsets: Int32Array.of(0, 1, 0, 3, 4, 5, 6, 7, 8) }) },
      invalid,
      RangeError,
      ['`pattern.offsets[2]`'],
    ],
    [
      { pattern: of({ bounds: Int32Array.from(good.bounds, (bound, i) => (i === 4 ? 8 : bound)) }) },
      invalid,
      RangeError,
      ['`pattern.bounds[4]`'],
    ],
    [{ pattern: of({ most: 1 }) }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`most`']],
  ];
  it.each(wrong)('%o is refused', (options, code, type, says) =>
    expectBoth(
      () => attentionSync(q, k, v, options),
      () => attention(q, k, v, options),
      { code, type, says },
    ),
  );

  it('names the head and the batch entry of a range that ends past the keys', () => {
    const ends = new Int32Array(16).fill(8);
    ends[11] = 10;
    const pattern = ranges({ begins: int32([1, 2, 8, 1], ...new Int32Array(16)), ends: int32([1, 2, 8, 1], ...ends) });
    const error = thrownBy(() => attentionSync(q, k, v, { pattern }));
    expectError(error, { code: invalid, type: RangeError, says: ['query 3 of head 1, batch entry 0', 'key 10'] });
    const sizes = { queries: 8, keys: 8, queryHeads: 2, kvHeads: 2, headDim: 8 };
    expectError(
      thrownBy(() => explain(pattern, sizes)),
      { code: invalid, type: RangeError, says: ['query 3 of head 1', 'key 10'] },
    );
  });

  it.each(['bounds', 'offsets'] as const)('what happens to the %s that a pattern shows changes nothing', (name) => {
    const pattern = ranges({ begins: row(0), ends: Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8) });
    const before = [...attentionSync(q, k, v, { pattern }).out.data];
    const again = () => [...attentionSync(q, k, v, { pattern }).out.data];
    pattern[name].fill(1);
    expect(again()).toEqual(before);
    structuredClone(pattern[name], { transfer: [pattern[name].buffer as ArrayBuffer] });
    expect(again()).toEqual(before);
    const sizes = { queries: 8, keys: 8, queryHeads: 2, kvHeads: 2, headDim: 8 };
    expect(explain(pattern, sizes).pairs.useful).toBe(36);
    expectError(
      thrownBy(() => attentionSync(q, k, v, { pattern: { ...pattern } })), // another pattern, of what is shown
      { code: invalid, type: RangeError, says: ['`pattern.'] },
    );
  });
});
