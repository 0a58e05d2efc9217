// Which charts a result file becomes.
// Reader: someone who wants another chart.
import { lineChart } from './plot.mjs';

/** Groups rows into lines by a label, in order of first appearance. */
function linesBy(rows, label, point) {
  const lines = new Map();
  for (const row of rows) {
    const name = label(row);
    if (!lines.has(name)) lines.set(name, []);
    lines.get(name).push(point(row));
  }
  return [...lines].map(([name, points]) => ({ name, points: points.sort((a, b) => a[0] - b[0]) }));
}

const plural = (threads) => `${threads} thread${threads === 1 ? '' : 's'}`;

function prefillChart(machine, rows, set) {
  const chosen = rows.filter((r) => r.group === 'prefill' && r.instructionSet === set);
  if (chosen.length === 0) return [];
  const label = (r) => `D=${r.headDim} ${r.causal ? 'causal' : 'dense'}, ${plural(r.threads)}`;
  return [
    {
      name: `prefill-${set}`,
      svg: lineChart({
        title: `Prefill, float32, ${set}: share of the FMA peak`,
        subtitle: `${machine.cpu}; peak measured beside every sample`,
        xLabel: 'tokens',
        yLabel: '% of FMA peak',
        yMax: 100,
        series: linesBy(chosen, label, (r) => [r.keys, (100 * r.gflops) / r.peaks.fma]),
      }),
    },
  ];
}

function decodeChart(machine, rows) {
  const ours = rows.filter((r) => r.group === 'decode' && r.instructionSet === machine.defaultInstructionSet);
  const chosen = ours.filter((r) => r.threads === machine.threads && r.layout === 'bnhd');
  if (chosen.length === 0) return [];
  const bandwidth = machine.peaks.find((p) => p.threads === machine.threads).bandwidth;
  const lengths = chosen.map((r) => r.keys);
  const ends = [Math.min(...lengths), Math.max(...lengths)];
  const ceiling = { name: 'read bandwidth', isDashed: true, points: ends.map((x) => [x, bandwidth]) };
  return [
    {
      name: 'decode',
      svg: lineChart({
        title: `Decode, one query per head, ${plural(machine.threads)}`,
        subtitle: `${machine.cpu}; keys and values read from DRAM; D=${chosen[0].headDim}`,
        xLabel: 'keys',
        yLabel: 'GB/s of keys and values',
        series: [
          ...linesBy(
            chosen,
            (r) => `${r.kind} ${r.dtype}`,
            (r) => [r.keys, r.gbps],
          ),
          ceiling,
        ],
      }),
    },
  ];
}

/**
 * @param {{machine: object, rows: object[]}} result what bench/suites/run.mjs writes
 * @returns {{name: string, svg: string}[]} only charts for which there are rows
 */
export function chartsOf({ machine, rows }) {
  const sets = [...new Set(rows.map((r) => r.instructionSet))];
  return [...sets.flatMap((set) => prefillChart(machine, rows, set)), ...decodeChart(machine, rows)];
}
