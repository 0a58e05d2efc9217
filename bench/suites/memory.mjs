// Peak memory of one call beyond its inputs and outputs, in a fresh process: `node bench/suites/memory.mjs <tokens>` prints JSON.
// Reader: someone who doubts "O(threads x tile)". Linux only: it needs a resettable high-water mark.
import { writeFileSync } from 'node:fs';
import { attentionSync } from 'tilewise';
import { dimsOf, randomTensor } from '../timing/inputs.mjs';
import { statusBytes } from '../timing/process-memory.mjs';

const tokens = Number(process.argv[2]);
const heads = 2;
const headDim = 64;
const dims = dimsOf('bnhd', tokens, heads, headDim);
const [q, k, v, out] = [1, 2, 3, 4].map((seed) => randomTensor('float32', dims, seed));

writeFileSync('/proc/self/clear_refs', '5'); // sets VmHWM back to VmRSS
const before = statusBytes('VmRSS');
attentionSync(q, k, v, { causal: true, out });
const beyond = Math.max(0, statusBytes('VmHWM') - before);
console.log(JSON.stringify({ tokens, heads, headDim, operands: 4 * q.data.byteLength, beyond }));
