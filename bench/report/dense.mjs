// The part of bench/RESULTS.md that bench/suites/run.mjs measured: dense attention, decode, the smallest call.
// Reader: as report.mjs.
import { chartsOf } from './charts.mjs';
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED, percent, samples, speedColumns, table } from './tables.mjs';

const mask = (r) => (r.causal ? 'causal' : 'dense');

function prefillTable(rows) {
  return table(rows, [
    ['set', (r) => r.instructionSet],
    ['D', (r) => r.headDim],
    ['mask', mask],
    ['threads', (r) => r.threads],
    ['N', (r) => r.keys],
    ['heads', (r) => r.heads],
    ...speedColumns,
  ]);
}

function storageTable(rows) {
  return table(rows, [
    ['set', (r) => r.instructionSet],
    ['D', (r) => r.headDim],
    ['mask', mask],
    ['type', (r) => r.dtype],
    ...speedColumns,
  ]);
}

function apiTable(rows) {
  return table(rows, [['layout', (r) => r.layout], ['call', (r) => r.call], ...speedColumns]);
}

function decodeTable(rows) {
  const [time, gflops, ofPeak, quiet] = speedColumns;
  return table(rows, [
    ['set', (r) => r.instructionSet],
    ['heads', (r) => r.kind],
    ['layout', (r) => r.layout],
    ['type', (r) => r.dtype],
    ['threads', (r) => r.threads],
    ['keys', (r) => r.keys],
    time,
    ['GB/s', (r) => r.gbps.toFixed(1)],
    ['of read bandwidth', (r) => percent(r.gbps, r.peaks.bandwidth)],
    gflops,
    ofPeak,
    quiet,
  ]);
}

function callTable(rows) {
  const microseconds = ({ median, min, max }) => {
    const [middle, least, most] = [median, min, max].map((ms) => (1000 * ms).toFixed(1));
    return `${middle} (${least} .. ${most})`;
  };
  return table(rows, [
    ['heads', (r) => r.heads],
    ['call', (r) => r.call],
    ['µs: median (min .. max)', (r) => microseconds(r.ms)],
    ['quiet samples', samples],
  ]);
}

/** @param {object | null} result of bench/suites/run.mjs */
export function speedSections(result) {
  if (!result) return [heading('Speed', '', `${NOT_MEASURED}: run \`npm run bench\`, then \`npm run bench:report\``)];
  const group = (name, print) => {
    const rows = result.rows.filter((r) => r.group === name);
    return rows.length ? print(rows) : '';
  };
  const charts = chartsOf(result).map(({ name }) => `![${name}](results/cpu-${name}.svg)`);
  return [
    heading('Machine', '', list(machineLines(result.machine))),
    charts.join('\n\n'),
    heading(
      'Prefill, float32',
      'N queries on N keys, layout bnhd, synchronous, into one `out`.',
      group('prefill', prefillTable),
    ),
    heading('Short sequences, one thread', '', group('short', prefillTable)),
    heading('Storage types', `N = 2048, 8 heads, ${result.machine.threads} threads.`, group('storage', storageTable)),
    heading(
      'Ways to call',
      'N = 2048, D = 64, 8 heads, dense, float32. "new out": the call allocates its result.',
      group('api', apiTable),
    ),
    heading(
      'Decode',
      'One query per head, D = 128, 8 KV heads; calls take turns over copies of keys and values that no cache holds, so the bytes come from DRAM.',
      group('decode', decodeTable),
    ),
    heading('The smallest call', 'One query, one key, D = 64: what a call costs by itself.', group('call', callTable)),
  ];
}
