// Arguments of neighborhood attention: every wrong one gets a sentence and a stable code; both forms of a call agree.
// Reader: someone adding an option to it.

import { describe, expect, it } from 'vitest';
import {
  attention,
  attentionSync,
  type ErrorCode,
  type NeighborhoodOptions,
  neighborhood,
  neighborhoodAttention,
  neighborhoodAttentionSync,
} from '../../dist/index.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { tensor } from '../support/tensors.js';

const image = tensor(1, 6, 7, 2, 8);
const invalid = 'ERR_TILEWISE_INVALID_OPTION' as const;
const mismatch = 'ERR_TILEWISE_SHAPE_MISMATCH' as const;
type ErrorType = typeof TypeError | typeof RangeError;

const wrong: [options: Record<string, unknown>, code: ErrorCode, type: ErrorType, says: string[]][] = [
  [{ kernelSize: undefined }, invalid, TypeError, ['`kernelSize`', 'undefined']],
  [{ kernelSize: '3' }, invalid, TypeError, ['`kernelSize`', "'3'"]],
  [{ kernelSize: 0 }, invalid, RangeError, ['`kernelSize`', '0']],
  [{ kernelSize: 2.5 }, invalid, RangeError, ['2.5']],
  [{ kernelSize: [3, -1] }, invalid, RangeError, ['`kernelSize[1]`', '-1']],
  [{ kernelSize: [] }, invalid, TypeError, ['`kernelSize`', '[]']],
  [{ kernelSize: [2, 2, 2, 2] }, invalid, TypeError, ['`kernelSize`']],
  [{ kernelSize: [3] }, mismatch, RangeError, ['`kernelSize`', '1', '2', '[6, 7]']],
  [{ kernelSize: [3, 3, 3] }, mismatch, RangeError, ['`kernelSize`', '3', '2', '[6, 7]']],
  [{ kernelSize: [3, 3], stride: [1] }, mismatch, RangeError, ['`stride`', '`kernelSize`']],
  [{ kernelSize: 7 }, invalid, RangeError, ['`kernelSize` 7', '6', 'axis 0']],
  [{ kernelSize: 3, dilation: 3 }, invalid, RangeError, ['`kernelSize` 3', '`dilation` 3', '6']],
  [{ kernelSize: 3, stride: 4 }, invalid, RangeError, ['`stride`', '`kernelSize`', '4']],
  [{ kernelSize: 3, stride: 0 }, invalid, RangeError, ['`stride`', '0']],
  [{ kernelSize: 3, dilation: 0 }, invalid, RangeError, ['`dilation`', '0']],
  [{ kernelSize: 3, causal: 1 }, invalid, TypeError, ['`causal`', '1']],
  [{ kernelSize: 3, causal: [true, 0] }, invalid, TypeError, ['`causal[1]`', '0']],
  [{ kernelSize: 3, kernel_size: 3 }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`kernel_size`', '`kernelSize`']],
  [{ kernelSize: 3, isCausal: true }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`isCausal`', '`causal`']],
  [{ kernelSize: 3, window: [1, 1] }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`window`']],
  [{ kernelSize: 3, alibiSlopes: new Float32Array(2) }, invalid, TypeError, ['`alibiSlopes`']],
  [
    { kernelSize: 3, relativeBias: tensor(2, 5, 4) },
    mismatch,
    RangeError,
    ['`relativeBias`', '[2, 5, 5]', '[2, 5, 4]'],
  ],
  [{ kernelSize: 3, relativeBias: tensor(2, 5) }, mismatch, RangeError, ['`relativeBias`', '[2, 5]']],
  [{ kernelSize: 3, relativeBias: tensor(1, 5, 5) }, mismatch, RangeError, ['`relativeBias`', '[1, 5, 5]']],
  [{ kernelSize: 3, relativeBias: 1 }, 'ERR_TILEWISE_INVALID_TENSOR', TypeError, ['`relativeBias`']],
  [{ kernelSize: 3, out: tensor(1, 42, 2, 8) }, mismatch, RangeError, ['`out`', '[1, 6, 7, 2, 8]']],
];

describe('neighborhoodAttention()', () => {
  it.each(wrong)('%o is refused', (options, code, type, says) =>
    expectBoth(
      () => neighborhoodAttentionSync(image, image, image, options as unknown as NeighborhoodOptions),
      () => neighborhoodAttention(image, image, image, options as unknown as NeighborhoodOptions),
      { code, type, says },
    ),
  );

  it.each([
    ['no token axis', tensor(6, 2, 8)],
    ['four token axes', tensor(1, 2, 2, 2, 2, 2, 8)],
  ])('%s is refused', (_, q) =>
    expectBoth(
      () => neighborhoodAttentionSync(q, q, q, { kernelSize: 1 }),
      () => neighborhoodAttention(q, q, q, { kernelSize: 1 }),
      { code: mismatch, type: RangeError, says: ['`q`', `[${q.dims.join(', ')}]`] },
    ),
  );

  it('queries and keys share the grid', () => {
    const other = tensor(1, 7, 6, 2, 8);
    for (const [k, v] of [
      [other, other],
      [image, other],
    ]) {
      const error = thrownBy(() => neighborhoodAttentionSync(image, k, v, { kernelSize: 3 }));
      expectError(error, { code: mismatch, type: RangeError, says: ['[1, 7, 6, 2, 8]'] });
    }
  });

  it('`out` may have gaps between tokens, as long as one stride walks them', () => {
    const { data } = neighborhoodAttentionSync(image, image, image, { kernelSize: 3 }).out;
    const spread = (strides: number[]) => ({
      type: 'float32',
      data: new Float32Array(2000),
      dims: image.dims,
      strides,
    });
    const out = spread([1000, 140, 20, 8, 1]);
    neighborhoodAttentionSync(image, image, image, { kernelSize: 3, out });
    for (const token of [0, 8, 41]) {
      expect(out.data.slice(20 * token, 20 * token + 16)).toEqual(data.slice(16 * token, 16 * token + 16));
    }
    const uneven = spread([1000, 150, 20, 8, 1]);
    const error = thrownBy(() => neighborhoodAttentionSync(image, image, image, { kernelSize: 3, out: uneven }));
    expectError(error, { code: invalid, type: RangeError, says: ['`out`', '[6, 7]', '[150, 20]'] });
  });

  it('sequences do not apply to grids', () => {
    for (const options of [
      { cuSeqlensQ: Int32Array.of(0, 6), cuSeqlensK: Int32Array.of(0, 6) },
      { keyLengths: Int32Array.of(6) },
      { keyStarts: [1] },
    ]) {
      const line = tensor(1, 6, 2, 8);
      const call = (more: object) => neighborhoodAttentionSync(line, line, line, { kernelSize: 3, ...more });
      const code = (thrownBy(() => call(options)) as { code?: string } | undefined)?.code;
      expect(code).toMatch(/^ERR_TILEWISE_(INVALID_OPTION|UNKNOWN_OPTION)$/);
    }
  });
});

describe('neighborhood()', () => {
  it('is a plain frozen value', () => {
    const pattern = neighborhood({ kernelSize: [3, 5], causal: [true, false] });
    expect(pattern).toMatchObject({ kind: 'neighborhood', kernelSize: [3, 5], stride: 1, causal: [true, false] });
    expect(Object.isFrozen(pattern) && Object.isFrozen(pattern.kernelSize)).toBe(true);
    expect(JSON.parse(JSON.stringify(pattern))).toEqual(pattern);
  });

  it('goes through JSON and attention()', () => {
    const pattern = JSON.parse(JSON.stringify(neighborhood({ kernelSize: 3, stride: 2 })));
    const named = neighborhoodAttentionSync(image, image, image, { kernelSize: 3, stride: 2 });
    expect(attentionSync(image, image, image, { pattern }).out.data).toEqual(named.out.data);
  });

  it.each([
    [{ kind: 'neighborhood' }, invalid, TypeError, ['kernelSize']],
    [{ ...neighborhood({ kernelSize: 3 }), stride: 9 }, invalid, RangeError, ['stride', '9']],
    [{ ...neighborhood({ kernelSize: 3 }), left: 9 }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`left`']],
  ] as const)('a wrong one, %o, is refused', (pattern, code, type, says) =>
    expectBoth(
      () => attentionSync(image, image, image, { pattern: pattern as never }),
      () => attention(image, image, image, { pattern: pattern as never }),
      { code, type, says: [...says] },
    ),
  );

  it('a grid needs a pattern for grids', () => {
    const error = thrownBy(() => attentionSync(image, image, image, { causal: true }));
    expectError(error, { code: mismatch, type: RangeError, says: ['`q`', '[1, 6, 7, 2, 8]'] });
  });

  it('a relative bias needs a neighborhood', () => {
    const line = tensor(1, 6, 2, 8);
    const error = thrownBy(() => attentionSync(line, line, line, { causal: true, relativeBias: tensor(2, 5) }));
    expectError(error, { code: invalid, type: TypeError, says: ['`relativeBias`'] });
  });
});
