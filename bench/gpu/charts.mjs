// Which charts a result of versus.py becomes. Reader: someone who wants another chart.
import { lineChart } from '../report/plot.mjs';
import { ceilingsOf, figuresOf } from './figures.mjs';

const byLength = (a, b) => a[0] - b[0];
const contenders = { tilewise: (f) => f.ms, flash: (f) => f.others.flash, cuDNN: (f) => f.others.cudnn };

/** A line per contender and kind of case. `figure` makes a y of a figure and a time. */
function linesOf(figures, kindOf, figure) {
  const lines = new Map();
  for (const f of figures) {
    for (const [who, timeOf] of Object.entries(contenders)) {
      if (!timeOf(f)) continue;
      const name = `${who}, ${kindOf(f)}`;
      lines.set(name, [...(lines.get(name) ?? []), [f.keys, figure(f, timeOf(f))]]);
    }
  }
  return [...lines]
    .filter(([, points]) => points.length > 1)
    .map(([name, points]) => ({ name, points: points.sort(byLength) }));
}

function ceilingOver(series, name, value) {
  if (!value) return series;
  const lengths = series.flatMap(({ points }) => points.map(([x]) => x));
  const ends = [Math.min(...lengths), Math.max(...lengths)];
  return [...series, { name, isDashed: true, points: ends.map((x) => [x, value]) }];
}

/** @param {{machine: object, rows: object[], steps: object[]}} result @returns {{name: string, svg: string}[]} */
export function chartsOf(result) {
  const figures = figuresOf(result);
  const { products, copy } = ceilingsOf(result);
  const about = result.machine.card.name;
  const dense = figures.filter(
    (f) => f.group === 'dense' && f.dim === 128 && f.dtype === 'bfloat16' && f.heads === f.kvHeads,
  );
  const charts = [];
  const forward = linesOf(
    dense,
    (f) => f.pattern,
    (f, ms) => (f.tflops * f.ms) / ms,
  );
  const decode = linesOf(
    figures.filter((f) => f.group === 'decode'),
    (f) => `${f.heads}/${f.kvHeads} × ${f.batch}`,
    (f, ms) => (f.keyGbps * f.ms) / ms,
  );
  if (forward.length > 0) {
    charts.push({
      name: 'attention-dense',
      svg: lineChart({
        title: 'Forward, bfloat16, D=128',
        subtitle: `${about}; 16k tokens, 16 heads; PyTorch in the same run`,
        xLabel: 'tokens',
        yLabel: 'TFLOP/s of visible pairs',
        series: ceilingOver(forward, 'matrix product', products[0]),
      }),
    });
  }
  if (decode.length > 0) {
    charts.push({
      name: 'attention-decode',
      svg: lineChart({
        title: 'One query per head, bfloat16, D=128, caches cold',
        subtitle: `${about}; query heads / KV heads × batch`,
        xLabel: 'keys',
        yLabel: 'GB/s of keys and values',
        series: ceilingOver(decode, 'copy', copy),
      }),
    });
  }
  return charts;
}
