// Runs test files against an addon built with AddressSanitizer and UndefinedBehaviorSanitizer. Arguments go to vitest.
// Reader: someone who changed binding/ or a loop, and CI. Node itself is not instrumented, so leaks are not looked for.

import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = 'build/sanitized';

function run(command, args, env = {}) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) process.exit(status ?? 1);
}

const cmakeJs = 'node_modules/cmake-js/bin/cmake-js';
run(process.execPath, [cmakeJs, 'compile', '--out', `${folder}/build`, '--CDTILEWISE_SANITIZE=address']);
run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2)], {
  // node-gyp-build looks for the addon below this folder first; the runtime must come before everything else.
  TILEWISE_PREBUILD: `${root}${folder}`,
  LD_PRELOAD: execFileSync('c++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim(),
  ASAN_OPTIONS: 'detect_leaks=0',
  UBSAN_OPTIONS: 'print_stacktrace=1',
});
