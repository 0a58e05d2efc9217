// dynamicMaskAttention() against numbers computed elsewhere (golden/ext-modifiers.json) and against its definition in float64.
// Reader: someone who changes which keys are kept, or how kept keys reach attention().

import { describe, expect, it } from 'vitest';
import {
  attentionSync,
  type DynamicMaskOptions,
  dynamicMaskAttention,
  dynamicMaskAttentionSync,
  Tensor,
} from '../../dist/index.js';
import { onEveryBackend } from '../conformance/suite.js';
import { expectBoth } from '../support/expect-error.js';
import { expectRefused, extModifiers, extOptions, extTensor } from '../support/ext-modifiers.js';
import { type ExtTensor, extNumbers } from '../support/ext-patterns.js';
import { expectClose } from '../support/golden.js';
import { isSame, tensor } from '../support/tensors.js';

const cases = extModifiers.cases.filter(({ op }) => op === 'dynamicMaskAttention');

/** The definition: keys by the order of (bias, index), then causality, then softmax. */
function defined(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, keep: number | 'positive', isCausal: boolean) {
  const [batch, queries, heads, dim] = q.dims;
  const [, keys, kvHeads, valueDim] = v.dims;
  const out: number[] = [];
  const lse: number[] = [];
  const at = (x: Tensor, ...index: number[]) =>
    Number(x.data[index.reduce((sum, i, axis) => sum + (x.dims[axis] === 1 ? 0 : i) * x.strides[axis], x.offset)]);
  for (let b = 0; b < batch; ++b)
    for (let i = 0; i < queries; ++i)
      for (let h = 0; h < heads; ++h) {
        const kv = Math.floor((h * kvHeads) / heads);
        const all = Array.from({ length: keys }, (_, j) => ({ j, bias: at(bias, b, kv, i, j) }));
        const kept =
          keep === 'positive'
            ? all.filter((key) => key.bias > 0)
            : all.toSorted((x, y) => (x.bias === y.bias ? x.j - y.j : x.bias > y.bias ? -1 : 1)).slice(0, keep);
        const seen = kept.filter(({ j }) => !isCausal || j <= i + keys - queries);
        const scores = seen.map(({ j, bias }) => {
          let sum = 0;
          for (let d = 0; d < dim; ++d) sum += at(q, b, i, h, d) * at(k, b, j, kv, d);
          return sum / Math.sqrt(dim) + bias;
        });
        const max = Math.max(...scores);
        const weights = max === -Infinity ? [] : scores.map((score) => Math.exp(score - max));
        const total = weights.reduce((a, x) => a + x, 0);
        for (let d = 0; d < valueDim; ++d)
          out.push(weights.reduce((sum, x, n) => sum + (x / total) * at(v, b, seen[n].j, kv, d), 0));
        lse[(b * heads + h) * queries + i] = total === 0 ? -Infinity : max + Math.log(total);
      }
  return { out, lse };
}

onEveryBackend(({ device }) => {
  it.each(cases)('$name', async (c) => {
    const [q, k, v] = [c.q, c.k, c.v].map((one) => extTensor(one));
    const keyBias = extTensor(c.keyBias as ExtTensor);
    const options = { ...extOptions(c.options), keyBias, returnLse: true, device } as const;
    const { out, lse } = dynamicMaskAttentionSync(q, k, v, options);
    expectClose(out.data, extNumbers(c.out), 5);
    expectClose(lse.data, extNumbers(c.lse), 5);
    expect([...lse.data].filter((x) => x === -Infinity).length).toBe(c.emptyRows);
    const promised = await dynamicMaskAttention(q, k, v, options);
    expect(isSame(promised.out.data, out.data)).toBe(true);
  });

  it.each([
    { queries: 40, keys: 40, causal: true, keep: 9 },
    { queries: 17, keys: 130, causal: true, keep: 100 },
    { queries: 3, keys: 130, causal: true, keep: 20 },
    { queries: 40, keys: 90, causal: false, keep: 'positive' as const },
    { queries: 5, keys: 90, causal: false, keep: 'positive' as const },
    { queries: 60, keys: 20, causal: true, keep: 7 },
  ])(
    'is the definition: $queries queries, $keys keys, causal $causal, keep $keep',
    ({ queries, keys, causal, keep }) => {
      const [q, k, v] = [tensor(2, queries, 4, 8), tensor(2, keys, 2, 8), tensor(2, keys, 2, 12)];
      const told = {
        causal,
        returnLse: true,
        device,
        ...(keep === 'positive' ? { keep } : { topKeys: keep }),
      } as const;
      for (const rows of [1, queries]) {
        const keyBias = tensor(2, 2, rows, keys);
        const { out, lse } = dynamicMaskAttentionSync(q, k, v, { ...told, keyBias });
        const wanted = defined(q, k, v, keyBias, keep, causal);
        expectClose(out.data, wanted.out, 5);
        expectClose(lse.data, wanted.lse, 5);
        const headsFirst = (x: Tensor<'float32'>) => x.transpose([0, 2, 1, 3]);
        const other = dynamicMaskAttentionSync(headsFirst(q).contiguous(), headsFirst(k), headsFirst(v), {
          ...{ ...told, keyBias },
          layout: 'bhnd',
        });
        expectClose(headsFirst(other.out).contiguous().data, wanted.out, 5);
      }
    },
  );

  it('of equal numbers the first keys are kept, -0 among 0, and -Infinity hides a key that is kept', () => {
    const k = tensor(1, 6, 1, 4);
    const v = new Tensor('float32', Float32Array.of(1, 2, 4, 8, 16, 32), [1, 6, 1, 1]);
    const zeros = Tensor.zeros('float32', [1, 20, 1, 4]);
    const of = (numbers: number[], topKeys: number) => {
      const keyBias = new Tensor('float32', Float32Array.from(numbers), [1, 1, 1, 6]);
      return dynamicMaskAttentionSync(zeros, k, v, { keyBias, topKeys, device }).out.data[0];
    };
    expect(of([0, -0, 0, 0, 0, 0], 2)).toBeCloseTo(1.5, 6);
    expect(of([-1, 0, -1, -0, 0, -1], 2)).toBeCloseTo(5, 6);
    expect(of([-Infinity, 1, -Infinity, -Infinity, -Infinity, -Infinity], 3)).toBe(2);
  });

  it('all keys kept is attention with that bias', () => {
    const [q, k, v, keyBias] = [tensor(1, 30, 4, 16), tensor(1, 50, 2, 16), tensor(1, 50, 2, 16), tensor(1, 2, 1, 50)];
    const whole = attentionSync(q, k, v, { bias: keyBias, biasHeads: 'kv', causal: true, returnLse: true, device });
    const found = dynamicMaskAttentionSync(q, k, v, { keyBias, topKeys: 50, causal: true, returnLse: true, device });
    expectClose(found.out.data, whole.out.data, 5);
    expectClose(found.lse.data, whole.lse.data, 5);
  });

  it.each(['float16', 'bfloat16'] as const)('%s: kept keys are the same numbers', (type) => {
    const [q, k, v] = [tensor(1, 24, 4, 16), tensor(1, 70, 2, 16), tensor(1, 70, 2, 16)].map((x) => x.astype(type));
    const keyBias = tensor(1, 2, 1, 70).astype(type);
    const found = dynamicMaskAttentionSync(q, k, v, { keyBias, topKeys: 20, causal: true, device });
    const [a, b, c, d] = [q, k, v, keyBias].map((x) => x.astype('float32'));
    expectClose(found.out.astype('float32').data, defined(a, b, c, d, 20, true).out, type === 'float16' ? 2 : 1);
  });
});

describe('arguments', () => {
  const refused = extModifiers.invalid.filter(({ op }) => op === 'dynamicMaskAttention');
  it.each(refused)('$name', (entry) =>
    expectRefused<DynamicMaskOptions>(entry, dynamicMaskAttentionSync, dynamicMaskAttention),
  );

  it('says what is missing or unknown', async () => {
    const [q, keyBias] = [tensor(1, 4, 1, 8), tensor(1, 1, 1, 4)];
    for (const [options, code, says] of [
      [{ keyBias }, 'ERR_TILEWISE_INVALID_OPTION', ['`keep`', '`topKeys`']],
      [{ keyBias, topKeys: 0 }, 'ERR_TILEWISE_INVALID_OPTION', ['`topKeys`', '0']],
      [{ keyBias, keep: 'negative' }, 'ERR_TILEWISE_INVALID_OPTION', ['`keep`', "'positive'"]],
      [{ keyBias, topkeys: 3 }, 'ERR_TILEWISE_UNKNOWN_OPTION', ['`topkeys`', '`topKeys`']],
      [{ keyBias, topKeys: 3, bias: keyBias }, 'ERR_TILEWISE_UNKNOWN_OPTION', ['`bias`']],
    ] as const) {
      await expectBoth(
        () => dynamicMaskAttentionSync(q, q, q, options as never),
        () => dynamicMaskAttention(q, q, q, options as never),
        { code, says: [...says] },
      );
    }
  });
});
