// Types of gpus.mjs. Reader: the compiler.

export interface Gpu {
  capability: number;
  multiprocessors: number;
  sharedBytesPerBlock: number;
  sharedBytes: number;
  threads: number;
  blocks: number;
}
export declare const gpus: Record<'sm_80' | 'sm_86' | 'sm_89' | 'sm_90a' | 'sm_100' | 'sm_120', Gpu>;
