// OAT (object-level scanpaths): the next object that is looked at, or the end. Scores over objects are mixed over heads by learned
// numbers, the end has score 0, and one softmax is over both.
import { attentionStats } from 'tilewise';
import { dot, random, range, row, runAlone } from './naive.mjs';

const [queries, objects, heads, dim] = [6, 20, 4, 16];

/** Probabilities [queries, objects + 1]; the last one is the end's. */
export async function nextObject(q, k, mix) {
  const { scores } = await attentionStats(q, k, { want: ['scores'] });
  return range(queries).flatMap((i) => {
    const logits = range(objects).map((j) =>
      mix.reduce((sum, c, head) => sum + c * scores.data[(head * queries + i) * objects + j], 0),
    );
    return softmax([...logits, 0]);
  });
}

function softmax(logits) {
  const most = Math.max(...logits);
  const weights = logits.map((x) => Math.exp(x - most));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

export async function recipe() {
  const [q, k] = [random(1, queries, heads, dim), random(1, objects, heads, dim)];
  const mix = range(heads).map(() => Math.random());
  const wanted = range(queries).flatMap((i) => {
    const of = (j) => mix.reduce((sum, c, h) => sum + (c * dot(row(q, i, h), row(k, j, h))) / Math.sqrt(dim), 0);
    return softmax([...range(objects).map(of), 0]);
  });
  return { next: { out: { data: await nextObject(q, k, mix) }, wanted } };
}

await runAlone(import.meta, recipe);
