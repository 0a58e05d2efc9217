// Laws over random values. A value that breaks a law is made smaller until nothing can be left out (fast-check does that)
// and printed with the line that repeats it. Reader: someone who writes a random test, or looks at a failing one.
// Seeds come from vitest.config.ts, which prints them; TILEWISE_SEED=7 repeats the values of a run.

import path from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';

/** The variable that holds a test's seed. */
type SeedName = 'TILEWISE_SEED' | 'TILEWISE_SWEEP_SEED';

const settings = (count: number, seed: SeedName) => ({
  seed: Number(process.env[seed]),
  path: process.env.TILEWISE_PATH,
  numRuns: count,
  endOnFailure: process.env.TILEWISE_PATH !== undefined,
});

/** Ends the search for a smaller value: 20 seconds after the first fault every value passes. */
class Patience {
  #end = Number.POSITIVE_INFINITY;

  get isOver(): boolean {
    return performance.now() > this.#end;
  }

  begin(): void {
    this.#end = Math.min(this.#end, performance.now() + 20_000);
  }
}

/** The command that repeats one value of the test that is running. */
function commandFor<T>(details: fc.RunDetails<[T]>, seed: SeedName): string {
  const { testPath, currentTestName = '' } = expect.getState();
  const name = currentTestName.replaceAll(' > ', ' ').replace(/[^\w ]/g, '.');
  const file = path.relative(process.cwd(), testPath ?? '');
  return `${seed}=${details.seed} TILEWISE_PATH=${details.counterexamplePath} npx vitest run ${file} -t '^${name}$'`;
}

function report<T>(details: fc.RunDetails<[T]>, seed: SeedName): void {
  if (!details.failed) return;
  const { counterexample, errorInstance, numRuns, numShrinks } = details;
  const message = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  const found = `value ${numRuns}, made smaller ${numShrinks} times: ${fc.stringify(counterexample?.[0])}`;
  expect.fail(`${message}\n${found}\n  ${commandFor(details, seed)}`);
}

/** Expects a check to throw for none of `count` random values. */
export function expectForAll<T>(
  values: fc.Arbitrary<T>,
  count: number,
  check: (value: T) => void,
  seed: SeedName = 'TILEWISE_SEED',
): void {
  const patience = new Patience();
  const property = fc.property(values, (value) => {
    if (patience.isOver) return;
    try {
      check(value);
    } catch (error) {
      patience.begin();
      throw error;
    }
  });
  report(fc.check(property, settings(count, seed)), seed);
}

/** The same with a check that returns a promise. */
export async function expectForAllAsync<T>(
  values: fc.Arbitrary<T>,
  count: number,
  check: (value: T) => Promise<void>,
): Promise<void> {
  const patience = new Patience();
  const property = fc.asyncProperty(values, async (value) => {
    if (patience.isOver) return;
    try {
      await check(value);
    } catch (error) {
      patience.begin();
      throw error;
    }
  });
  report(await fc.check(property, settings(count, 'TILEWISE_SEED')), 'TILEWISE_SEED');
}
