// Routing Transformer (arXiv 2003.05997): attention inside clusters. Each cluster takes the queries and the keys that are
// nearest to its centroid, causal by their places in the text; a token of several clusters gets the mean of what they say.
import { attention, Tensor } from 'tilewise';
import { attend, dot, random, range, row, runAlone } from './naive.mjs';

const [tokens, heads, dim, clusters, size] = [96, 2, 16, 6, 16];
const unit = (x) => {
  const length = Math.hypot(...x);
  return Array.from(x, (value) => value / length);
};

/** Of every head and cluster the `size` tokens nearest to its centroid, in the order of the text. */
const nearest = (x, centroids) =>
  range(heads * clusters).map((at) => {
    const head = Math.floor(at / clusters);
    const near = range(tokens).map((i) => dot(unit(row(x, i, head)), row(centroids, at % clusters, head)));
    const ranked = range(tokens).toSorted((a, b) => near[b] - near[a]);
    return ranked.slice(0, size).toSorted((a, b) => a - b);
  });

/** Clusters as batch entries of one head, [heads * clusters, size, 1, dim]. */
const gathered = (x, lists) =>
  Tensor.from(lists.map((list, at) => list.map((token) => [Array.from(row(x, token, Math.floor(at / clusters)))])));

export async function routed(q, k, v, centroids) {
  const [ofQueries, ofKeys] = [nearest(q, centroids), nearest(k, centroids)];
  const positions = { queries: ofQueries, keys: ofKeys }; // [heads * clusters, size]
  const options = { causal: true, positions };
  const { out } = await attention(gathered(q, ofQueries), gathered(k, ofKeys), gathered(v, ofKeys), options);
  return { out: scattered(ofQueries, (at, place) => row(out, at * size + place)), ofQueries, ofKeys };
}

/** The mean over the clusters of a token, [tokens, heads, dim]; zeros for a token that has none. */
function scattered(lists, rowOf) {
  return range(tokens * heads).flatMap((n) => {
    const [token, head] = [Math.floor(n / heads), n % heads];
    const at = range(clusters)
      .map((c) => head * clusters + c)
      .filter((one) => lists[one].includes(token));
    const rows = at.map((one) => rowOf(one, lists[one].indexOf(token)));
    return range(dim).map((d) => rows.reduce((sum, one) => sum + one[d] / rows.length, 0));
  });
}

export async function recipe() {
  const [q, k, v, centroids] = [tokens, tokens, tokens, clusters].map((n) => random(1, n, heads, dim));
  const { out, ofQueries, ofKeys } = await routed(q, k, v, centroids);
  const wanted = scattered(ofQueries, (at, place) => {
    const [i, head] = [ofQueries[at][place], Math.floor(at / clusters)];
    const seen = ofKeys[at].filter((j) => j <= i);
    const rows = (x) => seen.map((j) => row(x, j, head));
    return seen.length > 0 ? attend(row(q, i, head), rows(k), rows(v)) : new Array(dim).fill(0);
  });
  return { clusters: { out: { data: out }, wanted } };
}

await runAlone(import.meta, recipe);
