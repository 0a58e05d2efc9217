// Types of cubin.mjs. Reader: the compiler.

export interface Kernel {
  maxThreads?: number;
  paramBytes?: number;
  registers?: number;
  stackBytes?: number;
  barriers: number;
  staticSharedBytes: number;
  code: Buffer;
}
export declare function readCubin(file: Buffer): Map<string, Kernel>;
