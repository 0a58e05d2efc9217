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
type Attributes = Omit<Kernel, 'code'>;
export declare function blocksPerMultiprocessor(
  launch: Launch,
  kernel: Attributes,
  gpu: Gpu,
): Record<'registers' | 'sharedMemory' | 'threads' | 'blocks', number>;
export declare function complaints(launch: Launch, kernel: Attributes, gpu: Gpu): string[];
export declare function judge(launches: Launch[], kernels: Map<string, Attributes>, gpu: Gpu): string[];
