// Types of run.mjs for 30-onnx.test.ts. Reader: the compiler.

export interface CaseResult {
  name: string;
  outputs: number;
  isHalf: boolean;
  error: number;
  faults: string[];
}

export function runFolder(folder: string, device?: 'auto' | 'cpu' | 'cuda'): CaseResult[];
