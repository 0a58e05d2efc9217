// Samples of large matrices: `TILEWISE_SAMPLE=4` runs a quarter of their cases, which CI does; without it all are run.
// The run's seed decides which cases, see vitest.config.ts. Reader: someone who writes a test with dozens of cases.

import { Random } from '../conformance/random.js';

const every = Number(process.env.TILEWISE_SAMPLE ?? 1);

/** How many cases stand for `count`. */
export const sampleSize = (count: number): number => Math.ceil(count / every);

/** The cases that stand for all, at least one. */
export function sample<T>(all: readonly T[]): T[] {
  const random = new Random(Number(process.env.TILEWISE_SEED));
  const places = new Map(all.map((item) => [item, random.uniform()]));
  return all.toSorted((a, b) => places.get(a)! - places.get(b)!).slice(0, sampleSize(all.length));
}
