// What native code refuses when everything before it has failed, and that no argument at all brings anything but a result or
// an error with a code. Reader: someone who wonders whether bad input can crash the process.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unsupported } from '../../dist/check/errors.js';
import type { AttentionOptions, TensorLike } from '../../dist/index.js';
import { attention, attentionSync } from '../../dist/index.js';
import { native } from '../../dist/native/native.js';
import { either } from '../conformance/draw.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAllAsync } from '../support/property.js';
import { operands } from '../support/tensors.js';

const { fields, views: slotNames } = native.ops.attention;

/** One valid request, as it crosses to native code. */
function captureRequest(): { numbers: Float64Array; views: (ArrayBufferView | undefined)[] } {
  const { q, k, v } = operands(3, 2, 4);
  const count = fields.length;
  const numbers = new Float64Array(count);
  const set = (name: string, ...values: number[]) => {
    const at = fields.indexOf(name);
    expect(at, name).toBeGreaterThanOrEqual(0);
    numbers.set(values, at);
  };
  for (const name of ['batch', 'sequences']) set(name, 1);
  for (const name of ['queryHeads', 'kvHeads']) set(name, 2);
  for (const name of ['queries', 'keys']) set(name, 3);
  for (const name of ['headDim', 'valueDim']) set(name, 4);
  for (const name of ['left', 'right']) set(name, 2 ** 29);
  set('scale', 1);
  for (const name of ['query', 'key', 'value', 'out']) set(`${name}Offset`, 0, 24, 8, 4, 1);
  set('lseOffset', 0, 6, 3, 1);
  for (const name of ['bias', 'mask']) set(`${name}Offset`, 0, 0, 9, 3, 1);
  set('scoreFactorOffset', 0, 0, 0, 0, 0);
  set('gateOffset', 0, 6, 2, 1);
  set('alibiSlopesOffset', 0, 2, 1);
  set('sinksOffset', 0, 1);
  const slots: Record<string, ArrayBufferView> = {
    query: q.data,
    key: k.data,
    value: v.data,
    out: new Float32Array(24),
    lse: new Float32Array(6),
    bias: new Float32Array(18),
    mask: new Uint8Array(18).fill(1),
    alibiSlopes: new Float32Array(2),
    sinks: new Float32Array(2),
    scoreFactor: new Float32Array(1).fill(1),
    gate: new Float32Array(6).fill(1),
    keyLengths: Int32Array.of(3),
  };
  return { numbers, views: slotNames.map((name) => slots[name]) };
}

describe('native code trusts nothing', () => {
  it('runs the request that the next tests spoil', () => {
    const { numbers, views } = captureRequest();
    expect(native.run('attention', numbers, views)).toBeUndefined();
  });

  it('has a valid request refused by the backend with every reason', () => {
    const { numbers, views } = captureRequest();
    for (const name of ['headDim', 'valueDim']) numbers[fields.indexOf(name)] = 5000;
    for (const name of ['queryByDim', 'keyByDim', 'valueByDim', 'outByDim']) {
      numbers[fields.indexOf(name)] = 0;
    }
    const reasons = native.run('attention', numbers, views);
    expect(reasons).toHaveLength(2);
    expect(reasons?.join()).toMatch(/headDim is 5000.*valueDim is 5000/);
    expect(native.submit('attention', numbers, views)).toEqual(reasons);
    expectError(unsupported('cpu', reasons ?? []), {
      code: 'ERR_TILEWISE_UNSUPPORTED',
      says: ['cpu', 'headDim is 5000', 'valueDim is 5000'],
    });
    expect(unsupported('cpu', reasons ?? []).reasons).toEqual(reasons);
  });

  it('refuses or survives every spoilt number', () => {
    const bad = [-1, 0.5, 1e9, 2 ** 31, 2 ** 53, -(2 ** 53), 1e300, Number.NaN, Infinity, -Infinity, 100, -9];
    const ofOtherPatterns = /^(rank|length|kernel|stride|dilation|causal|relative|shard|block|headsPer|list|range)/;
    const ofCodes = /^(code|keyCode|valueCode|keyBits|valueBits)/; // read where there are tiers
    const used = fields.filter((name) => !ofOtherPatterns.test(name) && !ofCodes.test(name));
    let refused = 0;
    for (let field = 0; field < fields.length; ++field) {
      for (const value of bad) {
        const { numbers, views } = captureRequest();
        numbers[field] = value;
        const error = thrownBy(() => native.run('attention', numbers, views));
        if (error === undefined) continue;
        ++refused;
        expect(error, fields[field]).toBeInstanceOf(Error);
      }
    }
    expect(refused).toBeGreaterThan(8 * used.length);
  });

  it('refuses or survives every spoilt view', () => {
    const detached = new Float32Array(64);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const bad: unknown[] = [
      undefined,
      null,
      5,
      'x',
      {},
      [],
      new Float32Array(0),
      new Uint8Array(1),
      detached,
      new DataView(new ArrayBuffer(64)),
    ];
    for (let slot = 0; slot < slotNames.length; ++slot) {
      for (const value of bad) {
        const { numbers, views } = captureRequest();
        (views as unknown[])[slot] = value;
        const error = thrownBy(() => native.run('attention', numbers, views));
        if (error !== undefined) expect(error).toBeInstanceOf(Error);
      }
    }
    for (const name of ['query', 'key', 'value', 'out']) {
      const { numbers, views } = captureRequest();
      views[slotNames.indexOf(name)] = detached;
      expectError(
        thrownBy(() => native.run('attention', numbers, views)),
        { code: 'ERR_TILEWISE_INVALID_TENSOR', type: TypeError, says: ['transferred'] },
      );
    }
  });

  it('refuses running totals and lengths that leave the rows', () => {
    const slot = (name: string) => slotNames.indexOf(name);
    for (const totals of [[0, 4], [1, 3], [0, -1], [0], [], [0, 3, 3], [0, 2 ** 31 - 1]]) {
      const { numbers, views } = captureRequest();
      views[slot('cuSeqlensQ')] = Int32Array.from(totals);
      views[slot('cuSeqlensK')] = Int32Array.of(0, 3);
      expectError(
        thrownBy(() => native.run('attention', numbers, views)),
        { code: 'ERR_TILEWISE_OUT_OF_BOUNDS' },
      );
    }
    for (const lengths of [[4], [-1], [], [1, 1]]) {
      const { numbers, views } = captureRequest();
      views[slot('keyLengths')] = Int32Array.from(lengths);
      expectError(
        thrownBy(() => native.run('attention', numbers, views)),
        { code: 'ERR_TILEWISE_OUT_OF_BOUNDS' },
      );
    }
  });

  it('refuses ranges that are out of order, leave the keys or are not all there', () => {
    const slot = (name: string) => slotNames.indexOf(name);
    const run = (offsets: number[], bounds: number[]) => {
      const { numbers, views } = captureRequest();
      numbers[fields.indexOf('pattern')] = 4;
      numbers[fields.indexOf('headsPerRanges')] = 2;
      views[slot('rangeOffsets')] = Int32Array.from(offsets);
      views[slot('rangeBounds')] = Int32Array.from(bounds);
      return thrownBy(() => native.run('attention', numbers, views));
    };
    expect(run([0, 1, 1, 3], [0, 3, 0, 1, 2, 3])).toBeUndefined();
    for (const [offsets, bounds] of [
      [[], []],
      [
        [0, 1, 1],
        [0, 3],
      ],
      [
        [0, 1, 1, 3],
        [0, 3, 0, 1, 2],
      ],
      [
        [1, 1, 1, 1],
        [0, 3],
      ],
      [
        [0, 2, 1, 3],
        [0, 1, 2, 3, 0, 1],
      ],
      [
        [0, -1, 1, 1],
        [0, 3],
      ],
      [
        [0, 1, 1, 1],
        [0, 4],
      ],
      [
        [0, 1, 1, 1],
        [-1, 3],
      ],
      [
        [0, 1, 1, 1],
        [2, 2],
      ],
      [
        [0, 2, 2, 2],
        [0, 1, 1, 2],
      ],
      [
        [0, 2, 2, 2],
        [2, 3, 0, 1],
      ],
    ]) {
      expectError(run(offsets, bounds), { code: 'ERR_TILEWISE_OUT_OF_BOUNDS' });
    }
  });

  it('refuses resizable memory in calls that run beside JavaScript', () => {
    const { numbers, views } = captureRequest();
    const resizable = new (ArrayBuffer as unknown as new (n: number, o: object) => ArrayBuffer)(96, {
      maxByteLength: 192,
    });
    Object.defineProperty(resizable, 'resizable', { value: false });
    views[slotNames.indexOf('query')] = new Float32Array(resizable);
    // Of so many keys, all one row, that it does not run at once.
    for (const name of ['bias', 'mask']) views[slotNames.indexOf(name)] = undefined;
    for (const name of ['keyByToken', 'valueByToken']) numbers[fields.indexOf(name)] = 0;
    numbers[fields.indexOf('keys')] = 2 ** 20;
    expectError(
      thrownBy(() => native.submit('attention', numbers, views)),
      { code: 'ERR_TILEWISE_INVALID_TENSOR', says: ['resizable'] },
    );
  });

  it('refuses memory that was transferred', () => {
    for (const [name, said] of [
      ['query', 'q has no memory'],
      ['out', 'out has no memory'],
      ['mask', 'mask has no memory'],
      ['keyLengths', 'a list has no memory'],
    ]) {
      const { numbers, views } = captureRequest();
      const buffer = views[slotNames.indexOf(name)]?.buffer as ArrayBuffer;
      structuredClone(buffer, { transfer: [buffer] });
      for (const call of [native.run, native.submit]) {
        expectError(
          thrownBy(() => call('attention', numbers, views)),
          { code: 'ERR_TILEWISE_INVALID_TENSOR', type: TypeError, says: [said, 'transferred'] },
        );
      }
    }
  });

  it('refuses calls with nothing in them', () => {
    const named = Object.keys(native.ops).flatMap((op) => [
      native.run.bind(native, op),
      native.submit.bind(native, op),
    ]);
    const calls = [
      ...named,
      native.run,
      native.submit,
      native.explain,
      native.linearPasses,
      native.selectionBounds,
    ] as unknown as ((...args: unknown[]) => unknown)[];
    for (const call of calls) {
      for (const args of [
        [],
        [1],
        [new Float64Array(1), []],
        [new Float64Array(200), []],
        [new Float32Array(200), []],
        [null, null],
      ]) {
        expect(thrownBy(() => call.apply(native, args))).toBeInstanceOf(Error);
      }
    }
  });
});

describe('any argument at all', () => {
  // Values of every kind; what comes back is a result or an Error with one of our codes, never anything else.
  const junk: unknown[] = [
    undefined,
    null,
    true,
    0,
    -1,
    0.5,
    Number.NaN,
    1n,
    '',
    'float32',
    Symbol('s'),
    () => 1,
    {},
    [],
    [1, 2],
    new Date(0),
    new Float32Array(4),
    new Float64Array(4),
    new ArrayBuffer(8),
    new Map(),
    Object.create(null),
    new Proxy({}, {}),
    { type: 'float32' },
    { type: 'float32', data: new Float32Array(4) },
    { type: 'float32', data: new Float32Array(4), dims: [4] },
    { type: 'float32', data: new Float32Array(4), dims: [1, 1, 1, 4] },
    { type: 'float32', data: new Float32Array(4), dims: [1, 1, 1, 4], strides: [1, 1, 1, 1] },
    { type: 'float32', data: new Float32Array(0), dims: [1, 0, 1, 4] },
    { type: 'float16', data: new Uint16Array(4), dims: [1, 1, 1, 4] },
    { type: 'bool', data: new Uint8Array(1), dims: [] },
    Int32Array.of(0, 1),
    Int32Array.of(),
    { left: 1 },
    { offset: 1 },
  ];
  const names = [
    'layout',
    'pattern',
    'causal',
    'window',
    'sinkTokens',
    'align',
    'scale',
    'softcap',
    'alibiSlopes',
    'sinks',
    'bias',
    'mask',
    'cuSeqlensQ',
    'cuSeqlensK',
    'keyLengths',
    'pairing',
    'returnLse',
    'out',
    'Tensor',
    'signal',
    'device',
    'copyInputs',
    'other',
  ];

  it('ends in a result or in an error with a code', async () => {
    const good = () => ({ type: 'float32', data: new Float32Array(4), dims: [1, 1, 1, 4] });
    const any = fc.constantFrom(...junk);
    const argument = either(0.3, any, fc.constant(undefined).map(good));
    const calls = fc.record({
      tensors: fc.tuple(argument, argument, argument),
      options: fc.dictionary(fc.constantFrom(...names), any, { maxKeys: 2, noNullPrototype: true }),
      isSync: fc.boolean(),
    });
    let results = 0;
    await expectForAllAsync(calls, 4000, async ({ tensors, options, isSync }) => {
      const args = [...tensors, options] as [TensorLike, TensorLike, TensorLike, AttentionOptions];
      const settled = isSync ? thrownBy(() => attentionSync(...args)) : await attention(...args).catch((e) => e);
      if (settled instanceof Error) {
        expect((settled as { code?: string }).code, settled.stack).toMatch(/^ERR_TILEWISE_/);
      } else ++results;
    });
    expect(results).toBeGreaterThan(250); // half of what is drawn on average
  });
});
