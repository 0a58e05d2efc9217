// haloAttention() against numbers computed elsewhere (golden/ext-modifiers.json) and against its definition in float64.
// Reader: someone who changes what a block sees, the border, or the logits of relative positions.

import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  type HaloOptions,
  haloAttention,
  haloAttentionSync,
  neighborhood,
  neighborhoodAttentionSync,
  Tensor,
} from '../../dist/index.js';
import type { Case } from '../conformance/case.js';
import { expectMatrix, onEveryBackend } from '../conformance/suite.js';
import { expectBoth } from '../support/expect-error.js';
import { expectRefused, extModifiers, extOptions, extTensor } from '../support/ext-modifiers.js';
import { type ExtTensor, extNumbers } from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';
import { isSame, tensor } from '../support/tensors.js';

const cases = extModifiers.cases.filter(({ op }) => op === 'haloAttention');

interface Drawn {
  readonly lengths: readonly number[];
  readonly block: number[];
  readonly halo: number[];
  readonly border: 'mask' | 'zero';
  readonly relative: boolean;
}

/** The definition, over every place of a window, inside the map or not. */
function defined(q: Tensor, k: Tensor, v: Tensor, { lengths, block, halo, border }: Drawn, relative?: Tensor[]) {
  const at = (x: Tensor, ...index: number[]) =>
    Number(x.data[index.reduce((sum, i, axis) => sum + i * x.strides[axis], x.offset)]);
  const places = (sizes: readonly number[]): number[][] =>
    sizes.reduce<number[][]>(
      (all, size) => all.flatMap((lead) => [...Array(size).keys()].map((i) => [...lead, i])),
      [[]],
    );
  const [batch, heads, dim] = [q.dims[0], q.dims.at(-2)!, q.dims.at(-1)!];
  const [kvHeads, valueDim] = v.dims.slice(-2);
  const out: number[] = [];
  const lse: number[][] = Array.from({ length: batch * heads }, () => []);
  for (let b = 0; b < batch; ++b)
    for (const query of places(lengths))
      for (let h = 0; h < heads; ++h) {
        const kv = Math.floor((h * kvHeads) / heads);
        const window = places(block.map((size, a) => size + 2 * halo[a]))
          .map((offset) => offset.map((o, a) => Math.floor(query[a] / block[a]) * block[a] - halo[a] + o))
          .map((key) => ({ key, isInside: key.every((i, a) => i >= 0 && i < lengths[a]) }))
          .filter(({ isInside }) => isInside || border === 'zero');
        const weights = window.map(({ key, isInside }) => {
          let score = 0;
          for (let d = 0; d < dim; ++d) {
            const of = at(q, b, ...query, h, d);
            if (isInside) score += of * at(k, b, ...key, kv, d);
            relative?.forEach((r, a) => {
              score += of * at(r, key[a] - query[a] + block[a] + halo[a] - 1, d);
            });
          }
          return Math.exp(score / Math.sqrt(dim));
        });
        const total = weights.reduce((a, x) => a + x, 0);
        for (let d = 0; d < valueDim; ++d)
          out.push(
            window.reduce(
              (sum, { key, isInside }, n) => sum + (isInside ? (weights[n] / total) * at(v, b, ...key, kv, d) : 0),
              0,
            ),
          );
        lse[b * heads + h].push(Math.log(total));
      }
  return { out, lse: lse.flat() };
}

const relativeOf = ({ lengths, block, halo }: Drawn, dim: number) =>
  lengths.map((_, a) => tensor(2 * (block[a] + halo[a]) - 1, dim));

const drawn: Drawn[] = (['mask', 'zero'] as const).flatMap((border) =>
  [false, true].flatMap((relative) => [
    { lengths: [37], block: [8], halo: [3], border, relative },
    { lengths: [9, 14], block: [4, 3], halo: [1, 2], border, relative },
    { lengths: [3, 5, 4], block: [2, 2, 3], halo: [1, 0, 6], border, relative },
  ]),
);

onEveryBackend((backend) => {
  const { device } = backend;

  it.each(cases)('$name', async (c) => {
    const [q, k, v] = [c.q, c.k, c.v].map((one) => extTensor(one));
    const relativeKeys = (c.relativeKeys as ExtTensor[] | undefined)?.map((one) => extTensor(one));
    const options = {
      ...(extOptions(c.options) as unknown as HaloOptions),
      relativeKeys,
      returnLse: true,
      device,
    } as const;
    const { out, lse } = haloAttentionSync(q, k, v, options);
    expectClose(out.data, extNumbers(c.out), 5);
    expectClose(lse.data, extNumbers(c.lse), 5);
    const promised = await haloAttention(q, k, v, options);
    expect(isSame(promised.out.data, out.data) && isSame(promised.lse.data, lse.data)).toBe(true);
  });

  it.each(drawn)('is the definition: $lengths, block $block, halo $halo, $border, relative $relative', (c) => {
    const [q, k, v] = [tensor(2, ...c.lengths, 4, 8), tensor(2, ...c.lengths, 2, 8), tensor(2, ...c.lengths, 2, 12)];
    const relativeKeys = c.relative ? relativeOf(c, 8) : undefined;
    const { block, halo, border } = c;
    const options = { block, halo, border, relativeKeys, returnLse: true, device } as const;
    const { out, lse } = haloAttentionSync(q, k, v, options);
    const wanted = defined(q, k, v, c, relativeKeys);
    expectClose(out.data, wanted.out, 5);
    expectClose(lse.data, wanted.lse, 5);

    const rank = c.lengths.length;
    const order = [0, rank + 1, ...c.lengths.map((_, a) => a + 1), rank + 2];
    const back = [0, ...c.lengths.map((_, a) => a + 2), 1, rank + 2];
    const [hq, hk, hv] = [q, k, v].map((x) => x.transpose(order).contiguous());
    const into = Tensor.zeros('float32', [2, 4, ...c.lengths, 12]);
    const other = haloAttentionSync(hq, hk, hv, { ...options, layout: 'bhnd', out: into, returnLse: undefined });
    expect(other.lse).toBeUndefined();
    expectClose(into.transpose(back).contiguous().data, wanted.out, 5);
  });

  it.each(['float16', 'bfloat16'] as const)('%s', (type) => {
    const c = drawn.find(({ relative, border, lengths }) => relative && border === 'zero' && lengths.length === 2)!;
    const [q, k, v] = [0, 1, 2].map(() => tensor(1, ...c.lengths, 2, 16).astype(type));
    const relativeKeys = relativeOf(c, 16).map((one) => one.astype(type));
    const { block, halo, border } = c;
    const { out } = haloAttentionSync(q, k, v, { block, halo, border, relativeKeys, device });
    const [a, b, d] = [q, k, v].map((one) => one.astype('float32'));
    const wanted = defined(
      a,
      b,
      d,
      c,
      relativeKeys.map((one) => one.astype('float32')),
    );
    expectClose(out.astype('float32').data, wanted.out, type === 'float16' ? 2 : 1);
  });

  it('is a neighborhood where windows do not reach an edge', () => {
    for (const c of extModifiers.cases.filter(({ op }) => op === 'neighborhoodAttention')) {
      const [q, k, v] = [c.q, c.k, c.v].map((one) => extTensor(one));
      const { kernelSize, stride } = c.options as { kernelSize: number[]; stride: number[] };
      const block = stride;
      const halo = kernelSize.map((size, a) => (size - stride[a]) / 2);
      const shifted = neighborhoodAttentionSync(q, k, v, { kernelSize, stride, device }).out;
      const cut = haloAttentionSync(q, k, v, { block, halo, device }).out;
      const clipped = attentionSync(q, k, v, { pattern: neighborhood({ kernelSize, stride, border: 'clip' }), device });
      expect(isSame(cut.data, clipped.out.data)).toBe(true);
      expectClose(shifted.data, extNumbers(c.out), 5);
      const width = c.out.dims.slice(-2).reduce((a, n) => a * n, 1);
      for (const row of c.haloRows as number[])
        expectClose(
          cut.data.slice(row * width, (row + 1) * width),
          [...shifted.data.slice(row * width, (row + 1) * width)],
          5,
        );
    }
  });

  it('borders that clip, at every size of a tile, dilated, causal and with windows beyond the map', () => {
    const base = { heads: [4, 2] as [number, number], dims: [32, 24] as [number, number] };
    const grids = [
      { grid: [150], neighborhood: { kernelSize: 40, stride: 16 } },
      { grid: [70], neighborhood: { kernelSize: 200, stride: 3 } },
      { grid: [9, 30], neighborhood: { kernelSize: [5, 9], stride: [2, 4], dilation: [1, 3] } },
      {
        grid: [8, 9],
        neighborhood: { kernelSize: [5, 12], stride: [2, 4], causal: [true, false] },
        relativeBias: true as const,
      },
      { grid: [4, 5, 6], neighborhood: { kernelSize: [3, 7, 4], stride: [1, 2, 4] } },
    ];
    const matrix: Case[] = (['float32', 'float16', 'bfloat16'] as const).flatMap((dtype) =>
      grids.map(({ grid, neighborhood, ...more }) => {
        const tokens = grid.reduce((a, n) => a * n, 1);
        return {
          ...base,
          ...more,
          dtype,
          grid,
          queries: tokens,
          keys: tokens,
          neighborhood: { ...neighborhood, border: 'clip' },
        };
      }),
    );
    expectMatrix(matrix, backend);
  });
});

describe('arguments', () => {
  it.each(extModifiers.invalid.filter(({ op }) => op === 'haloAttention'))('$name', (entry) =>
    expectRefused<HaloOptions>(entry, haloAttentionSync, haloAttention),
  );

  it('says what does not go together', async () => {
    const q = tensor(1, 6, 1, 8);
    for (const [options, code, says] of [
      [
        { block: 2, halo: 1, border: 'zero', activation: 'sigmoid' },
        'ERR_TILEWISE_INVALID_OPTION',
        ['`border`', "'sigmoid'"],
      ],
      [{ block: 2 }, 'ERR_TILEWISE_INVALID_OPTION', ['`halo`']],
      [{ block: 2, halo: 1, kernelSize: 3 }, 'ERR_TILEWISE_UNKNOWN_OPTION', ['`kernelSize`']],
    ] as const) {
      await expectBoth(
        () => haloAttentionSync(q, q, q, options as never),
        () => haloAttention(q, q, q, options as never),
        { code, says: [...says] },
      );
    }
    const wide = tensor(1, 600, 1, 4000);
    const relativeKeys = [tensor(1199, 4000)];
    await expectBoth(
      () => haloAttentionSync(wide, wide, wide, { block: 500, halo: 100, relativeKeys }),
      () => haloAttention(wide, wide, wide, { block: 500, halo: 100, relativeKeys }),
      { code: 'ERR_TILEWISE_SHAPE_MISMATCH', says: ['`relativeKeys`', '600', '4000'] },
    );
  });
});
