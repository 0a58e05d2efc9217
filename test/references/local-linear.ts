// Local linear attention and Parallax in float64, row by row, with the covariance formed and solved by elimination. Reader:
// someone who checks a result. Rows are [batch, tokens, heads, dim] numbers; formulas as golden/ext-lla.json's notes have them.

export interface LocalLinearInput {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly q: ArrayLike<number>;
  readonly k: ArrayLike<number>;
  readonly v: ArrayLike<number>;
  readonly scale: number;
  readonly causal: boolean;
  /** The ridge; without it `r` is given. */
  readonly lambda?: number;
  readonly r?: ArrayLike<number>;
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);
const weighted = (weights: readonly number[], rows: readonly number[][], dim: number): number[] =>
  Array.from({ length: dim }, (_, d) => rows.reduce((sum, row, j) => sum + weights[j] * row[d], 0));

/** The solution of a symmetric positive definite system, by elimination. */
function solve(matrix: readonly number[][], right: readonly number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i]]);
  const n = rows.length;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const factor = rows[j][i] / rows[i][i];
      for (let c = i; c <= n; c++) rows[j][c] -= factor * rows[i][c];
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    x[i] = (rows[i][n] - rows[i].slice(i + 1, n).reduce((sum, a, c) => sum + a * x[i + 1 + c], 0)) / rows[i][i];
  }
  return x;
}

export function localLinear(p: LocalLinearInput): Float64Array {
  const out = new Float64Array(p.batch * p.queries * p.queryHeads * p.valueDim);
  const row = (data: ArrayLike<number>, b: number, tokens: number, t: number, heads: number, h: number, dim: number) =>
    Array.from({ length: dim }, (_, d) => data[((b * tokens + t) * heads + h) * dim + d]);
  for (let b = 0; b < p.batch; b++) {
    for (let head = 0; head < p.queryHeads; head++) {
      const h = Math.floor((head * p.kvHeads) / p.queryHeads);
      for (let i = 0; i < p.queries; i++) {
        const seen = Math.max(0, p.causal ? i + 1 + p.keys - p.queries : p.keys);
        if (seen === 0) continue;
        const keys = Array.from({ length: seen }, (_, j) => row(p.k, b, p.keys, j, p.kvHeads, h, p.headDim));
        const values = Array.from({ length: seen }, (_, j) => row(p.v, b, p.keys, j, p.kvHeads, h, p.valueDim));
        const q = row(p.q, b, p.queries, i, p.queryHeads, head, p.headDim);
        const scores = keys.map((key) => p.scale * dot(q, key));
        const most = Math.max(...scores);
        const weights = scores.map((s) => Math.exp(s - most));
        const total = weights.reduce((a, x) => a + x);
        const probabilities = weights.map((w) => w / total);
        const mean = weighted(probabilities, keys, p.headDim);
        const centred = keys.map((key) => key.map((x, d) => x - mean[d]));
        const covariance = mean.map((_, a) =>
          mean.map(
            (__, c) =>
              centred.reduce((sum, z, j) => sum + probabilities[j] * z[a] * z[c], 0) + (a === c ? (p.lambda ?? 0) : 0),
          ),
        );
        const r = p.r
          ? row(p.r, b, p.queries, i, p.queryHeads, head, p.headDim)
          : solve(
              covariance,
              mean.map((x, d) => x - q[d]),
            );
        const corrected = probabilities.map((x, j) => x * (1 - dot(r, centred[j])));
        out.set(weighted(corrected, values, p.valueDim), ((b * p.queries + i) * p.queryHeads + head) * p.valueDim);
      }
    }
  }
  return out;
}
