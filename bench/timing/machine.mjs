// The machine a result comes from: its description, and gauges for its ceilings.
// Reader: anyone who adds a benchmark or doubts one.
import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { devices, numThreads, versions } from 'tilewise';
import { native } from '../../dist/native/native.js';
import { loadCeilings } from './ceilings/build.mjs';
import { coldBytes } from './inputs.mjs';
import { origin } from './origin.mjs';
import { interleave } from './quiet.mjs';

const ceilings = loadCeilings();

function lastLevelCacheBytes() {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  try {
    const sizes = readdirSync(folder).filter((f) => f.startsWith('index'));
    return Math.max(...sizes.map((f) => Number.parseInt(readFileSync(`${folder}/${f}/size`, 'utf8'), 10) * 1024));
  } catch {
    return 0;
  }
}

export const allThreads = numThreads();
export const threadCounts = [...new Set([1, allThreads])];
export const defaultInstructionSet = devices().find((device) => device.name === 'cpu').instructionSet;
/** Instruction sets that the library and the gauges both run here, without the portable fallback; best first. */
export const instructionSets = native
  .instructionSets()
  .filter((name) => name !== 'portable' && ceilings.instructionSets().includes(name));
export const arenaBytes = coldBytes(lastLevelCacheBytes());

/** Contender (quiet.mjs) that measures the float32 FMA rate, GFLOP/s. */
export function fmaGauge(instructionSet, threads) {
  return { name: 'FMA peak', threads, gauge: () => ceilings.fmaPeak(instructionSet, threads, 0.03) };
}

// Prefetching readers are ahead of plain ones on some processors: the ceiling is the best of these, found once.
const prefetchDistances = [0, 512, 1024, 2048, 4096];
const bestPrefetch = new Map();

/** Contender that measures read bandwidth over memory that no cache holds, GB/s. */
export function bandwidthGauge(threads) {
  if (!bestPrefetch.has(threads)) {
    const rate = (prefetch) => Math.max(...[1, 2, 3].map(() => ceilings.readBandwidth(threads, arenaBytes, prefetch)));
    const rates = prefetchDistances.map(rate);
    bestPrefetch.set(threads, prefetchDistances[rates.indexOf(Math.max(...rates))]);
  }
  const prefetch = bestPrefetch.get(threads);
  return { name: 'read bandwidth', threads, gauge: () => ceilings.readBandwidth(threads, arenaBytes, prefetch) };
}

/**
 * What a result must say about where it comes from. Measures the ceilings once; every row measures its own again.
 * @returns {Promise<object>} plain JSON
 */
export async function describeMachine({ samples = 5 } = {}) {
  const peaks = [];
  for (const threads of threadCounts) {
    const sets = [...instructionSets, 'portable'];
    const gauges = [...sets.map((set) => fmaGauge(set, threads)), bandwidthGauge(threads)];
    const measured = (await interleave(gauges, { samples })).map((s) => s.median);
    const bandwidth = measured.pop();
    peaks.push({ threads, fma: Object.fromEntries(sets.map((set, i) => [set, measured[i]])), bandwidth });
  }
  return {
    ...origin(),
    threads: allThreads,
    architecture: `${process.platform}-${process.arch}`,
    memoryGiB: os.totalmem() / 2 ** 30,
    lastLevelCacheMiB: lastLevelCacheBytes() / 2 ** 20,
    coldMiB: arenaBytes / 2 ** 20,
    node: process.version,
    tilewise: versions.tilewise,
    instructionSets: native.instructionSets(),
    defaultInstructionSet,
    peaks,
  };
}
