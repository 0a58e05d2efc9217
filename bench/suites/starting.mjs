// What starting many small calls in one turn costs the event loop, per call.
// Reader: someone who serves. The time of a turn is also that in which workers had the processor; the thread's own time is
// shown beside it where the system counts it (Linux, /proc/<pid>/task/<tid>/schedstat).
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { attention } from 'tilewise';
import { dimsOf, randomTensor } from '../timing/inputs.mjs';
import { median } from '../timing/quiet.mjs';

const tokens = 256;
const [heads, headDim] = [4, 32];

/** Milliseconds that the main thread has run; NaN where the system does not say. */
function threadTime() {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
  } catch {
    return Number.NaN;
  }
}

/** Microseconds that each of so many calls takes, and how many of them the thread itself runs. */
function perCall(calls, run) {
  const begin = { wall: performance.now(), thread: threadTime() };
  const kept = run();
  const microseconds = ((performance.now() - begin.wall) / calls) * 1000;
  return { kept, microseconds, running: ((threadTime() - begin.thread) / calls) * 1000 };
}

/** @param {boolean} isQuick few calls: does it run at all */
export async function startingCost(isQuick) {
  const inputs = [1, 2, 3].map((seed) => randomTensor('float32', dimsOf('bnhd', tokens, heads, headDim), seed));
  const calls = isQuick ? 200 : 2000;
  const length = { length: calls };
  const starts = [];
  const makes = [];
  for (let round = 0; round < 5; round++) {
    const start = perCall(calls, () => Array.from(length, () => attention(...inputs)));
    starts.push(start);
    await Promise.all(start.kept);
    makes.push(perCall(calls, () => Array.from(length, () => new Float32Array(tokens * heads * headDim))));
  }
  const of = (samples, name) => median(samples.map((sample) => sample[name]));
  return {
    calls,
    microseconds: of(starts, 'microseconds'),
    running: of(starts, 'running'),
    allocating: of(makes, 'microseconds'),
    allocatingRunning: of(makes, 'running'),
  };
}

/** The figures as a line. */
export const startingLine = ({ calls, microseconds, running, allocating, allocatingRunning }) =>
  `starting ${calls} calls in one turn: ${microseconds.toFixed(0)} us each, ${allocating.toFixed(0)} us of it for the result's ` +
  `memory; the thread itself runs ${running.toFixed(0)} us, ${allocatingRunning.toFixed(0)} us of it for that`;
