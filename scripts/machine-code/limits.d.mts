// Types of limits.mjs. Reader: the compiler.

import type { Kernel } from './cubin.mjs';
import type { Gpu } from './gpus.mjs';

export interface Launch {
  kernel: string;
  blocks: number;
  threads: number;
  sharedBytes: number;
  paramBytes: number;
}
export declare function blocksPerMultiprocessor(
  launch: Launch,
  kernel: Kernel,
  gpu: Gpu,
): Record<'registers' | 'sharedMemory' | 'threads' | 'blocks', number>;
export declare function complaints(launch: Launch, kernel: Kernel, gpu: Gpu): string[];
export declare function judge(launches: Launch[], kernels: Map<string, Kernel>, gpu: Gpu): string[];
