// Runs test files against the addon of the address tree (trees.mjs). Arguments go to vitest.
// Reader: someone who changed binding/ or a loop, and CI. Node itself is not instrumented, so leaks are not looked for.

import { execFileSync } from 'node:child_process';
import process from 'node:process';
import { build, prebuildOf, run } from './trees.mjs';

const isOk =
  (await build('address')) &&
  (await run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2)], {
    // node-gyp-build looks for the addon below this folder first; the runtime must come before everything else.
    TILEWISE_PREBUILD: prebuildOf('address'),
    LD_PRELOAD: execFileSync('c++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim(),
    ASAN_OPTIONS: 'detect_leaks=0',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  }));
process.exit(isOk ? 0 : 1);
