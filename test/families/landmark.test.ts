// landmarkAttention() against numbers computed elsewhere (golden/ext-modifiers.json) and against its definition in float64.
// Reader: someone who changes how its calls are put together.

import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  type LandmarkOptions,
  landmarkAttention,
  landmarkAttentionSync,
  Tensor,
} from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { expectBoth } from '../support/expect-error.js';
import { expectRefused, extModifiers, extOptions, extTensor } from '../support/ext-modifiers.js';
import { extNumbers } from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';
import { isSame, tensor } from '../support/tensors.js';

const cases = extModifiers.cases.filter(({ op }) => op === 'landmarkAttention');

/** The definition: weights of the own block and of earlier landmarks, and of each landmark's block. */
function defined(q: Tensor, k: Tensor, v: Tensor, blockSize: number, blocks?: number[][]): number[] {
  const [batch, queries, heads, dim] = q.dims;
  const [, keys, kvHeads, valueDim] = v.dims;
  const at = (x: Tensor, ...index: number[]) =>
    Number(x.data[index.reduce((sum, i, axis) => sum + i * x.strides[axis], x.offset)]);
  const out: number[] = [];
  const softmax = (scores: number[]) => {
    const weights = scores.map((score) => Math.exp(score - Math.max(...scores)));
    const total = weights.reduce((a, x) => a + x, 0);
    return weights.map((weight) => weight / total);
  };
  for (let b = 0; b < batch; ++b)
    for (let i = 0; i < queries; ++i)
      for (let h = 0; h < heads; ++h) {
        const kv = Math.floor((h * kvHeads) / heads);
        const position = i + keys - queries;
        const weightOf = new Map<number, number>();
        if (position >= 0) {
          const own = Math.floor(position / blockSize);
          const score = (j: number) => {
            let sum = 0;
            for (let d = 0; d < dim; ++d) sum += at(q, b, i, h, d) * at(k, b, j, kv, d);
            return sum / Math.sqrt(dim);
          };
          const tokens = (block: number) => Array.from({ length: blockSize - 1 }, (_, t) => block * blockSize + t);
          const local = tokens(own).filter((j) => j <= position);
          const earlier = (blocks?.[h] ?? Array.from({ length: own }, (_, m) => m)).filter((m) => m < own);
          const joint = softmax([...local.map(score), ...earlier.map((m) => score((m + 1) * blockSize - 1))]);
          for (const [n, j] of local.entries()) weightOf.set(j, joint[n]);
          earlier.forEach((m, n) => {
            const inner = softmax(tokens(m).map(score));
            for (const [t, j] of tokens(m).entries()) weightOf.set(j, joint[local.length + n] * inner[t]);
          });
        }
        for (let d = 0; d < valueDim; ++d)
          out.push([...weightOf].reduce((sum, [j, weight]) => sum + weight * at(v, b, j, kv, d), 0));
      }
  return out;
}

onEveryBackend(({ device }) => {
  it.each(cases)('$name', async (c) => {
    const [q, k, v] = [c.q, c.k, c.v].map((one) => extTensor(one));
    const options = { ...(extOptions(c.options) as unknown as LandmarkOptions), device };
    const { out } = landmarkAttentionSync(q, k, v, options);
    expectClose(out.data, extNumbers(c.out), 5);
    const promised = await landmarkAttention(q, k, v, options);
    expect(isSame(promised.out.data, out.data)).toBe(true);
  });

  it.each([
    { queries: 150, keys: 150, blockSize: 16 },
    { queries: 20, keys: 300, blockSize: 64 },
    { queries: 300, keys: 280, blockSize: 33 },
    { queries: 2, keys: 700, blockSize: 2 },
    { queries: 9, keys: 100, blockSize: 8, blocks: [[0, 3], [1, 2, 11], [], [9]] },
  ])(
    'is the definition: $queries queries, $keys keys, blocks of $blockSize',
    ({ queries, keys, blockSize, blocks }) => {
      const [q, k, v] = [tensor(2, queries, 4, 8), tensor(2, keys, 2, 8), tensor(2, keys, 2, 12)];
      const wanted = defined(q, k, v, blockSize, blocks);
      const { out } = landmarkAttentionSync(q, k, v, { blockSize, blocks, device });
      expectClose(out.data, wanted, 5);
      const turned = (x: Tensor<'float32'>) => x.transpose([0, 2, 1, 3]);
      const into = Tensor.zeros('float32', [2, 4, queries, 12]);
      const other = landmarkAttentionSync(turned(q).contiguous(), turned(k), turned(v).contiguous(), {
        ...{ blockSize, blocks, device },
        layout: 'bhnd',
        out: into,
      });
      expect(other.out).toBe(into);
      expectClose(turned(into).contiguous().data, wanted, 5);
    },
  );

  it.each(['float16', 'bfloat16'] as const)('%s', (type) => {
    const [q, k, v] = [tensor(1, 70, 4, 16), tensor(1, 70, 2, 16), tensor(1, 70, 2, 16)].map((x) => x.astype(type));
    const { out } = landmarkAttentionSync(q, k, v, { blockSize: 8, device });
    const [a, b, c] = [q, k, v].map((x) => x.astype('float32'));
    expectClose(out.astype('float32').data, defined(a, b, c, 8), type === 'float16' ? 2 : 1);
  });

  it('no landmark yet is causal attention; queries before the keys get 0', () => {
    const [q, k] = [tensor(1, 9, 2, 8), tensor(1, 7, 2, 8)];
    const { out } = landmarkAttentionSync(q, k, k, { blockSize: 8, device });
    expectClose(out.data, [...attentionSync(q, k, k, { causal: true, device }).out.data], 5);
    expect(out.data.slice(0, 2 * 2 * 8).every((x) => x === 0)).toBe(true);
  });
});

describe('arguments', () => {
  it.each(extModifiers.invalid.filter(({ op }) => op === 'landmarkAttention'))('$name', (entry) =>
    expectRefused<LandmarkOptions>(entry, landmarkAttentionSync, landmarkAttention),
  );

  it('says what is unknown or wrong', async () => {
    const q = tensor(1, 20, 2, 8);
    for (const [options, code, says] of [
      [{ blockSize: 4, returnLse: true }, 'ERR_TILEWISE_UNKNOWN_OPTION', ['`returnLse`']],
      [{ blockSize: 4, blocks: [[0]] }, 'ERR_TILEWISE_SHAPE_MISMATCH', ['`blocks`', '2']],
      [{ blockSize: 4, blocks: [[0], [2, 1]] }, 'ERR_TILEWISE_INVALID_OPTION', ['`blocks[1][1]`', '1']],
      [{ blockSize: 4, out: tensor(1, 20, 2, 9) }, 'ERR_TILEWISE_SHAPE_MISMATCH', ['`out`']],
    ] as const) {
      await expectBoth(
        () => landmarkAttentionSync(q, q, q, options as never),
        () => landmarkAttention(q, q, q, options as never),
        { code, says: [...says] },
      );
    }
  });
});
