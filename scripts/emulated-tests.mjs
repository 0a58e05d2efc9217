// The kernels that ship, on the emulated GPU. Builds the addon with it in the driver's place, runs the C++ checks of the
// kernels under race checking and under random schedules, then the conformance suite. Reader: someone who changed a kernel,
// and CI. With arguments it runs vitest alone and gives them to it; TILEWISE_EMULATOR chooses the schedule ("races",
// "random:7", "eager"), TILEWISE_SWEEP_CASES how many random cases a sweep has, TILEWISE_TEST_BACKENDS which backends the
// suite runs on.

import process from 'node:process';
import { kernelSuite, runKernelSuite } from './kernel-suite.mjs';
import { build, gpuChecks, program, runChecks } from './trees.mjs';

const asked = process.argv.slice(2);

const check = (name, args, schedule = 'lazy') => ({
  program: program('emulated', name, 'gpu'),
  args,
  env: { TILEWISE_EMULATOR: schedule },
});

const checks = [
  check('attention_checks', [100, 1000], 'races'),
  ...[1, 2, 3, 4, 5, 6, 7, 8].map((seed) => check('attention_checks', [15, 2000 + 15 * seed], `random:${seed}`)),
  check('attention_checks', [20, 3000], 'eager'),
  check('attention_checks', ['codes', 30], 'races'),
  check('attention_checks', ['codes', 15, 1000], 'random:9'),
  check('selection_checks', [40]),
  check('merge_checks', []),
  check('append_checks', []),
  check('rotary_checks', []),
  check('linear_checks', []),
  check('cumulative_checks', []),
  check('delta_checks', []),
  check('encode_checks', []),
  check('local_linear_checks', []),
  check('stats_checks', []),
  check('summary_checks', []),
  check('visit_checks', []),
  check('scaling_checks', []),
];

async function checkKernels() {
  // The program of the mutants is only compiled: scripts/mutants.mjs links it with few kernels.
  return (
    (await build('emulated', [...gpuChecks, 'visit_checks', 'scaling_checks', 'attention_mutants'])) &&
    runChecks(checks)
  );
}

let isOk = await build('emulated');
// Reporters are for vitest, files are a choice of what to run.
const files = asked.filter((argument) => !argument.startsWith('-'));
if (isOk && files.length === 0) isOk = await checkKernels();
if (isOk) isOk = await runKernelSuite(files.length === 0 ? [...kernelSuite, ...asked] : asked);
process.exit(isOk ? 0 : 1);
