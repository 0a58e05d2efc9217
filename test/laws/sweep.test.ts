// The seeded random sweep. Reader: someone whose change broke one case in a thousand.
//     TILEWISE_SWEEP_SEED=7 TILEWISE_SWEEP_CASES=5000 npx vitest run test/laws/sweep
// A failure prints the line that repeats its case alone.

import { sweep } from '../conformance/suite.js';
import { randomCase } from '../conformance/sweep.js';

sweep('cases', randomCase, 300);
