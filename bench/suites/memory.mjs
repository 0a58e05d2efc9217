// Peak memory of one call beyond its inputs and outputs, in a fresh process: `node bench/suites/memory.mjs <tokens> [pattern]`
// prints JSON.
// Reader: someone who doubts "O(threads x tile)". Linux only: it needs a resettable high-water mark.
import { writeFileSync } from 'node:fs';
import { attentionSlices, attentionSync, documents, power, sampledBlocks } from 'tilewise';
import { dimsOf, randomTensor } from '../timing/inputs.mjs';
import { statusBytes } from '../timing/process-memory.mjs';

const tokens = Number(process.argv[2]);
const pattern = process.argv[3] ?? 'causal';
const heads = 2;
const headDim = 64;
const dims = dimsOf('bnhd', tokens, heads, headDim);
const [q, k, v, out] = [1, 2, 3, 4].map((seed) => randomTensor('float32', dims, seed));

/** What a call of each pattern is told: nothing of tokens x tokens but for the scores that are never stored. */
const row = Int32Array.from({ length: tokens }, (_, i) => i);
const lengths = new Array(16).fill(tokens / 16);
const sliceOf = (_, i) => {
  const side = [i, i + 1].map((edge) => (edge * tokens) / 16);
  return { q: side, k: side, kind: 'causal' };
};
const calls = {
  causal: () => ({ causal: true }),
  documents: () => ({ pattern: documents({ lengths, causal: true }) }),
  slices: () => ({ pattern: attentionSlices(lengths.map(sliceOf)) }),
  'head-windows': () => ({ recentTokens: [8192, 256], sinkTokens: [0, 64] }),
  power: () => ({ pattern: power() }),
  'sampled-blocks': () => ({ pattern: sampledBlocks({ block: 64, geometric: { rho: 0.98, floor: 0.02 } }) }),
  positions: () => ({ causal: true, window: { left: 1023 }, positions: { queries: row, keys: row } }),
};

writeFileSync('/proc/self/clear_refs', '5'); // sets VmHWM back to VmRSS
const before = statusBytes('VmRSS');
attentionSync(q, k, v, { ...calls[pattern](), out });
const beyond = Math.max(0, statusBytes('VmHWM') - before);
console.log(JSON.stringify({ tokens, pattern, heads, headDim, operands: 4 * q.data.byteLength, beyond }));
