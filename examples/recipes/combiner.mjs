// Combiner (arXiv 2107.05768) with summaries of one's own: here keys are pooled by their maximum, as the paper's code can, and
// values are what the maximum of the segment's queries sees in it. combinerAttention's own summaries are means.
import { combinerAttention, Tensor } from 'tilewise';
import { attend, random, range, row, runAlone } from './naive.mjs';

const [tokens, heads, dim, segment] = [70, 2, 16, 16];
const before = Math.ceil(tokens / segment) - 1; // segments that have a summary

/** The largest of each channel among the rows of a segment. */
const pooled = (x, m, head) =>
  Array.from({ length: dim }, (_, d) => Math.max(...range(segment).map((t) => row(x, m * segment + t, head)[d])));

/** A summary of every segment but the last, [1, segments - 1, heads, dim]. */
function summariesOf(one) {
  const data = range(before).flatMap((m) => range(heads).flatMap((head) => one(m, head)));
  return new Tensor('float32', Float32Array.from(data), [1, before, heads, dim]);
}

export async function recipe() {
  const [q, k, v] = [0, 1, 2].map(() => random(1, tokens, heads, dim));
  const rowsIn = (x, m, head) => range(segment).map((t) => row(x, m * segment + t, head));
  const seen = (m, head) => attend(pooled(q, m, head), rowsIn(k, m, head), rowsIn(v, m, head));
  const summaryKeys = summariesOf((m, head) => pooled(k, m, head));
  const summaryValues = summariesOf(seen);
  const { out } = await combinerAttention(q, k, v, { segment, summaryKeys, summaryValues });

  const wanted = range(tokens).flatMap((i) =>
    range(heads).flatMap((head) => {
      const own = Math.floor(i / segment);
      const near = range(tokens).filter((j) => j <= i && Math.floor(j / segment) === own);
      const keys = [...near.map((j) => row(k, j, head)), ...range(own).map((m) => row(summaryKeys, m, head))];
      const values = [...near.map((j) => row(v, j, head)), ...range(own).map((m) => row(summaryValues, m, head))];
      return attend(row(q, i, head), keys, values);
    }),
  );
  return { 'pooled summaries': { out, wanted } };
}

await runAlone(import.meta, recipe);
