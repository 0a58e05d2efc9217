// Every error carries a code, whatever the argument: values that hold themselves, that have no name, that change others
// when they are looked at. Reader: someone who reads an argument in a new place.

import { describe, expect, it } from 'vitest';
import {
  attention,
  attentionSync,
  explain,
  mergeAttention,
  mergeAttentionSync,
  neighborhood,
  neighborhoodAttentionSync,
  S2Cache,
  Tensor,
} from '../../dist/index.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { operands, tensor } from '../support/tensors.js';

const option = 'ERR_TILEWISE_INVALID_OPTION' as const;
const { q, k, v } = operands(4, 2, 8);

describe('what is missing or of another kind', () => {
  it.each<[unknown]>([[undefined], [null], ['01'], [{ length: 2 }]])('transpose(%o)', (order) =>
    expectError(
      thrownBy(() => tensor(2, 3).transpose(order as number[])),
      { code: option, type: TypeError, says: ['`order`', '[2, 3]'] },
    ),
  );

  it.each<[unknown, string, string[]]>([
    [null, option, ['null']],
    [5, option, ['5']],
    [{ stride: [1] }, 'ERR_TILEWISE_UNKNOWN_OPTION', ['`stride`', '`strides`']],
  ])('the view of a tensor, %o', (view, code, says) =>
    expectError(
      thrownBy(() => new Tensor('float32', new Float32Array(1), [1], view as object)),
      { code: code as typeof option, type: TypeError, says },
    ),
  );

  it.each<[unknown]>([[undefined], [null], [{ blockSize: 4 }]])('the layout of a cache, %o', (layout) =>
    expectError(
      thrownBy(() => new S2Cache(layout as never)),
      { code: option, type: TypeError, says: ['`layout`', 's2Layout()'] },
    ),
  );

  it('parts of a merge that are holes', () =>
    expectBoth(
      () => mergeAttentionSync(new Array(3)),
      () => mergeAttention(new Array(3)),
      { code: option, type: TypeError, says: ['`parts[0]`', 'undefined'] },
    ));

  it('a signal without throwIfAborted()', async () => {
    const signal = { aborted: false, addEventListener() {}, removeEventListener() {} };
    expectError(await attention(q, k, v, { signal: signal as never }).catch((error) => error), {
      code: option,
      type: TypeError,
      says: ['`signal`', 'AbortSignal'],
    });
  });
});

describe('values that are hard to show', () => {
  const endless: unknown[] = [];
  endless.push(endless);
  const nameless = Object.defineProperty(() => 0, 'name', { value: Symbol('name') });
  const bare = Object.setPrototypeOf(new Float32Array(3), null);
  const broken = new Proxy([], {
    get() {
      throw new Error('looked at');
    },
  });
  it.each<[string, unknown, string]>([
    ['an array that holds itself', endless, '[[[[[...]]]]]'],
    ['a function named by a Symbol', nameless, 'Symbol(name)'],
    ['a typed array without a constructor', bare, 'a typed array'],
    ['a proxy that throws', broken, 'an object'],
    ['a Symbol', Symbol('x'), 'Symbol(x)'],
    ['an object without a prototype', Object.create(null), '{}'],
    ['an object whose constructor is no class', { constructor: { name: Symbol('y') } }, 'an object'],
  ])('%s', (_, layout, shown) =>
    expectBoth(
      () => attentionSync(q, k, v, { layout: layout as never }),
      () => attention(q, k, v, { layout: layout as never }),
      { code: option, type: TypeError, says: ['`layout`', shown] },
    ),
  );
});

describe('options that change something', () => {
  const transfer = ({ buffer }: ArrayBufferView) => structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });

  it('a getter that takes the memory of another operand away', async () => {
    for (const name of ['copyInputs', 'returnLse']) {
      const bias = tensor(4, 4);
      const options = {
        bias,
        get [name]() {
          transfer(bias.data);
          return true;
        },
      };
      const error = await attention(q, k, v, options).catch((thrown) => thrown);
      expectError(error, { code: 'ERR_TILEWISE_INVALID_TENSOR', type: TypeError, says: ['`bias`', 'no memory'] });
    }
  });

  it('a page table that takes the memory of the lengths away, or its own', () => {
    const lengths = Int32Array.of(4);
    const table = Tensor.from([[0]], 'int32');
    const pages = {
      pageSize: 4,
      get table() {
        transfer(lengths);
        return table;
      },
    };
    expectError(
      thrownBy(() => attentionSync(q, k, v, { keyLengths: lengths, pages })),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['`keyLengths`', '0'] },
    );
  });

  it('Object.prototype with the name of an option', () => {
    const { prototype } = Object as unknown as { prototype: Record<string, unknown> };
    for (const name of ['window', 'neighborhood', 'int32']) {
      prototype[name] = {};
      try {
        const error = thrownBy(() => attentionSync(q, k, v)) as { code?: string } | undefined;
        expect(error?.code ?? 'ERR_TILEWISE_').toContain('ERR_TILEWISE_');
      } finally {
        delete prototype[name];
      }
    }
  });
});

describe('a batch of 0', () => {
  it('is explained and drawn', () => {
    for (const tokens of [[10], [6, 10], [4, 6, 10]]) {
      const shape = { batch: 0, queryHeads: 1, kvHeads: 1, tokens, headDim: 8 };
      const explained = explain(neighborhood({ kernelSize: 2 }), shape);
      expect(String(explained)).toContain('nothing to draw');
      expect(explained.toSVG()).toMatch(/^<svg /);
    }
  });

  it('of a grid needs no strides that nest', () => {
    const grid = (data: Float32Array, view: object) => new Tensor('float32', data, [0, 4, 6, 1, 2], view);
    const none = grid(new Float32Array(0), { strides: [0, 5, 7, 2, 1] });
    const { out } = neighborhoodAttentionSync(none, none, none, { kernelSize: 3, out: none });
    expect(out.dims).toEqual([0, 4, 6, 1, 2]);
  });
});
