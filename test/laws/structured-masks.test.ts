// Masks and biases that hide or leave alone whole regions, as exporters write causal rules and padding: loops skip what is
// hidden for all and run the rest as if there were no mask. Reader: someone who changed what rules do to a run of keys.

import { expect, it } from 'vitest';
import type { Case, Structure } from '../conformance/case.js';
import { bitsOf } from '../conformance/memory.js';
import { expectCases, onEveryBackend, runCase } from '../conformance/suite.js';
import { dtypes } from '../references/half.js';

const structures: Structure[] = ['causal', 'right', 'left', 'tiles'];
const axesOf = (structure: Structure) => (structure === 'left' || structure === 'right' ? 'bk' : 'qk');

onEveryBackend((backend) => {
  it('prefill: a mask, a bias, both, with everything else that changes scores', () => {
    const shape: Case = { queries: 90, keys: 330, batch: 2, heads: [2, 1], dims: [8, 8] };
    expectCases(
      structures.flatMap((structure): Case[] => {
        const rule = { axes: axesOf(structure), structure };
        return [
          { ...shape, mask: rule },
          { ...shape, bias: rule },
          { ...shape, bias: { ...rule, dtype: 'float16' }, dtype: 'float16' },
          { ...shape, bias: { ...rule, dtype: 'bfloat16' }, dtype: 'bfloat16' },
          { ...shape, mask: rule, bias: { axes: 'hqk' } },
          { ...shape, mask: rule, bias: { axes: 'bk', structure: 'right' } },
          { ...shape, mask: rule, alibi: 'h', softcap: 3 },
          { ...shape, mask: rule, softcap: 3, sinks: true, extra: 2 },
          { ...shape, mask: rule, causal: true, left: 130, sinkTokens: 3 },
          { ...shape, mask: rule, keyLengths: [330, 141] },
          { ...shape, bias: { ...rule, lowest: -3.4028234663852886e38 } },
        ];
      }),
      backend,
    );
  });

  it('decode: whole pieces of the keys are hidden or left alone', () => {
    const shape: Case = { queries: 1, keys: 500, batch: 2, heads: [4, 1], dims: [16, 8] };
    expectCases(
      structures.flatMap((structure): Case[] =>
        dtypes.flatMap((dtype): Case[] => {
          const rule = { axes: axesOf(structure), structure };
          return [
            { ...shape, dtype, mask: rule },
            { ...shape, dtype, bias: rule },
            { ...shape, dtype, queries: 3, heads: [2, 1], mask: rule, bias: { axes: 'k' } },
            { ...shape, dtype, mask: rule, keyLengths: [440, 65], sinks: true },
          ];
        }),
      ),
      backend,
    );
  });

  // On a GPU what is added decides where the scale is applied.
  it.runIf(backend.device === 'cpu')('a mask of ones and a bias of zeros change no bit', () => {
    for (const queries of [1, 150]) {
      for (const dtype of dtypes) {
        const plain: Case = { queries, keys: 460, heads: [4, 2], dims: [16, 8], dtype, left: 300 };
        const { out, lse } = runCase(plain, backend);
        for (const rules of [
          { mask: { axes: 'qk' } },
          { bias: { axes: 'qk', structure: 'causal', lowest: 0 } },
        ] satisfies Partial<Case>[]) {
          const ruled = runCase({ ...plain, ...rules }, backend);
          expect(bitsOf(ruled.out)).toEqual(bitsOf(out));
          expect(bitsOf(ruled.lse)).toEqual(bitsOf(lse));
        }
      }
    }
  });
});
