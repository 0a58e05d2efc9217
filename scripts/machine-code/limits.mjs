// Whether a GPU takes a launch of a kernel, and how many of its blocks a multiprocessor holds at once.
// Reader: someone whose kernel is said to be too large. Arithmetic alone: launches are the host side's (launch_checks),
// kernels the machine code's (cubin.mjs), limits the table's (gpus.mjs).
import { everyGpu } from './gpus.mjs';

const roundUp = (x, unit) => Math.ceil(x / unit) * unit;

/** Blocks on a multiprocessor, by what they take of it. */
export function blocksPerMultiprocessor(launch, kernel, gpu) {
  const warps = Math.ceil(launch.threads / 32);
  const perWarp = roundUp(32 * kernel.registers, everyGpu.registersPerWarpUnit);
  const warpsByRegisters = everyGpu.partitions * Math.floor(everyGpu.registers / everyGpu.partitions / perWarp);
  const shared = kernel.staticSharedBytes + launch.sharedBytes + everyGpu.reservedSharedBytes;
  return {
    registers: Math.floor(warpsByRegisters / warps),
    sharedMemory: Math.floor(gpu.sharedBytes / roundUp(shared, everyGpu.sharedUnit)),
    threads: Math.floor(gpu.threads / (32 * warps)),
    blocks: gpu.blocks,
  };
}

/**
 * Every reason why the GPU would refuse the launch, or the kernel would be something else than the host side takes it for.
 * @returns {string[]}
 */
export function complaints(launch, kernel, gpu) {
  const shared = kernel.staticSharedBytes + launch.sharedBytes;
  const found = [];
  const most = (what, value, limit) => {
    if (!(value <= limit)) found.push(`${value} ${what}, the most is ${limit}`);
  };
  most('blocks', launch.blocks, everyGpu.blocksPerLaunch);
  most('threads per block', launch.threads, everyGpu.threadsPerBlock);
  most('threads per block', launch.threads, kernel.maxThreads);
  most('registers per thread', kernel.registers, everyGpu.registersPerThread);
  most('barriers', kernel.barriers, everyGpu.barriers);
  most('bytes of shared memory', shared, gpu.sharedBytesPerBlock);
  // The runtime asks for more by the dynamic part alone (cuda/runtime/loaded_kernels.h).
  if (launch.sharedBytes <= everyGpu.unaskedSharedBytes) {
    most('bytes of shared memory that are not asked for', shared, everyGpu.unaskedSharedBytes);
  }
  most('bytes of parameters', launch.paramBytes, everyGpu.paramBytes);
  most('bytes of stack', kernel.stackBytes, 0);
  if (launch.paramBytes !== kernel.paramBytes) {
    found.push(`${launch.paramBytes} bytes of parameters, the kernel has ${kernel.paramBytes}`);
  }
  for (const [what, blocks] of Object.entries(blocksPerMultiprocessor(launch, kernel, gpu))) {
    if (!(blocks >= 1)) found.push(`no block fits on a multiprocessor, by its ${what}`);
  }
  return found;
}

/**
 * The launches of a build held against its kernels: each kernel of the images is launched, each launched one is in them.
 * @returns {string[]}
 */
export function judge(launches, kernels, gpu) {
  const names = new Set(launches.map(({ kernel }) => kernel));
  const unknown = [...kernels.keys()].filter((name) => !names.has(name)).map((name) => `${name}: nothing launches it`);
  return launches.reduce((found, launch) => {
    const kernel = kernels.get(launch.kernel);
    const reasons = kernel ? complaints(launch, kernel, gpu) : ['no image has it'];
    return found.concat(reasons.map((reason) => `${launch.kernel}: ${reason}`));
  }, unknown);
}
