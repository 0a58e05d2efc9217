// Statistics of attention in float64, from the whole matrix. Reader: someone who checks attentionStats(). Tensors are
// [batch, tokens, heads, dim] numbers; results are row-major, as lib/ops/stats/problem.ts says.

export interface StatsInput {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly q: ArrayLike<number>;
  readonly k: ArrayLike<number>;
  readonly causal: boolean;
  readonly scale?: number;
  readonly keyLengths?: readonly number[];
  readonly lse?: ArrayLike<number>;
  readonly topK: number;
  readonly blockSum: readonly [number, number];
}

/** Every result by its name; `order` are the keys of each row by falling score, as far as it sees them. */
export function statsOf(p: StatsInput) {
  const { batch, queries, keys, queryHeads: heads, kvHeads, headDim, topK } = p;
  const scale = p.scale ?? headDim ** -0.5;
  const [blockQ, blockK] = p.blockSum;
  const [blocksQ, blocksK] = [Math.ceil(queries / blockQ), Math.ceil(keys / blockK)];
  const scores = new Float64Array(batch * heads * queries * keys).fill(-Infinity);
  const probs = new Float64Array(scores.length);
  const lse = new Float64Array(batch * heads * queries);
  const keySum = new Float64Array(batch * keys);
  const keyMaxOverHeads = new Float64Array(batch * keys);
  const keySumOverQueries = new Float64Array(batch * heads * keys);
  const diagSum = new Float64Array(batch * heads * keys);
  const blockSum = new Float64Array(batch * heads * blocksQ * blocksK);
  const indices = new Int32Array(batch * heads * queries * topK).fill(-1);
  const topProbs = new Float64Array(indices.length);
  for (let b = 0; b < batch; b++) {
    const used = p.keyLengths?.[b] ?? keys;
    for (let h = 0; h < heads; h++) {
      const kvHead = Math.floor((h * kvHeads) / heads);
      for (let i = 0; i < queries; i++) {
        const row = (b * heads + h) * queries + i;
        const position = i + used - queries;
        const seen = p.causal ? Math.min(used, Math.max(0, position + 1)) : used;
        for (let j = 0; j < seen; j++) {
          let product = 0;
          for (let d = 0; d < headDim; d++) {
            product +=
              p.q[((b * queries + i) * heads + h) * headDim + d] *
              p.k[((b * keys + j) * kvHeads + kvHead) * headDim + d];
          }
          scores[row * keys + j] = scale * product;
        }
        const rowScores = scores.subarray(row * keys, row * keys + seen);
        const most = rowScores.reduce((a, x) => Math.max(a, x), -Infinity);
        const sum = rowScores.reduce((a, x) => a + Math.exp(x - most), 0);
        lse[row] = p.lse ? p.lse[row] : seen === 0 ? -Infinity : most + Math.log(sum);
        const order = Array.from(rowScores.keys()).sort((a, b) => rowScores[b] - rowScores[a] || a - b);
        for (let j = 0; j < seen; j++) {
          const x = Math.exp(rowScores[j] - lse[row]);
          probs[row * keys + j] = x;
          keySum[b * keys + j] += x;
          keyMaxOverHeads[b * keys + j] = Math.max(keyMaxOverHeads[b * keys + j], x);
          keySumOverQueries[(b * heads + h) * keys + j] += x;
          if (position >= j) diagSum[(b * heads + h) * keys + position - j] += x;
          blockSum[((b * heads + h) * blocksQ + Math.floor(i / blockQ)) * blocksK + Math.floor(j / blockK)] += x;
        }
        for (const [place, j] of order.slice(0, topK).entries()) {
          indices[row * topK + place] = j;
          topProbs[row * topK + place] = probs[row * keys + j];
        }
      }
    }
  }
  return { scores, probs, lse, keySum, keyMaxOverHeads, keySumOverQueries, diagSum, blockSum, indices, topProbs };
}
