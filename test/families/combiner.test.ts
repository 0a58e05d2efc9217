// combinerAttention() against its definition in float64: one softmax over the own segment's tokens and the summaries of
// earlier ones. Reader: someone who changes how its calls are put together.

import { expect, it } from 'vitest';
import { combinerAttention, combinerAttentionSync, Tensor } from '../../dist/index.js';
import { Random } from '../conformance/random.js';
import { expectBoth } from '../support/expect-error.js';
import { isSame, tensor } from '../support/tensors.js';

interface Sizes {
  readonly batch: number;
  readonly tokens: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly valueDim: number;
  readonly segment: number;
}

/** Rows [batch, tokens, heads, dim], by accessor. */
type Rows = (b: number, token: number, head: number) => Float32Array;
const rowsOf =
  (data: Float32Array, tokens: number, heads: number, dim: number): Rows =>
  (b, token, head) =>
    data.subarray(((b * tokens + token) * heads + head) * dim, ((b * tokens + token) * heads + head + 1) * dim);

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((sum, x, d) => sum + x * b[d], 0);
const mean = (rows: ArrayLike<number>[]) =>
  Array.from(rows[0], (_, d) => rows.reduce((sum, row) => sum + row[d], 0) / rows.length);

/** Softmax of scale q·k over values, and its lse. */
function attend(query: ArrayLike<number>, keys: ArrayLike<number>[], values: ArrayLike<number>[], scale: number) {
  const scores = keys.map((key) => scale * dot(query, key));
  const max = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - max));
  const sum = weights.reduce((a, b) => a + b);
  const out = Array.from(
    values[0],
    (_, d) => values.reduce((total, value, j) => total + weights[j] * value[d], 0) / sum,
  );
  return { out, lse: max + Math.log(sum) };
}

function reference(s: Sizes, q: Rows, k: Rows, v: Rows, scale: number, given?: { keys: Rows; values: Rows }) {
  const out: number[] = [];
  const lse: number[] = [];
  for (let b = 0; b < s.batch; ++b) {
    for (let i = 0; i < s.tokens; ++i) {
      for (let h = 0; h < s.heads; ++h) {
        const kv = Math.floor((h * s.kvHeads) / s.heads);
        const own = Math.floor(i / s.segment);
        const tokens = (segment: number, end: number) =>
          Array.from({ length: end - segment * s.segment }, (_, t) => segment * s.segment + t);
        const keys: ArrayLike<number>[] = tokens(own, i + 1).map((j) => k(b, j, kv));
        const values: ArrayLike<number>[] = tokens(own, i + 1).map((j) => v(b, j, kv));
        for (let segment = 0; segment < own; ++segment) {
          const all = tokens(segment, (segment + 1) * s.segment);
          const [allKeys, allValues] = [all.map((j) => k(b, j, kv)), all.map((j) => v(b, j, kv))];
          keys.push(given ? given.keys(b, segment, kv) : mean(allKeys));
          values.push(
            given
              ? given.values(b, segment, kv)
              : attend(mean(all.map((j) => q(b, j, h))), allKeys, allValues, scale).out,
          );
        }
        const row = attend(q(b, i, h), keys, values, scale);
        out.push(...row.out);
        lse[(b * s.heads + h) * s.tokens + i] = row.lse;
      }
    }
  }
  return { out, lse };
}

const random = new Random(Number(process.env.TILEWISE_SEED));
const draw = (...dims: number[]) =>
  new Tensor(
    'float32',
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.uniform() * 2 - 1),
    dims,
  );

function expectNear(found: ArrayLike<number>, wanted: ArrayLike<number>) {
  expect(found.length).toBe(wanted.length);
  const worst = Array.from(wanted).reduce((most, x, i) => Math.max(most, Math.abs(found[i] - x)), 0);
  expect(worst).toBeLessThan(5e-6);
}

const cases: Sizes[] = [
  { batch: 2, tokens: 48, heads: 2, kvHeads: 2, dim: 16, valueDim: 16, segment: 16 },
  { batch: 1, tokens: 75, heads: 4, kvHeads: 2, dim: 8, valueDim: 12, segment: 10 },
  { batch: 1, tokens: 9, heads: 1, kvHeads: 1, dim: 8, valueDim: 8, segment: 1 },
  { batch: 1, tokens: 20, heads: 2, kvHeads: 1, dim: 8, valueDim: 8, segment: 64 },
];

it.each(cases)('is the definition: $tokens tokens in segments of $segment, $heads/$kvHeads heads', async (s) => {
  const q = draw(s.batch, s.tokens, s.heads, s.dim);
  const k = draw(s.batch, s.tokens, s.kvHeads, s.dim);
  const v = draw(s.batch, s.tokens, s.kvHeads, s.valueDim);
  const [rowsQ, rowsK, rowsV] = [q, k, v].map(({ data, dims }) => rowsOf(data, s.tokens, dims[2], dims[3]));
  const { out, lse } = await combinerAttention(q, k, v, { segment: s.segment, scale: 0.7 });
  const wanted = reference(s, rowsQ, rowsK, rowsV, 0.7);
  expectNear(out.data, wanted.out);
  expectNear(lse.data, wanted.lse);

  const sync = combinerAttentionSync(q, k, v, { segment: s.segment, scale: 0.7 });
  expect(isSame(sync.out.data, out.data)).toBe(true);
  const headsFirst = (x: Tensor<'float32'>) => x.transpose([0, 2, 1, 3]).contiguous();
  const [hq, hk, hv] = [q, k, v].map(headsFirst);
  const other = combinerAttentionSync(hq, hk, hv, { segment: s.segment, scale: 0.7, layout: 'bhnd' });
  expectNear(headsFirst(other.out).data, wanted.out);
});

it('takes summaries of its caller, one for every segment but the last', () => {
  const s = cases[1];
  const q = draw(1, s.tokens, s.heads, s.dim);
  const [k, v] = [draw(1, s.tokens, s.kvHeads, s.dim), draw(1, s.tokens, s.kvHeads, s.valueDim)];
  const [summaryKeys, summaryValues] = [draw(1, 7, s.kvHeads, s.dim), draw(1, 7, s.kvHeads, s.valueDim)];
  const rows = (x: Tensor<'float32'>) => rowsOf(x.data, x.dims[1], x.dims[2], x.dims[3]);
  const given = { keys: rows(summaryKeys), values: rows(summaryValues) };
  const scale = 1 / Math.sqrt(s.dim);
  const wanted = reference(s, rows(q), rows(k), rows(v), scale, given);
  const { out, lse } = combinerAttentionSync(q, k, v, { segment: 10, summaryKeys, summaryValues });
  expectNear(out.data, wanted.out);
  expectNear(lse.data, wanted.lse);
});

it('segments of one token are causal attention, in memory that grows with tokens', () => {
  const s: Sizes = { batch: 1, tokens: 5000, heads: 1, kvHeads: 1, dim: 1, valueDim: 1, segment: 1 };
  const [q, k, v] = [0, 1, 2].map(() => draw(1, s.tokens, 1, 1));
  const { out } = combinerAttentionSync(q, k, v, { segment: 1 });
  const rows = (x: Tensor<'float32'>) => Array.from(x.data, (_, i) => x.data.subarray(i, i + 1));
  const wanted = attend(rows(q)[s.tokens - 1], rows(k), rows(v), 1);
  expectNear(out.data.subarray(s.tokens - 1), wanted.out);
});

it.each([
  [{}, 'ERR_TILEWISE_INVALID_OPTION', TypeError, ['`segment`']],
  [{ segment: 0 }, 'ERR_TILEWISE_INVALID_OPTION', RangeError, ['`segment`', '0']],
  [{ segment: 4, summaryKeys: tensor(1, 2, 2, 8) }, 'ERR_TILEWISE_INVALID_OPTION', TypeError, ['`summaryKeys`']],
  [
    { segment: 4, summaryKeys: tensor(1, 3, 2, 8), summaryValues: tensor(1, 2, 2, 8) },
    'ERR_TILEWISE_SHAPE_MISMATCH',
    RangeError,
    ['`summaryKeys`', '2 segments'],
  ],
  [{ segments: 4 }, 'ERR_TILEWISE_UNKNOWN_OPTION', TypeError, ['`segments`', '`segment`']],
] as const)('refuses %j', async (options, code, type, says) => {
  const x = tensor(1, 12, 2, 8);
  await expectBoth(
    () => combinerAttentionSync(x, x, x, options as never),
    () => combinerAttention(x, x, x, options as never),
    { code, type, says: [...says] },
  );
});

it('refuses queries of other tokens than keys', async () => {
  const [q, k] = [tensor(1, 12, 2, 8), tensor(1, 13, 2, 8)];
  await expectBoth(
    () => combinerAttentionSync(q, k, k, { segment: 4 }),
    () => combinerAttention(q, k, k, { segment: 4 }),
    { code: 'ERR_TILEWISE_SHAPE_MISMATCH', type: RangeError, says: ['`q`', 'same tokens'] },
  );
});
