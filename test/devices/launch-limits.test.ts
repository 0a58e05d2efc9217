// What no GPU takes is found before a GPU is asked: a launch or a kernel made too large in one respect, and the numbers of
// a cubin against what ptxas says of it. Reader: someone who changes scripts/machine-code or adds an architecture. Every
// kernel at its largest launch is scripts/launch-limits.mjs's.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readCubin } from '../../scripts/machine-code/cubin.mjs';
import { gpus } from '../../scripts/machine-code/gpus.mjs';
import { blocksPerMultiprocessor, complaints, judge } from '../../scripts/machine-code/limits.mjs';

const launch = { kernel: 'attend', blocks: 2 ** 31 - 1, threads: 128, sharedBytes: 99 << 10, paramBytes: 700 };
const kernel = { maxThreads: 128, registers: 255, barriers: 1, stackBytes: 0, staticSharedBytes: 0, paramBytes: 700 };
const architectures = Object.keys(gpus) as (keyof typeof gpus)[];

describe('the limits of a launch', () => {
  it.each(architectures)('are met on %s by a block of 99 KB and all registers', (architecture) => {
    expect(complaints(launch, kernel, gpus[architecture])).toEqual([]);
  });

  it.each([
    ['a grid of 2^31 blocks', { blocks: 2 ** 31 }, {}, '2147483648 blocks'],
    ['more threads than the kernel was compiled for', { threads: 160 }, {}, '160 threads per block'],
    ['1056 threads', { threads: 1056 }, { maxThreads: 1056, registers: 32 }, '1056 threads per block'],
    ['a tile that is one byte too large', { sharedBytes: (99 << 10) + 1 }, {}, '101377 bytes of shared memory'],
    ['static memory beside a full tile', {}, { staticSharedBytes: 16 }, '101392 bytes of shared memory'],
    [
      'static memory that nobody asked for',
      { sharedBytes: 48 << 10 },
      { staticSharedBytes: 16 },
      '49168 bytes of shared memory that are not asked for',
    ],
    ['256 registers', {}, { registers: 256 }, '256 registers per thread'],
    ['registers times threads', { threads: 384 }, { maxThreads: 384 }, 'no block fits on a multiprocessor'],
    ['17 barriers', {}, { barriers: 17 }, '17 barriers'],
    ['a stack', {}, { stackBytes: 8 }, '8 bytes of stack'],
    ['parameters of another build', { paramBytes: 704 }, {}, '704 bytes of parameters, the kernel has 700'],
    ['more than 4 KB of parameters', { paramBytes: 4104 }, { paramBytes: 4104 }, '4104 bytes of parameters'],
    ['an attribute that is not there', {}, { registers: undefined }, 'undefined registers per thread'],
  ])('stop %s', (_, wrongLaunch, wrongKernel, sentence) => {
    const found = complaints({ ...launch, ...wrongLaunch }, { ...kernel, ...wrongKernel }, gpus.sm_86);
    expect(found).toContainEqual(expect.stringContaining(sentence));
  });

  it('are those of the architecture: 227 KB fit on Hopper alone', () => {
    const large = { ...launch, sharedBytes: 227 << 10 };
    const taking = architectures.filter((architecture) => complaints(large, kernel, gpus[architecture]).length === 0);
    expect(taking).toEqual(['sm_90a', 'sm_100']);
  });

  it('say how many blocks a multiprocessor holds', () => {
    const by = (registers: number, sharedBytes: number) =>
      blocksPerMultiprocessor({ ...launch, sharedBytes }, { ...kernel, registers }, gpus.sm_86);
    expect(by(168, 49 << 10)).toEqual({ registers: 3, sharedMemory: 2, threads: 12, blocks: 16 });
    expect(by(255, (49 << 10) + 1)).toMatchObject({ registers: 2, sharedMemory: 1 });
  });

  it('need every kernel to be launched, and every launched kernel to be there', () => {
    const kernels = new Map([['attend', kernel]]);
    expect(judge([launch], kernels, gpus.sm_80)).toEqual([]);
    expect(judge([], kernels, gpus.sm_80)).toEqual(['attend: nothing launches it']);
    expect(judge([{ ...launch, kernel: 'merge' }], kernels, gpus.sm_80)).toContain('merge: no image has it');
  });
});

describe.runIf(spawnSync('nvcc', ['--version']).status === 0)('the attributes of a cubin', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'tilewise-cubin-'));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));
  const source = join(scratch, 'probe.cu');
  writeFileSync(
    source,
    `extern __shared__ __align__(1024) float rest[];
     struct Params { int many[175]; };
     extern "C" __global__ void plain(float* x) { x[threadIdx.x] = 1; }
     extern "C" __global__ void __launch_bounds__(96) shared(const __grid_constant__ Params p, float* x) {
       __shared__ float own[512];
       own[threadIdx.x] = rest[threadIdx.x] = x[threadIdx.x] + p.many[threadIdx.x];
       __syncthreads();
       x[threadIdx.x] = own[threadIdx.x ^ 7] + rest[threadIdx.x ^ 9];
     }
     extern "C" __global__ void stacked(float* x, int n) {
       float v[300];
       for (int i = 0; i < 300; ++i) v[i] = x[i * 7];
       x[threadIdx.x] = v[n];
     }`,
  );

  it.each(['sm_80', 'sm_90a', 'sm_100', 'sm_120'])(
    'are what ptxas says, on %s',
    { timeout: 60_000 },
    (architecture) => {
      const ptx = join(scratch, 'probe.ptx');
      const cubin = join(scratch, `${architecture}.cubin`);
      execFileSync('nvcc', ['-ptx', '-arch=compute_80', '-o', ptx, source]);
      const { stderr } = spawnSync('ptxas', ['-v', `-arch=${architecture}`, '-o', cubin, ptx], { encoding: 'utf8' });
      const kernels = readCubin(readFileSync(cubin));
      expect([...kernels.keys()].sort()).toEqual(['plain', 'shared', 'stacked']);
      for (const said of stderr.split("Compiling entry function '").slice(1)) {
        const number = (pattern: RegExp) => Number(pattern.exec(said)?.[1] ?? 0);
        expect(kernels.get(said.slice(0, said.indexOf("'")))).toMatchObject({
          registers: number(/Used (\d+) registers/),
          barriers: number(/used (\d+) barriers/),
          stackBytes: number(/(\d+) bytes stack frame/),
          staticSharedBytes: number(/(\d+) bytes smem/),
        });
      }
      expect(kernels.get('shared')).toMatchObject({ maxThreads: 96, paramBytes: 712, staticSharedBytes: 2048 });
      expect(kernels.get('stacked')?.stackBytes).toBeGreaterThanOrEqual(1200);
    },
  );
});
