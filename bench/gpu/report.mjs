// Takes in what versus.py measured: bench/results/<card>-attention.json and charts; then writes bench/RESULTS.md again.
// Reader: whoever comes back from a card.   node bench/gpu/report.mjs build/gpu-bench/results.json
import { fileURLToPath } from 'node:url';
import { readRun } from '../hardware/run.mjs';
import { writeResult } from '../report/result-file.mjs';
import { chartsOf } from './charts.mjs';

const [file] = process.argv.slice(2);
if (!file) throw new Error('usage: node bench/gpu/report.mjs results.json');
const { name, machine, steps, rows } = readRun(file);
const results = fileURLToPath(new URL('../results/', import.meta.url));
const kept = rows.filter((row) => row.group !== 'done');
writeResult(`${results}${name}-attention.json`, { machine, steps, rows: kept });
for (const chart of chartsOf({ machine, steps, rows: kept }))
  writeResult(`${results}${name}-${chart.name}.svg`, chart.svg);
await import('../report/report.mjs');
