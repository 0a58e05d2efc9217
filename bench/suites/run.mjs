// `npm run bench`: speed of the public API, each row beside the machine's ceilings measured with it.
// Reader: someone who wants to know how fast it is here. docs/measurements/benchmarks.md explains the method.
//   npm run bench -- --filter decode      only cases whose name matches (a regular expression)
//   npm run bench -- --quick              small shapes, few samples: does it run at all
//   npm run bench -- --filter '^memory' --json bench/results/memory.json
//                                         the rows of memory alone, a minute; the report takes them from there
//   npm run bench -- --list               the names
//   npm run bench -- --json out.json      write there; an unfiltered full run writes bench/results/cpu.json by itself
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { setNumThreads } from 'tilewise';
import { native } from '../../dist/native/native.js';
import { chartsOf } from '../report/charts.mjs';
import { machineLines } from '../report/machine-lines.mjs';
import { resultFile, writeResult } from '../report/result-file.mjs';
import { bandwidthGauge, defaultInstructionSet, describeMachine, fmaGauge } from '../timing/machine.mjs';
import { interleave } from '../timing/quiet.mjs';
import { allCases } from './cases.mjs';
import { runOptions } from './options.mjs';

const options = runOptions();
const sampling = options.quick ? { samples: 3, minMs: 40 } : { samples: 5, minMs: 150 };
const LONG_CALL = 1e11; // FLOPs; about a second per call and core, of which three samples must do

const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`;
const digits = (x) => (x < 0.1 ? x.toFixed(4) : x < 10 ? x.toFixed(3) : x.toFixed(1));

async function measureCase(testCase) {
  const { prepare, ceilings, ...row } = testCase;
  if (!native.setInstructionSet(row.instructionSet)) throw new Error(`cannot run ${row.instructionSet} here`);
  setNumThreads(row.threads);
  const gauges = { fma: () => fmaGauge(row.instructionSet, row.threads), bandwidth: () => bandwidthGauge(row.threads) };
  const call = prepare();
  const run = async (calls) => {
    // Synchronous calls are not awaited: a microtask per call would count against the smallest of them.
    for (let i = 0; i < calls; i++) {
      const pending = call();
      if (row.call === 'async') await pending;
    }
  };
  const contenders = [...ceilings.map((name) => gauges[name]()), { name: row.name, threads: row.threads, run }];
  const summaries = await interleave(contenders, row.flops > LONG_CALL ? { ...sampling, samples: 3 } : sampling);
  const { median, min, max, quiet, tried, isQuiet } = summaries.pop();
  const peaks = Object.fromEntries(ceilings.map((name, i) => [name, summaries[i].median]));
  return {
    ...row,
    ms: { median, min, max },
    gflops: row.flops / median / 1e6,
    ...(row.bytes ? { gbps: row.bytes / median / 1e6 } : {}),
    peaks,
    ...{ quiet, tried, isQuiet },
  };
}

function printRow(row) {
  const { median, min, max } = row.ms;
  const cells = [
    `${row.name}`.padEnd(70),
    `${digits(median)} ms (${digits(min)} .. ${digits(max)})`,
    `${row.gflops.toFixed(1)} GFLOP/s`,
    row.peaks.fma ? `${percent(row.gflops, row.peaks.fma)} of FMA peak` : '',
    row.gbps ? `${row.gbps.toFixed(1)} GB/s, ${percent(row.gbps, row.peaks.bandwidth)} of read bandwidth` : '',
    `${row.quiet}/${row.tried} quiet${row.isQuiet ? '' : ' NOISY'}`,
  ];
  console.log(cells.filter(Boolean).join('  '));
}

/** Memory beyond inputs and outputs, each length in a process of its own; null where the system cannot tell. */
function measureMemory({ tokens, pattern, name }) {
  const script = fileURLToPath(new URL('memory.mjs', import.meta.url));
  const { status, stdout } = spawnSync(process.execPath, [script, String(tokens), pattern], { encoding: 'utf8' });
  return {
    group: 'memory',
    name,
    tokens,
    ...(status === 0 ? JSON.parse(stdout) : { beyond: null }),
  };
}

function printMemory({ name, operands, beyond }) {
  const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const text =
    beyond === null
      ? 'not measured: no resettable high-water mark here'
      : `${mib(beyond)} beyond operands of ${mib(operands)}`;
  console.log(`${name.padEnd(70)}  ${text}`);
}

const wanted = new RegExp(options.filter);
const cases = allCases({ isQuick: options.quick }).filter((c) => wanted.test(c.name));
const memoryPatterns = [
  ...['documents', 'slices', 'head-windows', 'power', 'sampled-blocks', 'positions'],
  ...['sigmoid', 'cosine', 'key-factor', 'gate', 'halo', 'landmarks', 'dynamic-mask'],
];
const ofMemory = [
  ...[1024, 4096, 16384].map((tokens) => ({ tokens, pattern: 'causal', name: `memory N=${tokens}` })),
  ...memoryPatterns.map((pattern) => {
    const tokens = options.quick ? 4096 : 65536;
    return { tokens, pattern, name: `memory ${pattern} N=${tokens}` };
  }),
];
const memoryCases = ofMemory.filter(({ tokens, name }) => wanted.test(name) && !(options.quick && tokens > 4096));
if (options.list) {
  for (const { name } of cases) console.log(name);
  for (const { name } of memoryCases) console.log(name);
  process.exit(0);
}

const machine = await describeMachine({ samples: sampling.samples });
for (const line of machineLines(machine)) console.log(`# ${line}`);
const rows = [];
for (const testCase of cases) {
  const row = await measureCase(testCase);
  rows.push(row);
  printRow(row);
}
native.setInstructionSet(defaultInstructionSet);
const memory = memoryCases.map(measureMemory);
memory.forEach(printMemory);

const file = resultFile('cpu.json', options);
if (file) {
  writeResult(file, { machine, sampling, rows, memory });
  for (const { name, svg } of chartsOf({ machine, rows })) writeResult(file.replace(/(\.json)?$/, `-${name}.svg`), svg);
}
