// S2's layouts (arXiv 2407.17678) against bitmaps worked out elsewhere (golden/s2.json), what the layout object says about
// them, and its arguments. Reader: someone who wants to know which head sees which block.

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ErrorCode,
  type S2LayoutOptions,
  type StridedShardsOptions,
  s2Attention,
  s2AttentionSync,
  s2Layout,
  stridedShards,
} from '../../dist/index.js';
import type { Built } from '../conformance/case.js';
import { defined, integers, places, sometimes, within, yes } from '../conformance/draw.js';
import { run } from '../conformance/judge.js';
import { onEveryBackend } from '../conformance/suite.js';
import { range, toNumbers } from '../references/operand.js';
import { layoutOf, visits } from '../references/strided-shards.js';
import { expectBoth, expectError, thrownBy } from '../support/expect-error.js';
import { expectClose, headsFirst, operandOfHeads, rowsFirst } from '../support/golden.js';
import { type ShardGolden, s2, shardsOf } from '../support/pattern-goldens.js';
import { expectForAll } from '../support/property.js';
import { sampleSize } from '../support/sample.js';
import { tensor } from '../support/tensors.js';

/** A golden layout as the public API states it, with blocks of one token. */
function layoutOptions(golden: ShardGolden): S2LayoutOptions {
  const { kind, ...options } = shardsOf(golden);
  return { ...options, numHeads: golden.numLayouts };
}

const bits = (row: ArrayLike<number>, columns: number): string => {
  const seen = new Set(Array.from(row));
  return range(0, columns)
    .map((k) => (seen.has(k) ? '1' : '0'))
    .join('');
};

describe('goldens', () => {
  it.each(s2.cases)('$name: $note', (golden) => {
    const { numLayouts, numBlocks } = golden;
    const layout = s2Layout(layoutOptions(golden));
    expect(layout.numLayouts).toBe(numLayouts);
    const rows = range(0, numLayouts).map((l) => range(0, numBlocks).map((qb) => bits(layout.row(l, qb), numBlocks)));
    if (golden.bitmaps) expect(rows).toEqual(golden.bitmaps);
    expect(createHash('sha256').update(rows.flat().join('')).digest('hex')).toBe(golden.sha256);
    for (const l of range(0, numLayouts)) {
      for (const qb of range(0, numBlocks)) {
        const visited = range(0, numBlocks).filter((kb) => layout.visits(l, qb, kb));
        expect([...layout.row(l, qb)], `row ${qb} of layout ${l}`).toEqual(visited);
      }
    }
    const { rowOffsets } = layout.csr(numBlocks);
    const visited = range(0, numLayouts).map((l) => Number(rowOffsets.data[(l + 1) * (numBlocks + 1) - 1]));
    expect(visited).toEqual(golden.nnzPerLayout);
  });

  it.each(s2.cases)('$name: what all heads together see', (golden) => {
    const { numLayouts, numBlocks } = golden;
    const layout = s2Layout(layoutOptions(golden));
    let missing = 0;
    for (const qb of range(0, numBlocks)) {
      for (const kb of range(0, qb + 1)) missing += range(0, numLayouts).some((l) => layout.visits(l, qb, kb)) ? 0 : 1;
    }
    expect(missing).toBe(golden.unionMissingPairs);
    expect(layout.coverage(numBlocks).isFull).toBe(golden.unionIsFullCausal);
  });

  it.each(s2.kvRetention)('$name: blocks that later queries still need after block $queryBlock', (golden) => {
    const { Hq, Hkv, localBlocks, vertStride, offset, layoutPer, queryBlock } = golden;
    const heads = { numHeads: Hq, numKvHeads: Hkv };
    const layout = s2Layout({ blockSize: 64, localBlocks, vertStride, headOffset: offset, layoutPer, ...heads });
    const retained = range(0, Hkv).map((kvHead) => [...layout.retainedBlocks(queryBlock, kvHead)]);
    expect(retained.flat().length).toBe(golden.retainedBlocksTotal);
    if (golden.retained) expect(retained).toEqual(golden.retained);
  });

  it('how much less than causal attention a layout visits', () => {
    for (const { N, localBlocks, vertStride, ceiling } of s2.ceilings_block64_layout0) {
      const blocks = N / 64;
      if (blocks > 1024) continue; // more of the same
      const layout = s2Layout({ blockSize: 64, localBlocks, vertStride, numHeads: vertStride });
      const visited = range(0, blocks).reduce((sum, qb) => sum + layout.row(0, qb).length, 0);
      expect((blocks * (blocks + 1)) / 2 / visited).toBeCloseTo(ceiling, 1);
    }
  });

  it.each(['q', 'kv'] as const)('a layout per %s head, through s2Attention()', (layoutPer) => {
    const { numeric } = s2;
    const { blockSize, localBlocks, vertStride, offset: headOffset, scale } = numeric;
    const tensorOf = (heads: number[][][]) => {
      const { data } = operandOfHeads(heads);
      return { type: 'float32', data, dims: [1, heads.length, heads[0].length, heads[0][0].length] };
    };
    const operands = [tensorOf(numeric.q), tensorOf(numeric.k), tensorOf(numeric.v)] as const;
    const options = { blockSize, localBlocks, vertStride, headOffset, layoutPer, scale, returnLse: true as const };
    const { out, lse } = s2AttentionSync(...operands, options);
    const [wantOut, wantLse] =
      layoutPer === 'q' ? [numeric.out_per_q, numeric.lse_per_q] : [numeric.out_per_kv, numeric.lse_per_kv];
    expectClose(out.data as Float32Array, wantOut.flat(2), 5);
    expectClose(lse.data, rowsFirst(wantLse), 5);
  });
});

onEveryBackend((backend) => {
  it.each(['q', 'kv'] as const)('golden: attention with a layout per %s head', (layoutPer) => {
    const { numeric } = s2;
    const built: Built = {
      layout: 'bnhd',
      storage: 'gaps',
      is3d: false,
      problem: {
        query: operandOfHeads(numeric.q),
        key: operandOfHeads(numeric.k),
        value: operandOfHeads(numeric.v),
        scale: numeric.scale,
        pattern: { ...shardsOf(numeric), blockSize: numeric.blockSize, layoutPer, headStep: undefined },
      },
    };
    const { out, lse } = run(built, backend);
    expectClose(toNumbers(out), headsFirst(layoutPer === 'q' ? numeric.out_per_q : numeric.out_per_kv), 5);
    expectClose(toNumbers(lse), rowsFirst(layoutPer === 'q' ? numeric.lse_per_q : numeric.lse_per_kv), 5);
  });
});

type RandomOptions = S2LayoutOptions & { localBlocks: number; numKvHeads: number };

/** Random layouts: any numbers, presets and both ways to count heads. */
const randomLayouts = fc
  .record({
    blockSize: fc.constantFrom(1, 16, 64),
    localBlocks: integers(1, 6),
    vertStride: integers(1, 12),
    numKvHeads: fc.constantFrom(1, 2, 3, 4, 8),
    group: fc.constantFrom(1, 2, 4),
    preset: sometimes(0.3, fc.constantFrom('phi3', 'dkernel')),
    layoutPer: sometimes(0.6, fc.constantFrom('q', 'kv')),
    headStep: sometimes(0.4, integers(0, 5)),
    headOffset: sometimes(0.4, integers(0, 20)),
    homoHead: sometimes(0.2, yes),
    denseHeads: sometimes(0.2, places),
  })
  .map(({ group, preset, layoutPer, homoHead, denseHeads, ...rest }): RandomOptions => {
    const numDenseHeads = denseHeads === undefined || homoHead ? undefined : within(denseHeads, 0, rest.numKvHeads);
    const counted = preset === undefined ? layoutPer : undefined;
    const numHeads = rest.numKvHeads * group;
    return defined({ ...rest, numHeads, preset, layoutPer: counted, homoHead, numDenseHeads });
  });

describe('the layout object', () => {
  const blocks = 30;
  const each = (law: (layout: ReturnType<typeof s2Layout>, options: RandomOptions) => void) =>
    expectForAll(randomLayouts, sampleSize(119), (options) =>
      law(s2Layout({ ...options, requireFullCoverage: false }), options),
    );

  it('row, column, csr and visits say the same, and what the rule says', () => {
    each((layout, options) => {
      const { rowOffsets, columns } = layout.csr(blocks);
      const most = columns.dims[1];
      for (const head of range(0, options.numHeads)) {
        const l = layout.layoutOf(head);
        const { numHeads, numKvHeads, ...pattern } = options;
        const rule = layoutOf({ kind: 'stridedShards', ...pattern } as never, head, numHeads, numKvHeads);
        for (const qb of range(0, blocks)) {
          const row = range(0, blocks).filter((kb) => visits(rule, qb, kb));
          const about = `head ${head} block ${qb}`;
          expect([...layout.row(l, qb)], about).toEqual(row);
          const [begin, end] = [0, 1].map((n) => Number(rowOffsets.data[l * (blocks + 1) + qb + n]));
          expect(
            Array.from(columns.data)
              .slice(l * most + begin, l * most + end)
              .map(Number),
            about,
          ).toEqual(row);
        }
        for (const kb of range(0, blocks)) {
          const { begin, end } = layout.column(l, kb);
          const column = range(0, blocks).filter((qb) => layout.visits(l, qb, kb));
          expect(range(begin, Math.min(end, blocks)), `column ${kb}`).toEqual(column);
        }
      }
    });
  });

  it('coverage says for any number of blocks whether the heads together see all of them', () => {
    each((layout) => {
      const layouts = range(0, layout.numLayouts);
      let isFull = true;
      for (const n of range(0, blocks)) {
        // One block more: its row, of which later ones see no more.
        isFull &&= n === 0 || range(0, n).every((kb) => layouts.some((l) => layout.visits(l, n - 1, kb)));
        expect(layout.coverage(n).isFull, `${n} blocks`).toBe(isFull);
      }
    });
  });

  it('a step or an offset below 0, or beyond vertStride, is the one within it', () => {
    each((layout, { headStep = 1, headOffset = 0, ...options }) => {
      const { vertStride } = layout;
      const with_ = (turns: number) =>
        s2Layout({
          ...options,
          headStep: headStep + turns * vertStride,
          headOffset: headOffset + turns * vertStride,
          requireFullCoverage: false,
        });
      const straight = with_(0);
      for (const turns of [-2, -1, 3]) {
        const turned = with_(turns);
        expect([turned.headStep, turned.headOffset]).toEqual([headStep % vertStride, headOffset % vertStride]);
        for (const l of range(0, straight.numLayouts)) expect(turned.row(l, 17)).toEqual(straight.row(l, 17));
      }
    });
  });

  it('[P4] a block that has left the window and is not of the residue never comes back', () => {
    each((layout, { numHeads }) => {
      for (const head of range(0, numHeads)) {
        const l = layout.layoutOf(head);
        for (const qb of range(0, blocks)) {
          for (const kb of range(0, qb)) if (layout.visits(l, qb + 1, kb)) expect(layout.visits(l, qb, kb)).toBe(true);
        }
      }
    });
  });

  it('[P5] layouts repeat after vertStride steps of the offset', () => {
    each((_, options) => {
      const { headOffset = options.preset === 'phi3' ? 1 : 0, vertStride } = options;
      const [one, other] = [headOffset, headOffset + vertStride].map((offset) =>
        s2Layout({ ...options, headOffset: offset, requireFullCoverage: false }),
      );
      for (const l of range(0, one.numLayouts)) expect(one.row(l, blocks)).toEqual(other.row(l, blocks));
    });
  });

  it('[P3] coverage is what all heads see far away, and full when there are layouts for every residue', () => {
    each((layout, { localBlocks, vertStride }) => {
      const qb = localBlocks + 3 * vertStride;
      const seen = range(0, qb + 1).filter((kb) => range(0, layout.numLayouts).some((l) => layout.visits(l, qb, kb)));
      const coverage = layout.coverage();
      expect(coverage.isFull).toBe(seen.length === qb + 1);
      const residues = range(0, vertStride).filter((r) => seen.includes(r + vertStride));
      expect([...coverage.seen]).toEqual(residues);
      expect([...coverage.missing]).toEqual(range(0, vertStride).filter((r) => !residues.includes(r)));
    });
    for (const vertStride of range(1, 12)) {
      for (const numHeads of range(1, 14)) {
        const { isFull } = s2Layout({ blockSize: 64, localBlocks: 2, vertStride, numHeads }).coverage();
        expect(isFull, `${numHeads} layouts, stride ${vertStride}`).toBe(numHeads >= vertStride);
      }
    }
  });

  it('retainedBlocks are those that some head of the group visits from this block on', () => {
    each((layout, { numHeads, numKvHeads }) => {
      const group = numHeads / numKvHeads;
      for (const kvHead of range(0, numKvHeads)) {
        for (const qb of [0, 1, 7, 20]) {
          const layouts = range(0, group).map((n) => layout.layoutOf(kvHead * group + n));
          const needed = range(0, qb + 1).filter((kb) => layouts.some((l) => layout.visits(l, qb, kb)));
          expect([...layout.retainedBlocks(qb, kvHead)]).toEqual(needed);
        }
      }
    });
  });

  it('slotOf gives the blocks that are held together places of their own', () => {
    each((layout, { numKvHeads }) => {
      for (const kvHead of range(0, numKvHeads)) {
        for (const qb of range(0, blocks)) {
          const held = [...layout.retainedBlocks(qb, kvHead)].map((kb) => layout.slotOf(kb, kvHead));
          const places = new Set(held.map(({ isKept, slot }) => `${isKept} ${slot}`));
          expect(places.size, `block ${qb}`).toBe(held.length);
        }
      }
    });
  });
});

describe('arguments', () => {
  const q = tensor(1, 8, 4, 8);
  const kv = tensor(1, 8, 2, 8);
  const plain = { blockSize: 2, localBlocks: 1, vertStride: 2 };
  const invalid = 'ERR_TILEWISE_INVALID_OPTION' as const;
  type ErrorType = typeof TypeError | typeof RangeError;
  const wrong: [options: Record<string, unknown>, code: ErrorCode, type: ErrorType, says: string[]][] = [
    [{ ...plain, blockSize: undefined }, invalid, TypeError, ['`blockSize`', 'undefined']],
    [{ ...plain, blockSize: 0 }, invalid, RangeError, ['`blockSize`', '0']],
    [{ ...plain, localBlocks: 0 }, invalid, RangeError, ['`localBlocks`', '0']],
    [{ ...plain, localBlocks: 1.5 }, invalid, RangeError, ['1.5']],
    [{ ...plain, localBlocks: [1, 2] }, invalid, TypeError, ['`localBlocks`', "'relative'"]],
    [{ ...plain, localBlocks: [1], positions: 'relative' }, invalid, TypeError, ['`localBlocks`', '[1]']],
    [{ ...plain, vertStride: 0 }, invalid, RangeError, ['`vertStride`', '0']],
    [{ ...plain, layoutPer: 'head' }, invalid, TypeError, ['`layoutPer`', "'head'", "'q' or 'kv'"]],
    [{ ...plain, headStep: 0.5 }, invalid, RangeError, ['`headStep`', '0.5']],
    [{ ...plain, headOffset: '1' }, invalid, TypeError, ['`headOffset`', "'1'"]],
    [{ ...plain, headBase: -1 }, invalid, RangeError, ['`headBase`', '-1']],
    [{ ...plain, headBase: 1 }, invalid, RangeError, ['`headBase` 1', '2']],
    [{ ...plain, headBase: 3, numKvHeads: 4 }, invalid, RangeError, ['`headBase` 3', '`numKvHeads` 4']],
    [{ ...plain, numDenseHeads: 3 }, invalid, RangeError, ['`numDenseHeads` 3']],
    [{ ...plain, numDenseHeads: 1, homoHead: true }, invalid, TypeError, ['`homoHead`', '`numDenseHeads`']],
    [{ ...plain, homoHead: 1 }, invalid, TypeError, ['`homoHead`', '1']],
    [{ ...plain, positions: 'both' }, invalid, TypeError, ['`positions`', "'both'"]],
    [{ ...plain, positions: 'relative', headOffset: 1 }, invalid, TypeError, ['`positions`', '`headOffset`']],
    [{ ...plain, preset: 'phi4' }, invalid, TypeError, ['`preset`', "'phi4'"]],
    [{ ...plain, align: 'left' }, invalid, TypeError, ['`align`', "'left'"]],
    [
      { ...plain, vertStride: 3, requireFullCoverage: true },
      invalid,
      RangeError,
      ['`requireFullCoverage`', '1 of every 3'],
    ],
    [{ ...plain, block_size: 2 }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`block_size`', '`blockSize`']],
    [{ ...plain, window: [1, 1] }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`window`']],
  ];

  it.each(wrong)('%o is refused', (options, code, type, says) =>
    expectBoth(
      () => s2AttentionSync(q, kv, kv, options as unknown as StridedShardsOptions),
      () => s2Attention(q, kv, kv, options as unknown as StridedShardsOptions),
      { code, type, says },
    ),
  );

  it('a layout needs to know the heads, and counts within its own', () => {
    expectError(
      thrownBy(() => s2Layout(plain as S2LayoutOptions)),
      { code: invalid, type: TypeError, says: ['`numHeads`'] },
    );
    expect(thrownBy(() => s2Layout({ ...plain, numHeads: 3, numKvHeads: 2 }))).toBeInstanceOf(Error);
    expect(thrownBy(() => s2Layout({ ...plain, numHeads: 3, positions: 'relative' }))).toBeInstanceOf(Error);
  });

  it('the pattern is a plain frozen value', () => {
    const pattern = stridedShards({ ...plain, preset: 'phi3' });
    expect(pattern).toMatchObject({ kind: 'stridedShards', layoutPer: 'q', headOffset: 1, ...plain });
    expect(Object.isFrozen(pattern)).toBe(true);
  });
});
