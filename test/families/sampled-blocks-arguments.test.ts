// Arguments of sampledBlocks(): every wrong one gets a sentence and a stable code; and what explain() says of right ones.
// Reader: someone who gets an error.

import { describe, expect, it } from 'vitest';
import { attention, attentionSync, explain, type Pattern, sampledBlocks } from '../../dist/index.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { operands } from '../support/tensors.js';

const invalid = 'ERR_TILEWISE_INVALID_OPTION' as const;
const right = { block: 16, keep: 0.5 };

describe('arguments', () => {
  it.each([
    [{ block: 16 }, invalid, TypeError, ['`keep`', '`geometric`', '`power`', 'none']],
    [{ ...right, power: 1 }, invalid, TypeError, ['`keep` and `power`']],
    [{ keep: 0.5 }, invalid, TypeError, ['`block`', 'undefined']],
    [{ ...right, block: 0 }, invalid, RangeError, ['`block`', '0']],
    [{ ...right, keep: [] }, invalid, TypeError, ['`keep`']],
    [{ ...right, keep: 1.5 }, invalid, RangeError, ['`keep[0]`', '1.5']],
    [{ ...right, keep: [1, -0.1] }, invalid, RangeError, ['`keep[1]`', '-0.1']],
    [{ ...right, keep: '0.5' }, invalid, TypeError, ['`keep`', '0.5']],
    [{ block: 16, geometric: 0.5 }, invalid, TypeError, ['`geometric`']],
    [{ block: 16, geometric: {} }, invalid, TypeError, ['`geometric.rho`', 'undefined']],
    [{ block: 16, geometric: { rho: 2 } }, invalid, RangeError, ['`geometric.rho`', '2']],
    [
      { block: 16, geometric: { rho: 0.5, flor: 0.1 } },
      'ERR_TILEWISE_UNKNOWN_OPTION',
      TypeError,
      ['`flor`', '`floor`'],
    ],
    [{ block: 16, power: -1 }, invalid, RangeError, ['`power`', '-1']],
    [{ block: 16, power: Number.NaN }, invalid, RangeError, ['`power`', 'NaN']],
    [{ ...right, seed: -1 }, invalid, RangeError, ['`seed`', '-1']],
    [{ ...right, seed: 2 ** 53 }, invalid, RangeError, ['`seed`']],
    [{ ...right, layer: 2 ** 32 }, invalid, RangeError, ['`layer`']],
    [{ ...right, scope: 'heads' }, invalid, TypeError, ['`scope`', "'heads'"]],
    [{ ...right, unbiased: 1 }, invalid, TypeError, ['`unbiased`', 'true or false', '1']],
    [{ ...right, align: 3 }, invalid, TypeError, ['`align`', '3']],
    [{ ...right, probability: 1 }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`probability`']],
  ] as const)('refuses %j', (options, code, type, says) => {
    const make = () => sampledBlocks(options as never);
    expectError(thrownBy(make), { code, type, says: [...says] });
  });

  it('a pattern that someone else built is checked', async () => {
    const { q, k, v } = operands(8, 2, 8);
    const pattern = { ...sampledBlocks(right), seed: 0.5 } as Pattern;
    await expectBoth(
      () => attentionSync(q, k, v, { pattern }),
      () => attention(q, k, v, { pattern }),
      { code: invalid, type: RangeError, says: ['`pattern.seed`', '0.5'] },
    );
  });

  it.each(['cuSeqlensK', 'pageLists'])('refuses `%s`', (name) => {
    const { q, k, v } = operands(8, 2, 8);
    const more = { cuSeqlensK: { cuSeqlensQ: [0, 8], cuSeqlensK: [0, 8] }, pageLists: pageListsOf() }[name]!;
    expectError(
      thrownBy(() => attentionSync(q, k, v, { pattern: sampledBlocks(right), ...more })),
      { code: invalid, type: TypeError, says: [`\`${name}\``, "'sampledBlocks'"] },
    );
  });
});

const pageListsOf = () => ({ pages: { table: [[0]], pageSize: 8 }, keyLengths: [8], pageLists: [[0]] });

describe('explain()', () => {
  const shape = { queryHeads: 4, kvHeads: 2, headDim: 16 };

  it('counts what is drawn: with certainty the causal pairs, with rho 0 those of the diagonal', () => {
    const pairs = (rho: number) =>
      explain(sampledBlocks({ block: 16, geometric: { rho } }), { ...shape, tokens: 160 }).pairs.useful;
    expect(pairs(1)).toBe((160 * 161) / 2);
    expect(pairs(0)).toBe((10 * 16 * 17) / 2);
    const { idealSpeedup } = explain(sampledBlocks(right), { ...shape, tokens: 160 });
    expect(idealSpeedup.overCausal).toBeGreaterThan(1);
  });

  it('prints and draws, and counts sequences of other lengths', () => {
    const explained = explain(sampledBlocks({ block: 16, power: 1, seed: 3 }), { ...shape, tokens: 160 });
    expect(String(explained)).toContain('sampledBlocks, block 16, power 1, seed 3');
    const rule = { rho: 0.8, floor: 0.05 };
    expect(String(explain(sampledBlocks({ block: 16, geometric: rule }), { ...shape, tokens: 160 }))).toContain(
      'geometric rho 0.8 floor 0.05',
    );
    expect(String(explained)).not.toContain('unbiased');
    expect(explained.toSVG()).toContain('<svg');
    const step = { ...shape, queryLengths: [1, 20], keyLengths: [100, 20] };
    const unbiased = explain(sampledBlocks({ ...right, unbiased: true }), step);
    expect(String(unbiased)).toContain('unbiased');
    expect(unbiased.pairs).toEqual(explain(sampledBlocks(right), step).pairs);
    const certain = explain(sampledBlocks({ block: 16, keep: 1 }), step);
    expect(certain.pairs.useful).toBe(100 + (20 * 21) / 2);
  });
});
