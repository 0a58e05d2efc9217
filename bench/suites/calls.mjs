// `npm run bench:calls`: what a call costs beside what it computes.
// Reader: someone who generates text with a small model, or starts many calls at once. Prints: a token through KvCache,
// append() and one query over at most 64 keys, which the processor's caches hold; and what starting a call costs.
//   npm run bench:calls -- --quick   few rounds: does it run at all
import { KvCache, setNumThreads } from 'tilewise';
import { machineLines } from '../report/machine-lines.mjs';
import { dimsOf, randomTensor } from '../timing/inputs.mjs';
import { allThreads, describeMachine } from '../timing/machine.mjs';
import { median } from '../timing/quiet.mjs';
import { runOptions } from './options.mjs';
import { startingCost, startingLine } from './starting.mjs';

const options = runOptions();
const rounds = options.quick ? 5 : 200;
const tokens = 64;
const kvHeads = 8;

const shapes = ['float32', 'float16'].flatMap((dtype) =>
  [8, 32].flatMap((heads) => [64, 128].map((headDim) => ({ dtype, heads, headDim }))),
);

/** Microseconds a token, of every round: the two forms take turns. */
async function tokenTimes({ dtype, heads, headDim }) {
  const rows = [1, 2].map((seed) => randomTensor(dtype, dimsOf('bnhd', 1, kvHeads, headDim), seed));
  const q = randomTensor(dtype, dimsOf('bnhd', 1, heads, headDim), 3);
  const cache = new KvCache({ kvHeads, headDim, batch: 1, type: dtype });
  const times = { sync: [], promised: [] };
  const timed = async (into, token) => {
    cache.reset();
    const begin = performance.now();
    for (let i = 0; i < tokens; i++) {
      const pending = token();
      if (pending) await pending;
    }
    into.push(((performance.now() - begin) / tokens) * 1000);
  };
  for (let round = 0; round < rounds; round++) {
    await timed(times.sync, () => {
      cache.append(0, ...rows);
      cache.attentionSync(0, q);
    });
    await timed(times.promised, () => {
      cache.append(0, ...rows);
      return cache.attention(0, q);
    });
  }
  cache.dispose();
  return times;
}

setNumThreads(allThreads);
for (const line of machineLines(await describeMachine({ samples: 3 }))) console.log(`# ${line}`);
console.log(`a token through KvCache, 1 to ${tokens} keys, us: median (least)`);
const shown = (times) => `${median(times).toFixed(1)} (${Math.min(...times).toFixed(1)})`;
for (const shape of shapes) {
  const { sync, promised } = await tokenTimes(shape);
  const { dtype, heads, headDim } = shape;
  console.log(
    `  ${dtype} H=${heads}/${kvHeads} D=${headDim}: append + attentionSync ${shown(sync)}, append + await attention ${shown(promised)}`,
  );
}
console.log(startingLine(await startingCost(options.quick)));
