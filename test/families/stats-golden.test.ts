// Statistics of attention against numbers computed elsewhere (golden/ext-kv.json), on every backend; and what the file
// says is wrong. Reader: someone who ports a model that looks at its scores.

import { describe, expect, it } from 'vitest';
import { type AttentionStatsOptions, attentionStats, attentionStatsSync } from '../../dist/index.js';
import { selected } from '../conformance/backends.js';
import { onEveryBackend } from '../conformance/suite.js';
import { extKv, type KvCase, kvCasesOf } from '../support/ext-kv.js';
import { expectNear } from '../support/ext-linear.js';
import { expectRefused, extTensor } from '../support/ext-modifiers.js';
import { type ExtTensor, extNumbers } from '../support/ext-patterns.js';

const sums = ['keySum', 'keySumOverQueries', 'keyMaxOverHeads', 'blockSum', 'diagSum', 'probs'] as const;

/** Whether the file gives an lse that is not that of the keys. */
const isGiven = ({ name }: KvCase) => name.includes('lse of a larger set');

onEveryBackend(() => {
  it.each(kvCasesOf('attentionStats'))('$name', (given) => {
    const options = given.options as unknown as AttentionStatsOptions;
    const got = attentionStatsSync(extTensor(given.q), extTensor(given.k), {
      ...options,
      device: selected()?.device,
      lse: isGiven(given) ? extTensor(given.lse) : undefined,
    });
    if (!isGiven(given)) {
      extNumbers(given.lse).forEach((want, i) => {
        expect(got.lse?.data[i]).toSatisfy((x: number) => x === want || Math.abs(x - want) < 3e-6);
      });
    }
    for (const name of sums) {
      if (!options.want.includes(name)) continue;
      expect(got[name]?.dims).toEqual((given[name] as ExtTensor).dims);
      expectNear(got[name] as never, given[name] as ExtTensor);
    }
    const { indices, probs } = given.rowTopK as { indices: ExtTensor; probs: ExtTensor };
    expect(got.rowTopK?.indices.dims).toEqual(indices.dims);
    expect([...(got.rowTopK?.indices.data ?? [])]).toEqual(extNumbers(indices));
    expectNear(got.rowTopK?.probs as never, probs);
  });
});

describe('what the golden file refuses', () => {
  it.each(extKv.invalid.filter(({ op }) => op === 'attentionStats'))('$name', (given) =>
    expectRefused<AttentionStatsOptions>(
      given,
      (q, k, _, options) => attentionStatsSync(q, k, options),
      (q, k, _, options) => attentionStats(q, k, options),
    ),
  );
});
