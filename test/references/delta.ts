// The gated delta rule in float64, token by token. Reader: someone who checks a result. Rows are [batch, tokens, heads, dim]
// numbers; formula as golden/ext-linear.json's notes have it.

export interface DeltaInput {
  readonly batch: number;
  readonly tokens: number;
  readonly queryHeads: number;
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly q: ArrayLike<number>;
  readonly k: ArrayLike<number>;
  readonly v: ArrayLike<number>;
  /** [batch, tokens, valueHeads]. */
  readonly beta: ArrayLike<number>;
  readonly decay?: ArrayLike<number>;
  readonly scale: number;
  /** Whether rows of q and k are divided by their lengths. */
  readonly hasUnitRows?: boolean;
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** The outputs, and the states after the last token [batch, valueHeads, headDim, valueDim]. */
export function gatedDeltaRecurrent(p: DeltaInput): { out: Float64Array; state: Float64Array } {
  const outHeads = Math.max(p.queryHeads, p.valueHeads);
  const group = outHeads / p.valueHeads;
  const out = new Float64Array(p.batch * p.tokens * outHeads * p.valueDim);
  const states: number[] = [];
  const row = (data: ArrayLike<number>, b: number, t: number, heads: number, h: number, dim: number) =>
    Array.from({ length: dim }, (_, d) => data[((b * p.tokens + t) * heads + h) * dim + d]);
  const unit = (x: number[]) => (p.hasUnitRows ? x.map((y) => y / Math.sqrt(dot(x, x) + 1e-6)) : x);
  for (let b = 0; b < p.batch; b++) {
    for (let h = 0; h < p.valueHeads; h++) {
      let state = Array.from({ length: p.headDim }, () => new Array<number>(p.valueDim).fill(0));
      for (let t = 0; t < p.tokens; t++) {
        const keyHead = Math.floor((h * p.keyHeads) / p.valueHeads);
        const key = unit(row(p.k, b, t, p.keyHeads, keyHead, p.headDim));
        const value = row(p.v, b, t, p.valueHeads, h, p.valueDim);
        const at = (b * p.tokens + t) * p.valueHeads + h;
        const kept = Math.exp(p.decay?.[at] ?? 0);
        state = state.map((line) => line.map((x) => kept * x));
        const known = value.map((_, e) => key.reduce((sum, x, d) => sum + x * state[d][e], 0));
        state = state.map((line, d) => line.map((x, e) => x + key[d] * p.beta[at] * (value[e] - known[e])));
        for (let head = h * group; head < (h + 1) * group; head++) {
          const queryHead = Math.floor((head * p.queryHeads) / outHeads);
          const query = unit(row(p.q, b, t, p.queryHeads, queryHead, p.headDim));
          for (let e = 0; e < p.valueDim; e++) {
            const column = state.map((line) => line[e]);
            out[((b * p.tokens + t) * outHeads + head) * p.valueDim + e] = p.scale * dot(query, column);
          }
        }
      }
      states.push(...state.flat());
    }
  }
  return { out, state: Float64Array.from(states) };
}
