// `npm run bench:calls`: what a call costs beside what it computes.
// Reader: someone who generates text with a small model, or starts many calls at once. Prints: a token through caches and a pool,
// append() and one query over at most 64 keys, which the processor's caches hold; and what starting a call costs.
//   npm run bench:calls -- --quick   few rounds: does it run at all
import { KvCache, KvPool, setNumThreads } from 'tilewise';
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

/** Caches that let go of tokens or turn keys, of one shape. */
const kinds = {
  'recentTokens: 48': { recentTokens: 48, sinkTokens: 4 },
  'recentTokens of half the heads': {
    recentTokens: Array.from({ length: kvHeads }, (_, i) => (i < 4 ? 16 : Infinity)),
  },
  rotary: { rotary: {} },
};

function inCache({ dtype, heads, headDim }, kind) {
  const rows = [1, 2].map((seed) => randomTensor(dtype, dimsOf('bnhd', 1, kvHeads, headDim), seed));
  const q = randomTensor(dtype, dimsOf('bnhd', 1, heads, headDim), 3);
  const cache = new KvCache({ kvHeads, headDim, batch: 1, type: dtype, ...kind });
  return {
    begin: () => cache.reset(),
    append: () => cache.append(0, ...rows),
    attentionSync: () => cache.attentionSync(0, q),
    attention: () => cache.attention(0, q),
    end: () => cache.dispose(),
  };
}

function inPool({ dtype, heads, headDim }) {
  const rows = [1, 2].map((seed) => randomTensor(dtype, [1, kvHeads, headDim], seed));
  const q = randomTensor(dtype, [1, heads, headDim], 3);
  const pool = new KvPool({ pages: 1, kvHeads, headDim, type: dtype });
  let sequence = pool.sequence();
  return {
    begin() {
      sequence.free();
      sequence = pool.sequence();
    },
    append: () => sequence.append(0, ...rows),
    attentionSync: () => pool.attentionSync(0, q, [sequence]),
    attention: () => pool.attention(0, q, [sequence]),
    end: () => sequence.free(),
  };
}

/** Microseconds a token, of every round: the two forms take turns. */
async function tokenTimes({ begin, append, attentionSync, attention, end }) {
  const times = { sync: [], promised: [] };
  const timed = async (into, token) => {
    begin();
    const start = performance.now();
    for (let i = 0; i < tokens; i++) {
      const pending = token();
      if (pending) await pending;
    }
    into.push(((performance.now() - start) / tokens) * 1000);
  };
  for (let round = 0; round < rounds; round++) {
    await timed(times.sync, () => {
      append();
      attentionSync();
    });
    await timed(times.promised, () => {
      append();
      return attention();
    });
  }
  end();
  return times;
}

setNumThreads(allThreads);
for (const line of machineLines(await describeMachine({ samples: 3 }))) console.log(`# ${line}`);
console.log(`a token, 1 to ${tokens} keys, us: median (least)`);
const shown = (times) => `${median(times).toFixed(1)} (${Math.min(...times).toFixed(1)})`;
async function print(name, { dtype, heads, headDim }, token) {
  const { sync, promised } = await tokenTimes(token);
  console.log(
    `  ${name} ${dtype} H=${heads}/${kvHeads} D=${headDim}: append + attentionSync ${shown(sync)}, append + await attention ${shown(promised)}`,
  );
}
for (const shape of shapes) await print('KvCache', shape, inCache(shape));
const usual = { dtype: 'float32', heads: 32, headDim: 128 };
for (const [name, kind] of Object.entries(kinds)) await print(`KvCache, ${name}`, usual, inCache(usual, kind));
await print('KvPool', usual, inPool(usual));
console.log(startingLine(await startingCost(options.quick)));
