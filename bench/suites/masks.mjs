// `npm run bench:masks`: masks and biases as exporters write them, against the call that says the same without.
// Reader: someone whose model carries its causal rule or its padding in a mask. docs/measurements/benchmarks.md explains
// the method.
//   npm run bench:masks -- --filter decode   only groups whose name matches (a regular expression)
//   npm run bench:masks -- --quick           small shapes, few samples: does it run at all
//   npm run bench:masks -- --json out.json   write there; an unfiltered full run writes bench/results/masks.json
import { callsOf, maskGroups } from './mask-cases.mjs';
import { runOptions } from './options.mjs';
import { runRatioSuite } from './ratio-suite.mjs';

const options = runOptions();
const sampling = options.quick ? { samples: 3, minMs: 20 } : { samples: 7, minMs: 120 };
const groups = maskGroups({ isQuick: options.quick }).map((group) => ({
  name: group.name,
  threads: 1,
  prepare: () => callsOf(group),
}));
await runRatioSuite('masks.json', groups, options, sampling);
