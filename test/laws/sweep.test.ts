// The random sweep. Reader: someone whose change broke one case in a thousand.
//     TILEWISE_SWEEP_SEED=7 TILEWISE_SWEEP_CASES=5000 npx vitest run test/laws/sweep
// A failure prints the smallest case found that fails, and the lines that repeat it.

import { sweep } from '../conformance/suite.js';
import { windowCases } from '../conformance/sweep.js';

sweep('windows', windowCases, 300);
