// Types of run.mjs for references/onnx.test.ts. Reader: the compiler.

import type { DeviceName } from '../../dist/index.js';

export interface CaseResult {
  name: string;
  outputs: number;
  isHalf: boolean;
  error: number;
  faults: string[];
}

export function runFolder(folder: string, device?: DeviceName): CaseResult[];
