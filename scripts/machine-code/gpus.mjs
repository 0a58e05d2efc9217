// What GPUs allow a launch, by the architecture of a kernel image. Reader: someone who adds an architecture.
// From the CUDA programming guide's tables of compute capabilities and the toolkit's cuda_occupancy.h. Multiprocessors are
// those of one card each; only selection's division of work depends on them.

const large = { sharedBytesPerBlock: 227 << 10, sharedBytes: 228 << 10, threads: 2048, blocks: 32 };
const small = { sharedBytesPerBlock: 99 << 10, sharedBytes: 100 << 10, threads: 1536 };

/** Per multiprocessor, but for sharedBytesPerBlock: the most that a block may have, once it is asked for. */
export const gpus = {
  sm_80: { capability: 80, multiprocessors: 108, ...large, sharedBytesPerBlock: 163 << 10, sharedBytes: 164 << 10 },
  sm_86: { capability: 86, multiprocessors: 84, ...small, blocks: 16 },
  sm_89: { capability: 89, multiprocessors: 128, ...small, blocks: 24 },
  sm_90a: { capability: 90, multiprocessors: 132, ...large },
  sm_100: { capability: 100, multiprocessors: 148, ...large },
  sm_120: { capability: 120, multiprocessors: 170, ...small, blocks: 24 },
};

/** Of every GPU from compute capability 8.0 on. */
export const everyGpu = {
  threadsPerBlock: 1024,
  blocksPerLaunch: 2 ** 31 - 1, // of the one dimension that grids have here; y and z end at 65,535
  registersPerThread: 255,
  registers: 65_536, // per multiprocessor, and per block
  registersPerWarpUnit: 256, // a warp takes a multiple of this
  partitions: 4, // of a multiprocessor: each has a quarter of the registers, and whole warps
  barriers: 16, // per block
  unaskedSharedBytes: 48 << 10, // static and dynamic, of a block that did not ask for more
  reservedSharedBytes: 1 << 10, // per block, beside its own
  sharedUnit: 128, // a block takes a multiple of this
  paramBytes: 4096, // what prims/kernel.h allows; drivers from CUDA 12.1 on take 32,764
};
