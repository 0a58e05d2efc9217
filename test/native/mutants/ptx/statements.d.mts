// Types of statements.mjs, as far as tests need them. Reader: the compiler.

export interface Statement {
  text: string;
  opcode: string;
  operands: string;
  writes: string[];
  reads: string[];
}
export interface Kernels {
  name: string;
  statements: (Statement & { line: number })[];
  labels: Map<string, number>;
}
export declare function kernelsOf(lines: string[], names: string[]): Kernels;
