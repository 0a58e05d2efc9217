// The backends the conformance suite runs on. A new one joins by one line.
// Reader: someone adding a backend. Every conformance test is written inside suite.ts's onEveryBackend().
// TILEWISE_TEST_BACKENDS leaves only those whose name matches it, a regular expression: `cuda`, `cpu avx`.

import type { Location } from '../../dist/index.js';
import { native } from '../../dist/native/native.js';

export interface Backend {
  name: string;
  device: Location;
  instructionSet?: string;
  /**
   * How probabilities enter the second product: as float32, or rounded to the tensors' type, as tensor cores take them. The
   * naive implementation that sets the error bound does the same.
   */
  weights: 'float32' | 'storage';
}

const all: readonly Backend[] = [
  ...native.instructionSets().map((instructionSet): Backend => {
    return {
      name: `cpu ${instructionSet}`,
      device: 'cpu',
      instructionSet,
      weights: 'float32',
    };
  }),
  ...native
    .backends()
    .filter(({ name, isAvailable }) => name === 'cuda' && isAvailable)
    .map((): Backend => ({ name: 'cuda', device: 'cuda', weights: 'storage' })),
];
const wanted = new RegExp(process.env.TILEWISE_TEST_BACKENDS ?? '');
export const backends: readonly Backend[] = all.filter(({ name }) => wanted.test(name));

let current: Backend | undefined;

/**
 * Makes calls with the backend's `device` use its instruction set from now on, in this whole process, and judges hold results
 * against what it promises.
 */
export function select(backend: Backend): void {
  if (backend.instructionSet && !native.setInstructionSet(backend.instructionSet)) {
    throw new Error(`this machine cannot run ${backend.instructionSet}`);
  }
  current = backend;
}

export const selected = (): Backend | undefined => current;
