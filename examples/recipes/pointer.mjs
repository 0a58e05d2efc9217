// Pointer networks (arXiv 1506.03134): the output is a distribution over the inputs, and the next input is the likeliest one that was
// not taken yet. With products as scores both are statistics of attention.
import { attentionStats } from 'tilewise';
import { dot, random, range, row, runAlone } from './naive.mjs';

const [steps, inputs, dim] = [5, 12, 16];

/** Of each step the probabilities of all inputs, and the inputs from the likeliest on. */
export async function point(q, k) {
  const { probs, rowTopK } = await attentionStats(q, k, { want: ['probs', 'rowTopK'], rowTopK: k.dims[1] });
  return { probs, order: rowTopK.indices };
}

/** A tour: each step takes the likeliest input that is left. */
export function tour(order) {
  const taken = new Set();
  for (const step of range(steps)) {
    const row = order.data.subarray(step * inputs, (step + 1) * inputs);
    taken.add(row.find((input) => !taken.has(input)));
  }
  return [...taken];
}

export async function recipe() {
  const [q, k] = [random(1, steps, 1, dim), random(1, inputs, 1, dim)];
  const { probs, order } = await point(q, k);
  const wanted = range(steps).map((i) => {
    const weights = range(inputs).map((j) => Math.exp(dot(row(q, i), row(k, j)) / Math.sqrt(dim)));
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights.map((weight) => weight / sum);
  });
  const left = new Set(range(inputs));
  const wantedTour = wanted.map((row) => {
    const best = [...left].reduce((a, b) => (row[b] > row[a] ? b : a));
    left.delete(best);
    return best;
  });
  return {
    probabilities: { out: probs, wanted: wanted.flat() },
    tour: { out: { data: tour(order) }, wanted: wantedTour },
  };
}

await runAlone(import.meta, recipe);
