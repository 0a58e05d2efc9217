// How the tests run. Reader: someone adding a test file.
// Forks, so that a crash in native code takes down one file and not the run. Random tests and samples of matrices come from
// one seed, another one in every run; TILEWISE_SEED repeats a run. Sweeps of judged cases keep their seed, see suite.ts.
import { defineConfig } from 'vitest/config';

process.env.TILEWISE_SEED ??= String(Date.now() % 2 ** 31);
process.env.TILEWISE_SWEEP_SEED ??= '1';
console.error(`TILEWISE_SEED=${process.env.TILEWISE_SEED} TILEWISE_SWEEP_SEED=${process.env.TILEWISE_SWEEP_SEED}`);

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: '100%', // by default one core stays idle, which is half of two
    execArgv: ['--expose-gc'],
    // Only a hang takes so long. Tests measure no speed: the slowest takes 30 s on two free cores.
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
});
