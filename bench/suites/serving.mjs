// `npm run bench:serving`: what short calls wait for behind long ones, and what long ones pay for that.
// Reader: someone who serves many requests from one process. A call of one token is made every 10 ms while four of 4096
// tokens are in flight all the time; docs/measurements/benchmarks.md explains the method.
//   npm run bench:serving -- --quick          a second of it: does it run at all
//   npm run bench:serving -- --json out.json  write there; a full run writes bench/results/serving.json
import { setTimeout as sleep } from 'node:timers/promises';
import { attention, setNumThreads } from 'tilewise';
import { machineLines } from '../report/machine-lines.mjs';
import { resultFile, writeResult } from '../report/result-file.mjs';
import { dimsOf, randomTensor } from '../timing/inputs.mjs';
import { allThreads, describeMachine } from '../timing/machine.mjs';
import { median } from '../timing/quiet.mjs';
import { runOptions } from './options.mjs';
import { startingCost, startingLine } from './starting.mjs';

const options = runOptions();
const seconds = options.quick ? 1 : 8;
const rounds = options.quick ? 1 : 3;
const longTokens = options.quick ? 1024 : 4096;
const inFlight = 4;

const operands = (queries, keys) => [
  randomTensor('float32', dimsOf('bnhd', queries, 8, 64), 1),
  ...[2, 3].map((seed) => randomTensor('float32', dimsOf('bnhd', keys, 8, 64), seed)),
];
const long = operands(longTokens, longTokens);
const short = operands(1, longTokens);

const quantile = (values, share) => [...values].sort((a, b) => a - b)[Math.ceil(share * values.length) - 1];

/** Keeps long calls in flight for a while, short ones beside them if asked; how long each kind took, in ms. */
async function serve(withShort) {
  const longTimes = [];
  const shortTimes = [];
  const holds = [];
  const begin = performance.now();
  const isOver = () => performance.now() - begin > 1000 * seconds;
  const timed = async (times, inputs) => {
    const start = performance.now();
    const done = attention(...inputs);
    holds.push(performance.now() - start);
    await done;
    times.push(performance.now() - start);
  };
  const chain = async () => {
    while (!isOver()) await timed(longTimes, long);
  };
  const work = Array.from({ length: inFlight }, chain);
  const asked = [];
  while (withShort && !isOver()) {
    await sleep(10);
    asked.push(timed(shortTimes, short));
  }
  await Promise.all([...work, ...asked]);
  const wall = performance.now() - begin;
  return { long: wall / longTimes.length, shortTimes, holds };
}

setNumThreads(allThreads);
const machine = await describeMachine({ samples: 3 });
for (const line of machineLines(machine)) console.log(`# ${line}`);
await serve(false); // warm-up
const alone = [];
const beside = [];
const waits = [];
for (let round = 0; round < rounds; round++) {
  alone.push((await serve(false)).long);
  const { long: perLong, shortTimes } = await serve(true);
  beside.push(perLong);
  waits.push(...shortTimes);
}

const row = {
  name: `1 query on ${longTokens} keys beside ${inFlight} calls of ${longTokens} tokens, 8 heads, D=64, threads=${allThreads}`,
  short: { calls: waits.length, median: median(waits), p99: quantile(waits, 0.99), most: Math.max(...waits) },
  long: { alone: median(alone), beside: median(beside), ratio: median(beside) / median(alone) },
  starting: await startingCost(options.quick),
};
console.log(row.name);
console.log(
  `  short: median ${row.short.median.toFixed(2)} ms, p99 ${row.short.p99.toFixed(2)} ms, most ${row.short.most.toFixed(2)} ms`,
);
console.log(
  `  long: ${row.long.alone.toFixed(1)} ms each alone, ${row.long.beside.toFixed(1)} beside them, ${row.long.ratio.toFixed(2)}x`,
);
console.log(`  ${startingLine(row.starting)}`);
const file = resultFile('serving.json', options);
if (file) writeResult(file, { machine, rows: [row] });
