// Seeded bugs, as data. Each must be caught by some schedule of the emulator.
// Reader: someone who changes a kernel and finds that a mutant no longer applies, or asks whether a test would notice.
import { arithmeticMutants } from './arithmetic.mjs';
import { codeMutants } from './codes.mjs';
import { operationMutants } from './operations.mjs';
import { orderMutants } from './order.mjs';

export const mutants = [...orderMutants, ...arithmeticMutants, ...codeMutants, ...operationMutants];
