// The kernels that ship, on the emulated GPU. Builds the addon with it in the driver's place, runs the C++ checks of the
// kernels under race checking and under random schedules, then the conformance suite. Reader: someone who changed a kernel,
// and CI. With arguments it runs vitest alone and gives them to it; TILEWISE_EMULATOR chooses the schedule ("races",
// "random:7", "eager"), TILEWISE_SWEEP_CASES how many random cases a sweep has, TILEWISE_TEST_BACKENDS which backends the
// suite runs on.

import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = 'build/emulated';
const asked = process.argv.slice(2);

// The tests inside onEveryBackend(), and those about devices that need a working one.
const suite = [
  'test/laws/',
  'test/families/',
  'test/references/onnx',
  'test/devices/choosing',
  'test/devices/tensors',
  'test/devices/calls',
  'test/devices/memory',
];

function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  if (error) throw error;
  return status === 0;
}

function check(program, args, schedule = 'lazy') {
  console.log(`# ${program} ${args.join(' ')}, ${schedule}`);
  const file = path.join(root, folder, 'build', 'test', 'native', 'gpu', program);
  return run(file, args.map(String), { TILEWISE_EMULATOR: schedule });
}

function checkKernels() {
  const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
  return (
    check('attention_checks', [100, 1000], 'races') &&
    seeds.every((seed) => check('attention_checks', [15, 2000 + 15 * seed], `random:${seed}`)) &&
    check('attention_checks', [20, 3000], 'eager') &&
    check('selection_checks', [40]) &&
    check('merge_checks', [])
  );
}

function runSuite(files) {
  // node-gyp-build looks for the addon below this folder first. What takes a millisecond elsewhere may take seconds here.
  return run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--testTimeout=600000', ...files], {
    TILEWISE_PREBUILD: `${root}${folder}`,
    TILEWISE_TEST_BACKENDS: process.env.TILEWISE_TEST_BACKENDS ?? 'cuda',
  });
}

const options = ['--CDTILEWISE_EMULATOR=ON', '--CDTILEWISE_CUDA=OFF'];
const cmakeJs = 'node_modules/cmake-js/bin/cmake-js';
let isOk = run(process.execPath, [cmakeJs, 'compile', '--out', `${folder}/build`, ...options]);
// Reporters are for vitest, files are a choice of what to run.
const files = asked.filter((argument) => !argument.startsWith('-'));
if (isOk && files.length === 0) isOk = checkKernels();
if (isOk) isOk = runSuite(files.length === 0 ? [...suite, ...asked] : asked);
process.exit(isOk ? 0 : 1);
