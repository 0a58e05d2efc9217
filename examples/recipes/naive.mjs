// What the recipes are held against: attention of one batch entry in float64, as its definition reads, and random tensors.
// Reader: someone who adds a recipe: a function that returns `out` and what float64 says it is.
import process from 'node:process';
import { Tensor } from 'tilewise';

/** Numbers from -1 to 1. */
export function random(...dims) {
  const length = dims.reduce((a, b) => a * b, 1);
  return new Tensor(
    'float32',
    Float32Array.from({ length }, () => 2 * Math.random() - 1),
    dims,
  );
}

/** The row of a token and head of a tensor [1, tokens, heads, dim]. */
export function row({ data, dims: [, , heads, dim] }, token, head = 0) {
  const at = (token * heads + head) * dim;
  return data.subarray(at, at + dim);
}

export const range = (length) => Array.from({ length }, (_, i) => i);
export const dot = (a, b) => a.reduce((sum, x, d) => sum + x * b[d], 0);

/** softmax(scale * query · keys) values; no keys: zeros. */
export function attend(query, keys, values, scale = 1 / Math.sqrt(query.length)) {
  const scores = keys.map((key) => scale * dot(query, key));
  const most = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - most));
  const sum = weights.reduce((a, b) => a + b, 0);
  return Array.from(
    values[0] ?? [],
    (_, d) =>
      dot(
        weights,
        values.map((value) => value[d]),
      ) / sum,
  );
}

/** Every token and head of q over the keys that `sees(query, key, head)` shows: [tokens, heads, dim], and `extra` rows before them. */
export function attendAll(q, k, v, { sees = () => true, scale, extra } = {}) {
  const [, tokens, heads] = q.dims;
  const perKvHead = heads / k.dims[2];
  return range(tokens).flatMap((i) =>
    range(heads).flatMap((head) => {
      const of = Math.floor(head / perKvHead);
      const seen = range(k.dims[1]).filter((j) => sees(i, j, head));
      const rows = (x, more) => [
        ...(more ? range(more.dims[1]).map((j) => row(more, j, of)) : []),
        ...seen.map((j) => row(x, j, of)),
      ];
      return attend(row(q, i, head), rows(k, extra?.keys), rows(v, extra?.values), scale);
    }),
  );
}

/** Every token and head of q: the values up to the token, times weight(query, key, head, distance), over their sum if `normalize`. */
export function weighAll(q, k, v, weight, { normalize = false } = {}) {
  const [, tokens, heads] = q.dims;
  const perKvHead = heads / k.dims[2];
  return range(tokens).flatMap((i) =>
    range(heads).flatMap((head) => {
      const of = Math.floor(head / perKvHead);
      const weights = range(i + 1).map((j) => weight(row(q, i, head), row(k, j, of), of, i - j));
      const divisor = normalize ? weights.reduce((a, b) => a + b) : 1;
      return range(v.dims[3]).map((d) => weights.reduce((sum, w, j) => sum + w * row(v, j, of)[d], 0) / divisor);
    }),
  );
}

/** The largest difference. */
export const worst = ({ out, wanted }) => wanted.reduce((most, x, i) => Math.max(most, Math.abs(x - out.data[i])), 0);

/** Runs a recipe whose file was started by itself. */
export async function runAlone({ filename }, recipe) {
  if (filename !== process.argv[1]) return;
  for (const [name, result] of Object.entries(await recipe())) {
    console.log(`${name}: at most ${worst(result).toExponential(1)} from float64`);
  }
}
