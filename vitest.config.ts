// How the tests run. Reader: someone adding a test file.
// Forks, so that a crash in native code takes down one file and not the run. Random tests and samples of matrices come from
// one seed, another one in every run; TILEWISE_SEED repeats a run.
import { defineConfig } from 'vitest/config';

process.env.TILEWISE_SEED ??= String(Date.now() % 2 ** 31);
console.error(`TILEWISE_SEED=${process.env.TILEWISE_SEED}`);

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    execArgv: ['--expose-gc'],
    testTimeout: 60_000,
    hookTimeout: 180_000,
  },
});
