// The suite's vocabulary in the test runner: run on every backend, expect cases to be right, expect equal bits.
// Reader: someone writing a conformance test.

import type fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectForAll } from '../support/property.js';
import { sample, sampleSize } from '../support/sample.js';
import { type Backend, backends, select } from './backends.js';
import { build, type Case } from './case.js';
import { type Expected, faultsOf, faultsOfCase, type Output, run } from './judge.js';
import { bitsOf } from './memory.js';

export function onEveryBackend(tests: (backend: Backend) => void): void {
  for (const backend of backends) {
    describe(backend.name, () => {
      beforeAll(() => select(backend));
      tests(backend);
    });
  }
}

/** Expects a backend to be right about every case; reports all that it gets wrong. */
export function expectCases(cases: readonly Case[], backend: Backend): void {
  const faults = cases.flatMap((c) => faultsOfCase(c, backend));
  if (faults.length > 0)
    expect.fail(`${faults.length} faults in ${cases.length} cases\n${faults.slice(0, 8).join('\n')}`);
}

/** The same for a sample of many cases that cross the levels of a few options, see sample.ts. */
export function expectMatrix(cases: readonly Case[], backend: Backend): void {
  expectCases(sample(cases), backend);
}

export function expectCase(c: Case, backend: Backend): void {
  expectCases([c], backend);
}

/**
 * Random cases on every backend: so many or a sample of them, or what TILEWISE_SWEEP_CASES says. TILEWISE_SWEEP_SEED stays
 * the same from run to run: the judge estimates its bound from a sample of errors, which now and then is too small (seed 101: one
 * case). Other seeds are for people who look at what they find.
 */
export function sweep(what: string, cases: fc.Arbitrary<Case>, usually: number): void {
  const count = Number(process.env.TILEWISE_SWEEP_CASES ?? sampleSize(usually));
  onEveryBackend((backend) => {
    it(
      `random ${what}`,
      () => expectForAll(cases, count, (c) => expectCase(c, backend), 'TILEWISE_SWEEP_SEED'),
      60_000 + 1000 * count,
    );
  });
}

export function expectRight(output: Output, expected: Expected, about = ''): void {
  expect(faultsOf(output, expected), about).toEqual([]);
}

export function runCase(c: Case, backend: Backend): Output {
  return run(build(c), backend);
}

export function expectSameBits(a: Output, b: Output, about = ''): void {
  for (const name of ['out', 'lse'] as const) {
    const [first, second] = [bitsOf(a[name]), bitsOf(b[name])];
    expect(first.length, `${about} ${name}`).toBe(second.length);
    const at = first.findIndex((x, i) => x !== second[i]);
    if (at >= 0) expect.fail(`${about} ${name}[${at}]: bits ${first[at].toString(16)} and ${second[at].toString(16)}`);
  }
}
