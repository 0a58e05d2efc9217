// `npm run bench:caches`: decoding over KvCache and KvPool, against tensors of one's own and onnxruntime's operators.
// Reader: someone who generates or serves. docs/measurements/benchmarks.md explains the method.
//   npm run bench:caches -- --filter reading   only groups whose name matches (a regular expression)
//   npm run bench:caches -- --quick            few tokens and samples: does it run at all
//   npm run bench:caches -- --json out.json    write there; an unfiltered full run writes bench/results/caches.json
import { DecodingPeers } from '../peers/decoding.mjs';
import { allThreads } from '../timing/machine.mjs';
import { cacheGroups } from './cache-cases.mjs';
import { runOptions } from './options.mjs';
import { runRatioSuite } from './ratio-suite.mjs';

const options = runOptions();
const sampling = { mustRest: true, ...(options.quick ? { samples: 3, minMs: 20 } : { samples: 5, minMs: 150 }) };
const groups = cacheGroups({ isQuick: options.quick }, new DecodingPeers(allThreads));
await runRatioSuite('caches.json', groups, options, sampling);
