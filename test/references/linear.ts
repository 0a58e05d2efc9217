// Linear attention in float64, twice: token by token with a state, and as weights of all pairs. Reader: someone who checks a
// result. Rows are [batch, tokens, heads, dim] numbers; formulas as golden/ext-linear.json's notes have them.

export interface LinearInput {
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
  /** Of a token and KV head. */
  readonly decay?: (batch: number, token: number, head: number) => number;
  readonly scale?: number;
  readonly featureMap?: 'identity' | 'elu1' | 'relu' | 'taylor2';
  readonly normalize?: boolean;
  readonly eps?: number;
  readonly causal?: boolean;
}

const rowOf = (data: ArrayLike<number>, [tokens, heads, dim]: number[], b: number, t: number, h: number): number[] =>
  Array.from({ length: dim }, (_, d) => data[((b * tokens + t) * heads + h) * dim + d]);

/** A row as features whose products are the weights, all d * d products for taylor2. */
function features(row: readonly number[], map: LinearInput['featureMap']): number[] {
  if (map === 'elu1') return row.map((x) => (x > 0 ? x + 1 : Math.exp(x)));
  if (map === 'relu') return row.map((x) => Math.max(x, 0));
  if (map !== 'taylor2') return [...row];
  const d = row.length;
  const pairs = row.flatMap((x) => row.map((y) => (x * y) / Math.sqrt(2 * d)));
  return [1, ...row.map((x) => x / d ** 0.25), ...pairs];
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** The output, token by token: a state per KV head that decays, takes up a token, and is read. Causal. */
export function linearRecurrent(p: LinearInput): Float64Array {
  const { scale = 1, eps = 0 } = p;
  const group = p.queryHeads / p.kvHeads;
  const out = new Float64Array(p.batch * p.queries * p.queryHeads * p.valueDim);
  for (let b = 0; b < p.batch; b++) {
    for (let h = 0; h < p.kvHeads; h++) {
      let state: number[][] = [];
      let sums: number[] = [];
      for (let t = 0; t < p.keys; t++) {
        const key = features(rowOf(p.k, [p.keys, p.kvHeads, p.headDim], b, t, h), p.featureMap);
        const value = rowOf(p.v, [p.keys, p.kvHeads, p.valueDim], b, t, h);
        const kept = Math.exp(p.decay?.(b, t, h) ?? 0);
        state = key.map((x, f) => value.map((y, e) => kept * (state[f]?.[e] ?? 0) + x * y));
        sums = key.map((x, f) => kept * (sums[f] ?? 0) + x);
        for (let head = h * group; head < (h + 1) * group; head++) {
          const query = features(rowOf(p.q, [p.queries, p.queryHeads, p.headDim], b, t, head), p.featureMap);
          const divisor = p.normalize ? dot(query, sums) + eps : 1;
          for (let e = 0; e < p.valueDim; e++) {
            const column = state.map((row) => row[e]);
            out[((b * p.queries + t) * p.queryHeads + head) * p.valueDim + e] = (scale * dot(query, column)) / divisor;
          }
        }
      }
    }
  }
  return out;
}

/** The weight of a key for a query, without decay. */
function weight(q: readonly number[], k: readonly number[], map: LinearInput['featureMap']): number {
  if (map !== 'taylor2') return dot(features(q, map), features(k, map));
  const s = dot(q, k) / Math.sqrt(q.length);
  return 1 + s + (s * s) / 2;
}

/** The output as weights of all pairs of a query and a key. */
export function linearQuadratic(p: LinearInput): Float64Array {
  const { scale = 1, eps = 0, causal = true } = p;
  const group = p.queryHeads / p.kvHeads;
  const out = new Float64Array(p.batch * p.queries * p.queryHeads * p.valueDim);
  for (let b = 0; b < p.batch; b++) {
    for (let head = 0; head < p.queryHeads; head++) {
      const h = Math.floor(head / group);
      for (let t = 0; t < p.queries; t++) {
        const query = rowOf(p.q, [p.queries, p.queryHeads, p.headDim], b, t, head);
        const sum = new Array<number>(p.valueDim).fill(0);
        let divisor = p.normalize ? eps : 1;
        let decay = 0; // from key j to the query
        for (let j = causal ? t : p.keys - 1; j >= 0; j--) {
          const w = Math.exp(decay) * weight(query, rowOf(p.k, [p.keys, p.kvHeads, p.headDim], b, j, h), p.featureMap);
          rowOf(p.v, [p.keys, p.kvHeads, p.valueDim], b, j, h).forEach((x, e) => {
            sum[e] += w * x;
          });
          if (p.normalize) divisor += w;
          decay += p.decay?.(b, j, h) ?? 0;
        }
        sum.forEach((x, e) => {
          out[((b * p.queries + t) * p.queryHeads + head) * p.valueDim + e] = (scale * x) / divisor;
        });
      }
    }
  }
  return out;
}
