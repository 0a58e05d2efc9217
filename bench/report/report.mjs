// Turns bench/results/*.json into bench/RESULTS.md and the README's summary, so that no number is ever typed.
// Reader: whoever has just measured. `npm run bench:report` after `npm run bench`, `bench:families`, `bench:peers`.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chartsOf } from './charts.mjs';
import { familySections } from './families.mjs';
import { gpuSections, readGpuResults } from './gpu.mjs';
import { kernelSections } from './kernels.mjs';
import { machineLines } from './machine-lines.mjs';
import { heading, list, NOT_MEASURED, percent, samples, speedColumns, table, targetTable } from './tables.mjs';
import { peerTargets, speedTargets } from './targets.mjs';

const at = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const readJson = (name) => (existsSync(at(name)) ? JSON.parse(readFileSync(at(name), 'utf8')) : null);
const mib = (bytes) => (bytes === null ? NOT_MEASURED : (bytes / 2 ** 20).toFixed(1));
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

function memoryTable(memory) {
  return table(memory, [
    ['N', (m) => m.tokens],
    ['inputs and output, MiB', (m) => (m.operands ? mib(m.operands) : NOT_MEASURED)],
    ['peak beyond them, MiB', (m) => mib(m.beyond)],
  ]);
}

function peerTables(rows) {
  const names = [...new Set(rows.map((r) => r.name))];
  return names
    .map((name) => {
      const group = rows.filter((r) => r.name === name);
      const ratio = (r) => (r.contender.startsWith('tilewise') ? '' : `${r.ratio.toFixed(2)}x`);
      const [time, gflops, , quiet] = speedColumns;
      const columns = [['', (r) => r.contender], time, gflops, ["time over tilewise's", ratio], quiet];
      const [{ flopRatio }] = group;
      const note = flopRatio ? `The dense product has ${flopRatio.toFixed(1)} times the visible pairs.\n\n` : '';
      return `### ${name}\n\n${note}${table(group, columns)}`;
    })
    .join('\n\n');
}

function speedSections(result) {
  if (!result) return [heading('Speed', '', `${NOT_MEASURED}: run \`npm run bench\`, then \`npm run bench:report\``)];
  const group = (name, print) => {
    const rows = result.rows.filter((r) => r.group === name);
    return rows.length ? print(rows) : '';
  };
  const charts = chartsOf(result).map(({ name }) => `![${name}](results/cpu-${name}.svg)`);
  return [
    heading('Machine', '', list(machineLines(result.machine))),
    heading('Targets', '', targetTable(speedTargets(result))),
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
    heading(
      'Memory',
      'Causal float32, 2 heads, D = 64, one process per row.',
      result.memory.length ? memoryTable(result.memory) : '',
    ),
  ];
}

function peerSections(result) {
  if (!result)
    return [heading('Peers', '', `${NOT_MEASURED}: run \`npm run bench:peers\`, then \`npm run bench:report\``)];
  return [
    heading(
      'Peers',
      'Batch 1. Samples of all contenders taken in turn in one run, each through its own asynchronous call; GFLOP/s by unmasked area.',
      list([...machineLines(result.machine), ...result.peers]),
    ),
    heading('Targets against peers', '', targetTable(peerTargets(result))),
    peerTables(result.rows),
  ];
}

/** The README's few numbers. */
function summary(speed, peers) {
  const targets = [...(speed ? speedTargets(speed) : []), ...(peers ? peerTargets(peers) : [])];
  if (targets.length === 0) return `${NOT_MEASURED} yet on a machine worth quoting.`;
  const { machine } = speed ?? peers;
  return [
    `Measured on ${machine.cpu}, ${machine.threads} threads, commit ${machine.commit}; worst case of each group:`,
    targetTable(targets),
  ].join('\n\n');
}

const speed = readJson('results/cpu.json');
const families = readJson('results/families.json');
const peers = readJson('results/peers.json');
const intro =
  '# Results\n\nWritten by `npm run bench:report` from `bench/results/*.json`; never edited by hand. ' +
  'The method is in [docs/measurements/benchmarks.md](../docs/measurements/benchmarks.md).';
const sections = [
  intro,
  ...speedSections(speed),
  ...familySections(families),
  ...gpuSections(readGpuResults()),
  ...kernelSections(readJson('results/kernels.json')),
  ...peerSections(peers),
];
writeFileSync(at('RESULTS.md'), `${sections.filter(Boolean).join('\n\n')}\n`);

const readme = readFileSync(at('../README.md'), 'utf8');
const marked = /(<!-- results:begin[^>]*-->\n)[\s\S]*?(<!-- results:end -->)/;
if (!marked.test(readme)) throw new Error('README.md has no results:begin and results:end marks');
writeFileSync(
  at('../README.md'),
  readme.replace(marked, (_, begin, end) => `${begin}${summary(speed, peers)}\n${end}`),
);
console.log('wrote bench/RESULTS.md and the summary in README.md');
