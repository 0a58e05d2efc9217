// The seeded random sweep. Reader: someone whose change broke one case in a thousand.
//     TILEWISE_SWEEP_SEED=7 TILEWISE_SWEEP_CASES=5000 npx vitest run test/27
// A failure prints the line that repeats its case alone.

import { it } from 'vitest';
import { expectCases, onEveryBackend } from './conformance/suite.js';
import { randomCase } from './conformance/sweep.js';

const firstSeed = Number(process.env.TILEWISE_SWEEP_SEED ?? 1);
const count = Number(process.env.TILEWISE_SWEEP_CASES ?? 300);
const timeout = 60_000 + 200 * count;

onEveryBackend((backend) => {
  it(
    `${count} random cases from seed ${firstSeed}`,
    () => {
      expectCases(
        Array.from({ length: count }, (_, n) => randomCase(firstSeed + n)),
        backend,
      );
    },
    timeout,
  );
});
