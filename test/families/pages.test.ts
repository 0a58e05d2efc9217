// Paged keys: attention over pages is attention over the rows they hold, wherever pages lie and whatever else is on them.
// Reader: someone with a paged KV cache. Cases put NaN into every slot that no length reaches, see conformance/pages.ts.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AttentionOptions, attentionSync, type ErrorCode, type PagedKeys, Tensor } from '../../dist/index.js';
import type { Case } from '../conformance/case.js';
import { defined, either, integers, places, seeds, sizes, sometimes, within, yes } from '../conformance/draw.js';
import { pairwise } from '../conformance/pairwise.js';
import { expectCases, expectMatrix, expectSameBits, onEveryBackend, runCase, sweep } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { isSame, tensor } from '../support/tensors.js';

const pageSizes = [1, 7, 16, 64];

/** Lengths of three sequences: one ends inside a page unless pages hold one key, one at a page's end, one has no key. */
const lengthsFor = (size: number, keys: number): number[] => [keys - Math.floor(size / 2), keys - size, 0];

onEveryBackend((backend) => {
  it.each(pageSizes)('pages of %i keys: decode steps and prefills, of every type, in both layouts', (size) => {
    const factors = {
      queries: [1, 3, 40],
      heads: [
        [1, 1],
        [4, 1],
        [8, 2],
      ],
      dtype: dtypes,
      layout: ['bnhd', 'bhnd'],
      dims: [
        [64, 64],
        [32, 80],
        [17, 33],
      ],
      causal: [undefined, true],
      window: [undefined, { left: 30, sinkTokens: 3 }],
      modifiers: [
        {},
        { softcap: 5 },
        { alibi: 'h' },
        { sinks: true },
        { bias: { axes: 'hqk', hidden: 0.2 } },
        { extra: 5 },
      ],
    };
    const names = Object.keys(factors) as (keyof typeof factors)[];
    const cases = pairwise(names.map((name) => factors[name].length)).map((row, seed) => {
      const pick = Object.fromEntries(names.map((name, i) => [name, factors[name][row[i]]]));
      const { window, modifiers, ...rest } = pick as Record<string, object>;
      const keys = size * Math.ceil((70 + 3 * seed) / size);
      const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
      return {
        seed,
        batch: 3,
        keys,
        ...given,
        ...window,
        ...modifiers,
        keyLengths: lengthsFor(size, keys),
        pages: { size },
      } as Case;
    });
    expectMatrix(cases, backend);
  });

  it('a page may hold all keys, and more than there are', () => {
    expectCases(
      [
        { queries: 5, keys: 90, keyLengths: [90], pages: { size: 90 } },
        { queries: 5, keys: 90, keyLengths: [60], pages: { size: 1000 }, causal: true },
        { queries: 1, keys: 700, heads: [4, 2], keyLengths: [700], pages: { size: 512, spare: 0 } },
      ],
      backend,
    );
  });

  it('a long decode step, split over its keys', () => {
    const common = { queries: 1, keys: 2100, heads: [4, 2], dims: [64, 64], keyLengths: [2099] } satisfies Case;
    expectCases(
      pageSizes.map((size) => ({ ...common, pages: { size } })),
      backend,
    );
  });

  it('where pages lie changes no bit', () => {
    for (const queries of [1, 70]) {
      const common = {
        queries,
        keys: 300,
        heads: [4, 2] as [number, number],
        dims: [32, 32] as [number, number],
        keyLengths: [290],
      };
      const outputs = [1, 2, 3].map((spare) => runCase({ ...common, pages: { size: 16, spare } }, backend));
      expectSameBits(outputs[0], outputs[1], `${queries} queries`);
      expectSameBits(outputs[0], outputs[2], `${queries} queries`);
    }
  });
});

const pagedCases: fc.Arbitrary<Case> = fc
  .record({
    seed: seeds,
    dtype: fc.constantFrom('float32', 'float16', 'bfloat16'),
    layout: fc.constantFrom('bnhd', 'bhnd'),
    batch: fc.constantFrom(1, 1, 2, 4),
    kv: fc.constantFrom(1, 2, 3),
    ratio: fc.constantFrom(1, 2, 4),
    queries: either(0.5, sizes(1, 80), fc.constant(1)),
    keys: sizes(1, 400),
    dims: fc.tuple(fc.constantFrom(8, 16, 33, 64, 128), fc.constantFrom(16, 64, 80)),
    keyLengths: fc.tuple(places, places, places, places),
    pages: fc.record({ size: fc.constantFrom(1, 2, 3, 7, 8, 16, 17, 64, 128, 500), spare: integers(0, 5) }),
    causal: sometimes(0.6, yes),
    left: sometimes(0.3, sizes(1, 200)),
    sinkTokens: sometimes(0.2, sizes(1, 40)),
    mask: sometimes(0.2, fc.record({ axes: fc.constantFrom('bk', 'qk'), hidden: fc.constant(0.3) })),
    align: sometimes(0.2, fc.oneof(fc.constant('top-left' as const), integers(-20, 20))),
  })
  .map(({ kv, ratio, pages, keyLengths, ...rest }): Case => {
    const keys = pages.size * Math.ceil(rest.keys / pages.size);
    const lengths = keyLengths.slice(0, rest.batch).map((place) => within(place, 0, keys));
    return defined({ ...rest, keys, heads: [kv * ratio, kv], pages, keyLengths: lengths });
  });

sweep('calls on pages', pagedCases, 80);

describe('pages', () => {
  const [q, k] = [tensor(2, 3, 2, 8), tensor(5, 4, 2, 8)];
  const table = (...entries: number[]) => new Tensor('int32', Int32Array.from(entries), [2, entries.length / 2]);
  const pages: PagedKeys = { table: table(4, 0, 2, 2), pageSize: 4 };
  const keyLengths = Int32Array.of(5, 8);
  const call = (options: AttentionOptions) => attentionSync(q, k, k, { keyLengths, pages, ...options });

  it('may be shared by sequences, and by places of one sequence', () => {
    const rows = [4, 0, 2, 2].map((page) => k.slice(0, page, page + 1).data);
    const flat = new Tensor('float32', Float32Array.from(rows.flatMap((row) => [...row])), [2, 8, 2, 8]);
    expect(
      isSame(call({ device: 'cpu' }).out.data, attentionSync(q, flat, flat, { keyLengths, device: 'cpu' }).out.data),
    ).toBe(true);
  });

  it('may be views of one pool of keys and values', () => {
    const pool = tensor(5, 2, 4, 2, 8);
    const view = (which: number) =>
      new Tensor('float32', pool.data, [5, 4, 2, 8], { strides: [128, 16, 8, 1], offset: 64 * which });
    const dense = (which: number) =>
      new Tensor(
        'float32',
        Float32Array.from({ length: 320 }, (_, i) => pool.data[Math.floor(i / 64) * 128 + 64 * which + (i % 64)]),
        [5, 4, 2, 8],
      );
    const of = (which: (n: number) => Tensor) =>
      attentionSync(q, which(0), which(1), { keyLengths, pages, device: 'cpu' }).out.data;
    expect(isSame(of(view), of(dense))).toBe(true);
  });

  const invalid = 'ERR_TILEWISE_INVALID_OPTION';
  const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH';
  it.each<[string, AttentionOptions, ErrorCode, string[]]>([
    ['no lengths', { keyLengths: undefined }, invalid, ['`pages` needs `keyLengths`']],
    [
      'an entry that is no page',
      { pages: { ...pages, table: table(4, 5, 2, 2) } },
      invalid,
      ['`pages.table` [0, 1]', '0 to 4', '5'],
    ],
    ['a negative entry', { pages: { ...pages, table: table(-1, 0, 2, 2) } }, invalid, ['[0, 0]', '-1']],
    [
      'a table of another batch',
      { pages: { ...pages, table: new Tensor('int32', Int32Array.of(0, 1), [1, 2]) } },
      mismatch,
      ['[1, 2]', '2 sequences'],
    ],
    [
      'a table with one axis',
      { pages: { ...pages, table: new Tensor('int32', Int32Array.of(0, 1), [2]) } },
      mismatch,
      ['[sequences, pagesPerSequence]'],
    ],
    [
      'a table of floats',
      { pages: { ...pages, table: tensor(2, 2) } },
      'ERR_TILEWISE_DTYPE',
      ['`pages.table`', 'int32'],
    ],
    ['pages of another size', { pages: { ...pages, pageSize: 8 } }, mismatch, ['`k`', 'pages of 8', 'not of 4']],
    ['pages of no size', { pages: { ...pages, pageSize: 0 } }, invalid, ['`pages.pageSize`', '0']],
    ['lengths beyond the pages', { keyLengths: Int32Array.of(5, 9) }, invalid, ['keyLengths[1]', '0 to 8']],
    ['an unknown name', { pages: { ...pages, size: 1 } as PagedKeys }, 'ERR_TILEWISE_UNKNOWN_OPTION', ['`size`']],
    ['not an object', { pages: 16 as never }, invalid, ['{ table, pageSize }', '16']],
    [
      'packed sequences',
      { cuSeqlensQ: Int32Array.of(0), cuSeqlensK: Int32Array.of(0), keyLengths: undefined },
      invalid,
      ['pages'],
    ],
  ])('refuses %s', (_, options, code, says) => {
    expectError(
      thrownBy(() => call(options)),
      { code, says },
    );
  });
});
