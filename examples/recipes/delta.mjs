// DELTA (arXiv 2510.09883): while generating, some layers attend to all keys and choose pages by their probabilities; the layers up to
// the next such layer attend to these pages alone.
import { deltaPageScores, KvCache } from 'tilewise';
import { attendAll, dot, random, range, row, runAlone } from './naive.mjs';

const [tokens, heads, kvHeads, dim] = [90, 4, 2, 16];
const [layers, full] = [4, new Set([0, 2])];
const [pageSize, pages, lastPages] = [8, 5, 2];

/** A token through all layers; what each layer's attention gives. @param queries of the token, layer by layer */
export async function step(cache, queries) {
  const outputs = [];
  let pageLists;
  for (const [layer, q] of queries.entries()) {
    if (full.has(layer)) {
      const { out, lse } = await cache.attention(layer, q, { returnLse: true });
      pageLists = (await deltaPageScores(q, cache.keyPages(layer), { pages, lastPages, lse })).lists;
      outputs.push(out);
    } else {
      outputs.push((await cache.attention(layer, q, { pageLists })).out);
    }
  }
  return outputs;
}

/** The pages of a query, in float64. */
function chosen(q, k) {
  const ofHeads = range(heads).map((head) => {
    const weights = range(tokens).map((j) => Math.exp(dot(row(q, 0, head), row(k, j, head >> 1)) / Math.sqrt(dim)));
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights.map((weight) => weight / sum);
  });
  const count = Math.ceil(tokens / pageSize);
  const scores = new Array(count).fill(0);
  for (const j of range(tokens)) scores[Math.floor(j / pageSize)] += Math.max(...ofHeads.map((row) => row[j]));
  const others = range(count - lastPages).sort((a, b) => scores[b] - scores[a]);
  return new Set([...others.slice(0, pages - lastPages), ...range(count).slice(-lastPages)]);
}

export async function recipe() {
  const cache = new KvCache({ layers, kvHeads, headDim: dim, pageSize });
  const rows = range(layers).map(() => [random(1, tokens, kvHeads, dim), random(1, tokens, kvHeads, dim)]);
  for (const [layer, [k, v]] of rows.entries()) cache.append(layer, k, v);
  const queries = range(layers).map(() => random(1, 1, heads, dim));
  const outputs = await step(cache, queries);
  const results = {};
  for (const [layer, [k, v]] of rows.entries()) {
    const seen = full.has(layer) ? undefined : chosen(queries[layer - 1], rows[layer - 1][0]);
    const sees = seen && ((_, j) => seen.has(Math.floor(j / pageSize)));
    results[`layer ${layer}`] = { out: outputs[layer], wanted: attendAll(queries[layer], k, v, sees && { sees }) };
  }
  return results;
}

await runAlone(import.meta, recipe);
