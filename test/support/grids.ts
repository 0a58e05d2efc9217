// Cases on grids. Reader: someone writing a law of neighborhood attention.

import type { Case } from '../conformance/case.js';

export const product = (lengths: readonly number[]): number => lengths.reduce((a, n) => a * n, 1);

/** A case on a grid. */
export const on = (grid: number[], c: Omit<Case, 'queries' | 'keys' | 'grid'>): Case => ({
  heads: [4, 2],
  dims: [24, 20],
  ...c,
  grid,
  queries: product(grid),
  keys: product(grid),
});
