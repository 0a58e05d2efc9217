// SEA (arXiv 2310.01777): linear attention estimates where a query looks, the best places are attended to exactly, and the rest is
// the running mean of the values. The network that turns the estimate into a map of `cells` numbers per row is the model's.
import { attention, cumulativeAttention, linearAttention, ranges, Tensor } from 'tilewise';
import { attendAll, dot, random, range, row, runAlone, weighAll } from './naive.mjs';

const [tokens, heads, dim, cells, kept] = [90, 4, 16, 12, 3];
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** Cell c of query i is a part of the keys it sees. */
const edge = (i, c) => Math.floor((c * (i + 1)) / cells);

/** The best cells of a query's heads together, `kept` per head on average, the last of each always: a list per head. */
function select(maps) {
  const all = maps.flatMap((map, head) =>
    map.map((score, c) => ({ head, c, score: c === cells - 1 ? Infinity : score })),
  );
  const best = all.toSorted((a, b) => b.score - a.score).slice(0, kept * heads);
  const cellsOf = (head) => best.filter((one) => one.head === head).map(({ c }) => c);
  return maps.map((_, head) => cellsOf(head).toSorted((a, b) => a - b));
}

/** @param network a row of the estimate as `cells` numbers; `scaler` and `gate` are [1, tokens, heads, 1] */
export async function sea(q, k, v, network, { scaler, gate }) {
  const { out: estimate } = await linearAttention(q, k, v, { featureMap: 'elu1', normalize: 'sum' });
  const lists = range(tokens).map((i) => select(range(heads).map((head) => network(row(estimate, i, head)))));
  // Lists differ in length: behind the last cell of one, ranges end where they begin.
  const bounds = (step) => {
    const edges = (list, i) => range(cells).map((n) => edge(i, n < list.length ? list[n] + step : cells));
    const data = range(heads).flatMap((head) => lists.flatMap((ofHeads, i) => edges(ofHeads[head], i)));
    return { type: 'int32', data: Int32Array.from(data), dims: [heads, tokens, cells] };
  };
  const pattern = ranges({ begins: bounds(0), ends: bounds(1) });
  const { out: sparse } = await attention(q, k, v, { pattern });
  const { out: mean } = await cumulativeAttention(Tensor.zeros('float32', [1, tokens, heads]), v);
  return { estimate, lists, out: mixed(sparse.data, mean.data, { scaler, gate }) };
}

const mixed = (sparse, mean, { scaler, gate }) => {
  const part = (x, n) => sigmoid(x.data[Math.floor(n / dim)]);
  return Array.from(sparse, (x, n) => part(gate, n) * part(scaler, n) * x + (1 - part(gate, n)) * mean[n]);
};

export async function recipe() {
  const [q, k, v] = range(3).map(() => random(1, tokens, heads, dim));
  const [readout, scaler, gate] = [random(1, cells, 1, dim), random(1, tokens, heads, 1), random(1, tokens, heads, 1)];
  const network = (estimate) => range(cells).map((c) => dot(estimate, row(readout, c)));
  const { estimate, lists, out } = await sea(q, k, v, network, { scaler, gate });
  const elu1 = (x) => Array.from(x, (value) => (value > 0 ? value + 1 : Math.exp(value)));
  const isIn = (i, j) => (c) => edge(i, c) <= j && j < edge(i, c + 1);
  const sparse = attendAll(q, k, v, { sees: (i, j, head) => lists[i][head].some(isIn(i, j)) });
  const mean = weighAll(q, k, v, () => 1, { normalize: true });
  return {
    estimate: { out: estimate, wanted: weighAll(q, k, v, (a, b) => dot(elu1(a), elu1(b)), { normalize: true }) },
    attention: { out: { data: out }, wanted: mixed(sparse, mean, { scaler, gate }) },
  };
}

await runAlone(import.meta, recipe);
