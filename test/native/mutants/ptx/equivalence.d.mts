// Types of equivalence.mjs. Reader: the compiler.

import type { Kernels, Statement } from './statements.mjs';

export interface Mutant {
  index: number;
  statement: Statement;
  replacement: string;
}
export declare const reasonOfEquivalence: (kernels: Kernels, mutant: Mutant) => string | undefined;
