// Which charts a run on a card becomes. Reader: someone who wants another chart.
import { lineChart } from '../report/plot.mjs';

const byLength = (a, b) => a[0] - b[0];

function attentionChart({ machine, rows }, causal) {
  const mask = causal ? 'causal' : 'full';
  const wanted = rows.filter((r) => r.causal === causal && r.tflops);
  const series = [];
  for (const headDim of [64, 128, 256]) {
    for (const backend of ['flash', 'cudnn']) {
      const chosen = wanted.filter(
        (r) => r.group === 'torch sdpa' && r.headDim === headDim && r.backend === backend && r.dtype === 'bfloat16',
      );
      const points = chosen.map((r) => [r.length, r.tflops]).sort(byLength);
      if (points.length > 0) series.push({ name: `${backend}, D=${headDim}`, points });
    }
  }
  if (series.length === 0) return [];
  const product = rows.find((r) => r.group === 'torch matmul' && r.size === 8192 && r.dtype === 'bfloat16');
  if (product) {
    const lengths = series.flatMap(({ points }) => points.map(([x]) => x));
    const ends = [Math.min(...lengths), Math.max(...lengths)];
    series.push({ name: 'matrix product, 8192³', isDashed: true, points: ends.map((x) => [x, product.tflops]) });
  }
  return [
    {
      name: `sdpa-${mask}`,
      svg: lineChart({
        title: `PyTorch attention forward, bfloat16, ${mask}`,
        subtitle: `${machine.card.name}; 16k tokens of 2048 / D heads (32k: one sequence)`,
        xLabel: 'tokens',
        yLabel: 'TFLOP/s of unmasked pairs',
        series,
      }),
    },
  ];
}

function decodeChart({ machine, rows }) {
  const chosen = rows.filter((r) => r.group === 'torch decode');
  if (chosen.length === 0) return [];
  const names = new Map();
  for (const r of chosen) {
    const name = `${r.backend}, ${r.heads}/${r.kvHeads} heads, batch ${r.batch}`;
    names.set(name, [...(names.get(name) ?? []), [r.length, r.gbps]]);
  }
  const series = [...names].map(([name, points]) => ({ name, points: points.sort(byLength) }));
  const read = rows.find((r) => r.group === 'read' && r.from === 'memory');
  const lengths = chosen.map((r) => r.length);
  const ends = [Math.min(...lengths), Math.max(...lengths)];
  if (read) series.push({ name: 'reading alone', isDashed: true, points: ends.map((x) => [x, read.gbps]) });
  return [
    {
      name: 'decode',
      svg: lineChart({
        title: 'PyTorch attention, one query per head',
        subtitle: `${machine.card.name}; bfloat16, D=128, caches cold`,
        xLabel: 'keys',
        yLabel: 'GB/s of keys and values',
        series,
      }),
    },
  ];
}

/** @param {{machine: object, rows: object[]}} card @returns {{name: string, svg: string}[]} only charts with rows */
export const chartsOf = (card) => [...attentionChart(card, false), ...attentionChart(card, true), ...decodeChart(card)];
