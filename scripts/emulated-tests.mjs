// Runs test files against the addon built with the emulated GPU, whose kernels are the ones that ship.
// Reader: someone who changed a kernel, and CI. Arguments go to vitest; TILEWISE_EMULATOR chooses the schedule ("races",
// "random:7", "eager"), TILEWISE_SWEEP_CASES how many random cases a sweep has, TILEWISE_TEST_BACKENDS which backends the suite runs on.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = 'build/emulated';

function run(command, args, env = {}) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) process.exit(status ?? 1);
}

const cmakeJs = 'node_modules/cmake-js/bin/cmake-js';
run(process.execPath, [cmakeJs, 'compile', '--out', `${folder}/build`, '--CDTILEWISE_EMULATOR=ON']);
// node-gyp-build looks for the addon below this folder first.
// What takes a millisecond elsewhere may take seconds here.
run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--testTimeout=600000', ...process.argv.slice(2)], {
  TILEWISE_PREBUILD: `${root}${folder}`,
  TILEWISE_TEST_BACKENDS: process.env.TILEWISE_TEST_BACKENDS ?? 'cuda',
});
