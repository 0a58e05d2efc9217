// Seeded random data, so that a case is fully described by its JSON. Reader: someone who makes test data.
// Which cases there are is drawn elsewhere (draw.ts), so that cases can become smaller.

import { uniformNumbers } from '../support/uniform.mjs';

export class Random {
  /** In [0, 1). */
  readonly uniform: () => number;

  constructor(seed: number) {
    this.uniform = uniformNumbers(seed);
  }

  /** Standard normal (Box-Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** In [low, high], both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.uniform() < probability;
  }
}
