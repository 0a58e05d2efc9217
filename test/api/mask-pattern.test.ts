// maskPattern(): options and the mask they came from hide the same keys, and null means that no options do.
// Reader: someone who changed how a mask is read. Both are held against lists of every form, written out key by key.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  documents,
  type MaskDocuments,
  type MaskPattern,
  maskPattern,
  Tensor,
  type TensorLike,
} from '../../dist/index.js';
import { expectError, thrownBy } from '../support/expect-error.js';
import { expectForAll } from '../support/property.js';
import { tensor } from '../support/tensors.js';

interface Sizes {
  batch: number;
  queries: number;
  keys: number;
}

/** What options show of each batch entry, a character per query and key. */
function shown(sizes: Sizes, options: MaskPattern | MaskDocuments): string[] {
  const { batch, queries, keys } = sizes;
  if ('pattern' in options) {
    const { cuSeqlens, causal } = options.pattern;
    return Array.from({ length: batch }, (_, b) => documentsShown(cuSeqlens[cuSeqlens.length === 1 ? 0 : b], causal));
  }
  const { causal, align, keyStarts, keyLengths } = options;
  return Array.from({ length: batch }, (_, b) => {
    const [start, length] = [keyStarts?.[b] ?? 0, keyLengths?.[b] ?? keys];
    const offset =
      align === undefined || align === 'bottom-right' ? length - queries : align === 'top-left' ? 0 : align.offset;
    let cells = '';
    for (let q = 0; q < queries; q++) {
      for (let k = 0; k < keys; k++) cells += k >= start && k < length && (!causal || k <= q + offset) ? '1' : '0';
    }
    return cells;
  });
}

/** What documents show, likewise; the last total is the number of tokens. */
function documentsShown(cuSeqlens: ArrayLike<number>, causal: boolean): string {
  const totals = Array.from(cuSeqlens);
  const tokens = totals.at(-1)!;
  const documentOf = (token: number) => totals.filter((start) => start <= token).length;
  let cells = '';
  for (let q = 0; q < tokens; q++) {
    for (let k = 0; k < tokens; k++) cells += documentOf(q) === documentOf(k) && (!causal || k <= q) ? '1' : '0';
  }
  return cells;
}

/** All running totals of so many tokens in documents that are not empty. */
function everyTotals(tokens: number): number[][] {
  return Array.from({ length: 2 ** (tokens - 1) }, (_, bits) => [
    0,
    ...Array.from({ length: tokens - 1 }, (_, i) => i + 1).filter((token) => (bits >> (token - 1)) & 1),
    tokens,
  ]);
}

const maskOf = ({ batch, queries, keys }: Sizes, entries: readonly string[]): TensorLike => ({
  type: 'bool',
  data: Uint8Array.from(entries.join(''), Number),
  dims: [batch, 1, queries, keys],
});

/** Every entry that some start and length show, per alignment; what is not among them has no options. */
function everyForm(sizes: Sizes): Set<string>[] {
  const { queries, keys } = sizes;
  const aligns: (MaskPattern['align'] | 'none')[] = ['none', 'bottom-right', 'top-left'];
  for (let offset = -queries; offset <= keys; offset++) aligns.push({ offset });
  const ofDocuments = [false, true].map(
    (causal) => new Set(queries === keys ? everyTotals(keys).map((totals) => documentsShown(totals, causal)) : []),
  );
  const ofOptions = aligns.map((align) => {
    const forms = new Set<string>();
    for (let length = 0; length <= keys; length++) {
      for (let start = 0; start <= length; start++) {
        const [keyStarts, keyLengths] = [Int32Array.of(start), Int32Array.of(length)];
        const options = align === 'none' ? { causal: false } : { causal: true, align };
        for (const form of shown({ ...sizes, batch: 1 }, { ...options, keyStarts, keyLengths })) forms.add(form);
      }
    }
    return forms;
  });
  return [...ofOptions, ...ofDocuments.filter((forms) => forms.size > 0)];
}

function expectRight(sizes: Sizes, entries: readonly string[]): void {
  const found = maskPattern(maskOf(sizes, entries));
  if (found) expect(shown(sizes, found)).toEqual(entries);
  else expect(everyForm(sizes).some((forms) => entries.every((entry) => forms.has(entry)))).toBe(false);
}

describe('the options it returns hide what the mask hides', () => {
  it.each([3, 4])('of every mask of three queries and %i keys, and null only where no options do', (keys) => {
    const sizes = { batch: 1, queries: 3, keys };
    const forms = everyForm(sizes);
    let some = 0;
    for (let bits = 0; bits < 2 ** (3 * keys); bits++) {
      const entry = bits.toString(2).padStart(3 * keys, '0');
      const found = maskPattern(maskOf(sizes, [entry]));
      if (found) expect(shown(sizes, found)).toEqual([entry]);
      expect(found !== null, entry).toBe(forms.some((known) => known.has(entry)));
      some += Number(found !== null);
    }
    expect(some).toBeGreaterThan(20);
  });

  it('of batches whose entries have forms of their own', () => {
    const size = fc.integer({ min: 1, max: 5 });
    const cases = fc
      .record({
        queries: size,
        keys: size,
        batch: fc.integer({ min: 1, max: 3 }),
        align: fc.nat(),
        picks: fc.array(fc.nat(), { minLength: 6, maxLength: 6 }),
        isMixed: fc.boolean(),
      })
      .map(({ align, picks, isMixed, ...sizes }) => {
        const forms = everyForm(sizes).map((known) => [...known]);
        const entries = Array.from({ length: sizes.batch }, (_, b) => {
          const known = forms[(isMixed ? picks[b] : align) % forms.length];
          return known[picks[b + 3] % known.length];
        });
        return { sizes, entries };
      });
    expectForAll(cases, 2000, ({ sizes, entries }) => expectRight(sizes, entries), 'TILEWISE_SWEEP_SEED');
  });
});

describe('what exporters write', () => {
  const causalFrom = (starts: number[], n: number) => ({
    ...maskOf(
      { batch: starts.length, queries: n, keys: n },
      shown({ batch: starts.length, queries: n, keys: n }, { causal: true, keyStarts: Int32Array.from(starts) }),
    ),
  });

  it('causal order, alone and with left padding', () => {
    expect(maskPattern({ ...causalFrom([0], 6), dims: [6, 6] })).toEqual({ causal: true });
    expect(maskPattern(causalFrom([2, 0], 6))).toEqual({ causal: true, keyStarts: Int32Array.of(2, 0) });
  });

  it('right padding, a causal square in a longer cache, a step of decoding', () => {
    const padding = new Tensor('int64', BigInt64Array.of(1n, 1n, 1n, 0n, 1n, 0n, 0n, 0n), [2, 1, 1, 4]);
    expect(maskPattern(padding)).toEqual({ causal: false, keyLengths: Int32Array.of(3, 1) });
    const cached = maskOf({ batch: 1, queries: 2, keys: 5 }, ['1110011110']);
    expect(maskPattern(cached)).toEqual({ causal: true, align: { offset: 2 } });
    expect(maskPattern(Tensor.from([0, 0, 1, 1], 'int32'))).toEqual({ causal: false, keyStarts: Int32Array.of(2) });
  });

  it('documents, causal or not, and of batch entries their own', () => {
    const found = (...entries: string[]) =>
      maskPattern(maskOf({ batch: entries.length, queries: 5, keys: 5 }, entries));
    const [first, second] = [documentsShown([0, 2, 5], true), documentsShown([0, 1, 4, 5], true)];
    expect(found(first)).toEqual({ pattern: documents({ lengths: [2, 3], causal: true }) });
    expect(found(first, first)).toEqual({ pattern: documents({ lengths: [2, 3], causal: true }) });
    expect(found(first, second)).toEqual({
      pattern: documents({
        lengths: [
          [2, 3],
          [1, 3, 1],
        ],
        causal: true,
      }),
    });
    expect(found(documentsShown([0, 2, 5], false))).toEqual({ pattern: documents({ lengths: [2, 3] }) });
    // A document that ends after the next one has begun is none.
    expect(found('1110011100001110011100111')).toBeNull();
  });

  it('more queries than keys, and fewer', () => {
    expect(maskPattern(maskOf({ batch: 1, queries: 2, keys: 4 }, ['10001100']))).toEqual({
      causal: true,
      align: 'top-left',
    });
    expect(maskPattern(maskOf({ batch: 1, queries: 2, keys: 5 }, ['1100011100']))).toEqual({
      causal: true,
      align: { offset: 1 },
    });
  });

  it('the options give the numbers that the mask gives', () => {
    const [q, k] = [tensor(2, 6, 2, 8), tensor(2, 6, 2, 8)];
    const sizes = { batch: 2, queries: 6, keys: 6 };
    const mask = maskOf(sizes, shown(sizes, { causal: true, align: 'top-left', keyLengths: Int32Array.of(4, 6) }));
    const byMask = attentionSync(q, k, k, { mask }).out.data;
    const byOptions = attentionSync(q, k, k, maskPattern(mask)!).out.data;
    for (const [i, value] of byOptions.entries()) expect(value).toBeCloseTo(byMask[i], 6);
  });

  it('heads that differ have none, heads that repeat do', () => {
    const two = (first: string, second: string) => ({
      ...maskOf({ batch: 1, queries: 2, keys: 4 }, [first, second]),
      dims: [1, 2, 2, 2],
    });
    expect(maskPattern(two('1011', '1011'))).toEqual({ causal: true });
    expect(maskPattern(two('1011', '1111'))).toBeNull();
  });
});

describe('what it refuses', () => {
  it.each<[unknown, 'ERR_TILEWISE_DTYPE' | 'ERR_TILEWISE_SHAPE_MISMATCH' | 'ERR_TILEWISE_INVALID_TENSOR', string]>([
    [Tensor.from([0, 1]), 'ERR_TILEWISE_DTYPE', '`bias`'],
    [Tensor.zeros('bool', [1, 1, 1, 2, 2]), 'ERR_TILEWISE_SHAPE_MISMATCH', '[1, 1, 1, 2, 2]'],
    [[1, 0], 'ERR_TILEWISE_INVALID_TENSOR', '`mask`'],
  ])('%o', (mask, code, says) => {
    const error = thrownBy(() => maskPattern(mask as TensorLike));
    expectError(error, { code, type: code === 'ERR_TILEWISE_SHAPE_MISMATCH' ? RangeError : TypeError, says: [says] });
  });
});
