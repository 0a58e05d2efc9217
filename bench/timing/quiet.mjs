// Timing on a machine that is not ours alone: a sample counts only when nothing else competed for the processors.
// Reader: anyone who adds a benchmark. Contenders are sampled in turn (A B A B ...), so what drifts hits all alike.
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

const processors = os.cpus().length;
const JIFFY = 0.01; // /proc/stat counts in hundredths of a second

/** Seconds that all processors together have been busy since boot; null where the system does not say. */
function busySeconds() {
  try {
    const [user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'latin1')
      .split('\n', 1)[0]
      .trim()
      .split(/\s+/)
      .slice(1)
      .map(Number);
    return (user + nice + system + irq + softirq + steal) * JIFFY;
  } catch {
    return null;
  }
}

function ownSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {number} threads processors it uses; what it leaves free others may use
 * @property {(calls: number) => unknown} [run] does the work `calls` times; timed from outside, in ms per call
 * @property {() => number} [gauge] or: measures something itself and returns it
 * @property {(calls: number) => Promise<{ms: number, cpuSeconds: number}>} [remote] or: runs in a child process, which
 *   reports its own time per call and the processor time that it used
 * @property {number} [calls] calls per sample, where a call is so long that neither a search for it nor a warm-up is due
 * @property {number} [samples] samples wanted of this one, where it is slower than the others by far
 *
 * @typedef {object} Summary
 * @property {number} median @property {number} min @property {number} max of the samples that count
 * @property {number} quiet samples that count @property {number} tried samples taken
 * @property {boolean} isQuiet false: too few samples were quiet, so the least disturbed ones are taken
 * @property {number} [ratio] its time over the first contender's, pair by pair
 */

async function takeSample(contender, calls) {
  if (contender.gauge) return { value: contender.gauge(), elsewhere: 0 };
  if (contender.remote) {
    const { ms, cpuSeconds } = await contender.remote(calls);
    return { value: ms, elsewhere: cpuSeconds };
  }
  const begin = performance.now();
  await contender.run(calls);
  return { value: (performance.now() - begin) / calls, elsewhere: 0 };
}

/** One sample, and how many processors' worth of other people's work ran beyond what the contender left free. */
async function watchedSample(contender, calls) {
  const busy = busySeconds();
  const own = ownSeconds();
  const begin = performance.now();
  const { value, elsewhere } = await takeSample(contender, calls);
  const wall = (performance.now() - begin) / 1000;
  if (busy === null) return { value, excess: 0 };
  const foreign = busySeconds() - busy - (ownSeconds() - own) - elsewhere;
  const tolerated = (processors - contender.threads) * wall + Math.max(0.08 * wall, 2 * JIFFY);
  return { value, excess: Math.max(0, foreign - tolerated) / wall };
}

function summarize(samples, wanted) {
  const good = samples.filter((s) => s.excess === 0);
  const isQuiet = good.length >= Math.min(3, wanted);
  const used = isQuiet ? good : [...samples].sort((a, b) => a.excess - b.excess).slice(0, 3);
  const values = used.map((s) => s.value);
  return {
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    quiet: good.length,
    tried: samples.length,
    isQuiet,
  };
}

/**
 * How a contender's samples compare with the first one's of the same rounds, so that no drift between rounds counts: the
 * median of the pairs in which both were quiet, or of the least disturbed three.
 */
function pairedRatio(samples, references) {
  const pairs = samples.map(({ value, excess }, round) => ({
    ratio: value / references[round].value,
    excess: excess + references[round].excess,
  }));
  const good = pairs.filter(({ excess }) => excess === 0);
  const used = good.length >= Math.min(3, pairs.length) ? good : pairs.sort((a, b) => a.excess - b.excess).slice(0, 3);
  return median(used.map(({ ratio }) => ratio));
}

/** Waits until this process is idle: a library's worker threads may spin for a while after their work. */
async function restUntilIdle() {
  for (let waited = 0; waited < 50; waited++) {
    const before = ownSeconds();
    await sleep(10);
    if (ownSeconds() - before < 0.002) return;
  }
}

/** How many calls make a sample of about `minMs`, found by running ever more of them. Also the warm-up. */
async function callsPerSample(contender, minMs) {
  if (contender.gauge) return 1;
  if (contender.calls) return contender.calls;
  for (let calls = 1; ; ) {
    const { value } = await takeSample(contender, calls);
    if (value * calls >= minMs / 4) return Math.max(1, Math.ceil(minMs / value));
    calls = Math.min(calls * 16, Math.ceil(minMs / Math.max(value, 1e-6)));
  }
}

/**
 * Samples every contender in turn until each has as many quiet samples as wanted or has tried three times as many.
 *
 * A sample is thrown away when other processes used more than the processors that the contender leaves free plus 8 %:
 * work on an idle processor is tolerated, work that competes is not.
 * @param {Contender[]} contenders
 * @param {{samples?: number, minMs?: number, mustRest?: boolean, inPairs?: boolean}} [options] minMs: length of one sample;
 *   mustRest: wait before each, so that one contender's spinning threads do not run into the next one's sample; inPairs: the
 *   first one goes on as long as any other, for ratios of samples of the same round
 * @returns {Promise<Summary[]>} in the order of the contenders
 */
export async function interleave(contenders, { samples = 5, minMs = 200, mustRest = false, inPairs = false } = {}) {
  const calls = [];
  for (const contender of contenders) calls.push(await callsPerSample(contender, minMs));
  const taken = contenders.map(() => []);
  const wanted = contenders.map((contender) => contender.samples ?? samples);
  const isDone = (list, i) => list.filter((s) => s.excess === 0).length >= wanted[i] || list.length >= 3 * wanted[i];
  for (let round = 0; !taken.every(isDone); round++) {
    for (const [i, contender] of contenders.entries()) {
      // A gauge goes on as long as anything does: it is the ceiling beside the others' samples.
      if (isDone(taken[i], i) && !contender.gauge && !(inPairs && i === 0)) continue;
      if (mustRest) await restUntilIdle();
      taken[i].push(await watchedSample(contender, calls[i]));
    }
    if (round >= samples) await sleep(Math.min(1000, 50 * (round - samples + 1)));
  }
  return taken.map((list, i) => ({
    ...summarize(list, wanted[i]),
    ...(inPairs && i > 0 && { ratio: pairedRatio(list, taken[0]) }),
  }));
}
