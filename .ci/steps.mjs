// The steps of .ci/run, each with its minutes beside those that .ci/budget.json allows it on two free cores. A step fails
// when it takes a quarter longer, on a machine as fast as the budget's; a slower one gets more, in proportion.
// Reader: someone who asks what CI does, or why it has become slow. `node .ci/steps.mjs --write` records the minutes taken.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { build, root } from '../scripts/trees.mjs';
import { calibrate } from './calibrate.mjs';

const budgetFile = fileURLToPath(new URL('budget.json', import.meta.url));
const budget = JSON.parse(readFileSync(budgetFile, 'utf8'));
const results = path.join(root, 'build', 'ci');
mkdirSync(results, { recursive: true });

// Random tests and samples of large matrices come from one seed; TILEWISE_SEED repeats a run.
process.env.TILEWISE_SEED ??= String(Date.now() % 2 ** 31);
console.log(`TILEWISE_SEED=${process.env.TILEWISE_SEED}`);

// What the step that runs has printed last: shown again at the end where it failed, since a log's middle is often cut.
let lastLines = [];
const run = (command, args, env = {}) =>
  new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['inherit', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    for (const name of ['stdout', 'stderr']) {
      child[name].on('data', (data) => {
        process[name].write(data);
        lastLines = [...lastLines, ...String(data).split('\n')].slice(-60);
      });
    }
    child.on('error', () => resolve(false));
    child.on('close', (status) => resolve(status === 0));
  });
const npm = (script, ...args) => run('npm', ['run', '--silent', script, '--', ...args]);
const node = (script, ...args) => run(process.execPath, [script, ...args]);
const one = (isOk) => (isOk ? [1, 0] : [0, 1]);

// Vitest behind a command that hands its arguments on: as many checks as tests. A run that fails without a failed test (a
// crash, an error outside tests) counts as one failure.
async function countTests(name, command, args, env) {
  const file = path.join(results, `${name.replaceAll(/\W+/g, '-')}.json`);
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  const isOk = await run(command, [...args, ...reporters], env);
  const report = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  const { numPassedTests = 0, numFailedTests = 0, testResults = [] } = report;
  for (const { name: testFile, message, assertionResults } of testResults) {
    const failures = assertionResults.filter(({ status }) => status === 'failed');
    if (failures.length > 0 || message) lastLines.push(`${path.relative(root, testFile)}: ${message}`);
    for (const { fullName, failureMessages } of failures) lastLines.push(`failed: ${fullName}`, ...failureMessages);
  }
  return [numPassedTests, isOk ? numFailedTests : Math.max(numFailedTests, 1)];
}

const sanitized = [
  'test/laws/',
  ...['memory', 'merge', 'native-arguments', 'workers'].map((name) => `test/api/${name}.test.ts`),
  ...['blocks-arguments', 'blocks-properties', 'hip-selection', 'neighborhood-golden', 's2-properties'].map(
    (name) => `test/families/${name}.test.ts`,
  ),
];
const onnx = path.join('..', 'shared', 'conformance', 'onnx');
const hasNvcc = spawnSync('nvcc', ['--version'], { stdio: 'ignore' }).status === 0;

// Returns of `run`: checks passed and failed.
const steps = [
  { name: 'format and lint', run: async () => one(await npm('lint')) },
  {
    // With nvcc, kernels of two generations must please ptxas and the gate of cmake/kernel-image.cmake; a release has all.
    name: 'release build without warnings',
    run: async () => one(await build('release', [], ['TILEWISE_CUDA_ARCHS=80;90a;80-virtual'])),
  },
  { name: 'registers of kernels', isLeftOut: !hasNvcc, run: async () => one(await node('scripts/kernel-report.mjs')) },
  { name: 'launch limits', isLeftOut: !hasNvcc, run: async () => one(await node('scripts/launch-limits.mjs')) },
  { name: 'machine code', isLeftOut: !hasNvcc, run: async () => one(await node('scripts/machine-code.mjs')) },
  { name: 'types', run: async () => one(await npm('types')) },
  // Samples of the matrices here and below: `npm run test:all` runs them whole.
  { name: 'tests', run: () => countTests('tests', 'npm', ['test', '--'], { TILEWISE_SAMPLE: '2' }) },
  { name: 'esbuild, Next.js, Bun and Deno', run: async () => one(await node('scripts/clients.mjs')) },
  { name: 'models in onnxruntime', run: async () => one(await node('scripts/clients.mjs', '--models')) },
  { name: 'C++ checks', run: async () => one(await npm('test:native', 'release', 'thread', 'neon', 'device')) },
  {
    name: 'kernels on the emulated GPU',
    run: () => countTests('emulated', 'npm', ['run', '--silent', 'test:emulated', '--'], { TILEWISE_SAMPLE: '4' }),
  },
  {
    name: 'PTX of the kernels on the processor',
    isLeftOut: !hasNvcc,
    run: () => countTests('ptx', 'npm', ['run', '--silent', 'test:ptx', '--']),
  },
  {
    // Always the same ones: some go unnoticed so far (emulator/README.md), and a run must not fail by its luck.
    name: 'mutants of PTX',
    isLeftOut: !hasNvcc,
    run: async () => one(await npm('test:ptx-mutants', '20', '3')),
  },
  { name: 'C++ checks of the emulator', run: async () => one(await npm('test:native', 'emulated')) },
  {
    name: 'primitives against the PTX manual',
    run: async () => one(await node('scripts/gpu-conformance.mjs', 'sm_80')),
  },
  { name: 'C++ checks with AddressSanitizer', run: async () => one(await npm('test:native', 'address')) },
  {
    // Everything that reaches native code without starting another Node, which would not be instrumented alike.
    name: 'tests with AddressSanitizer',
    run: () =>
      countTests('sanitized', process.execPath, ['scripts/sanitized-tests.mjs', ...sanitized], {
        TILEWISE_SAMPLE: '3',
      }),
  },
  { name: 'checks on a GPU, where there is one', run: async () => one(await node('scripts/gpu-check.mjs')) },
  {
    name: 'ONNX Attention cases',
    isLeftOut: !existsSync(path.join(root, onnx)),
    run: async () => one(await npm('conformance:onnx', onnx)),
  },
];

const seconds = await calibrate();
const slowness = Math.max(1, seconds / budget.calibrationSeconds);
console.log(`calibration: ${seconds.toFixed(2)} s, the budget's machine takes ${budget.calibrationSeconds} s`);

let passed = 0;
let failed = 0;
const taken = {};
const ends = [];
for (const { name, isLeftOut, run: runStep } of steps) {
  if (isLeftOut) {
    console.log(`== ${name}: left out`);
    continue;
  }
  console.log(`== ${name}`);
  const begin = performance.now();
  lastLines = [];
  const [ok, bad] = await runStep();
  if (bad > 0) ends.push(`-- ${name} failed; its end was:`, ...lastLines);
  const minutes = (performance.now() - begin) / 60_000;
  taken[name] = Number(minutes.toFixed(1));
  // Below a minute a quarter is noise.
  const allowed = Math.max(budget.minutes[name] * 1.25, budget.minutes[name] + 0.5) * slowness;
  const isSlow = !(minutes <= allowed);
  passed += ok;
  failed += bad + Number(isSlow);
  console.log(`== ${name}: ${ok} passed, ${bad} failed; ${minutes.toFixed(1)} minutes of ${allowed.toFixed(1)}`);
  if (isSlow) console.log(`== ${name}: over its budget (.ci/budget.json), which counts as a failure`);
}
if (process.argv.includes('--write')) {
  const recorded = { calibrationSeconds: Number(seconds.toFixed(2)), minutes: taken };
  writeFileSync(budgetFile, `${JSON.stringify(recorded, null, 2)}\n`);
}

if (ends.length > 0) console.log(ends.join('\n'));
const total = Object.values(taken).reduce((sum, minutes) => sum + minutes, 0);
for (const [name, minutes] of Object.entries(taken)) console.log(`${minutes.toFixed(1).padStart(6)} minutes  ${name}`);
console.log(`${total.toFixed(1).padStart(6)} minutes in all`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
