// The backends the conformance suite runs on. A new one joins by one line.
// Reader: someone adding a backend. Every conformance test is written inside suite.ts's onEveryBackend().

import { native } from '../../dist/native.js';

export interface Backend {
  name: string;
  device: 'cpu' | 'cuda';
  instructionSet?: string;
}

export const backends: readonly Backend[] = [
  ...native
    .instructionSets()
    .map((instructionSet) => ({ name: `cpu ${instructionSet}`, device: 'cpu' as const, instructionSet })),
];

/** Makes calls with the backend's `device` use its instruction set from now on, in this whole process. */
export function select(backend: Backend): void {
  if (backend.instructionSet && !native.setInstructionSet(backend.instructionSet)) {
    throw new Error(`this machine cannot run ${backend.instructionSet}`);
  }
}
