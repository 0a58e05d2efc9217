// The CUDA runtime on a fake driver (test/fake-driver): its words when there is no GPU, the image that a GPU gets, errors.
// Reader: someone who changes cuda/runtime. Each scenario is a process of its own.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildFakeDriver, makeKernels, runCommands, scratch, shipped } from '../support/fake-driver.js';
import { root } from '../support/script.js';

beforeAll(buildFakeDriver);

const hasNvcc = spawnSync('nvcc', ['--version']).status === 0;
const balanced = { memory: 0, contexts: 0, misuse: '' };

describe('where there is no GPU, the one entry says why', () => {
  it('no driver: the loader is quoted, and what is needed is named', async () => {
    const { devices } = await runCommands([], {}, { environment: { TILEWISE_LIBCUDA: join(scratch, 'no-such.so') } });
    expect(devices).toEqual([
      {
        name: 'cuda',
        isAvailable: false,
        code: 'ERR_TILEWISE_NO_DEVICE',
        reason: expect.stringMatching(
          /^no CUDA driver: .*no-such\.so.*No such file.*CUDA 13\.0, that is 580 or newer$/,
        ),
      },
    ]);
  });

  it('a file that is no library', async () => {
    const file = join(scratch, 'text.so');
    writeFileSync(file, 'text');
    const { devices } = await runCommands([], {}, { environment: { TILEWISE_LIBCUDA: file } });
    expect(devices[0]).toMatchObject({ code: 'ERR_TILEWISE_NO_DEVICE', reason: expect.stringContaining('text.so') });
  });

  it.each([
    [
      'an old driver',
      { version: 12040 },
      'ERR_TILEWISE_DRIVER_TOO_OLD',
      'supports CUDA 12.4; tilewise needs a driver for CUDA 13.0, that is 580 or newer',
    ],
    ['no device', { devices: '' }, 'ERR_TILEWISE_NO_DEVICE', 'cuInit failed: CUDA_ERROR_NO_DEVICE (100)'],
    [
      'a driver that does not match its kernel module',
      { init: 803 },
      'ERR_TILEWISE_CUDA',
      'CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803), as the test asked for. Driver library and kernel module have different versions',
    ],
    [
      'a GPU that cannot be asked',
      { devices: '80', fail: 'cuDeviceGetName:1:46' },
      'ERR_TILEWISE_NO_DEVICE',
      'cuDeviceGetName failed: CUDA_ERROR_DEVICE_UNAVAILABLE (46)',
    ],
    [
      'a GPU that is too old',
      { devices: '75' },
      'ERR_TILEWISE_NO_KERNEL',
      'no kernel image for sm_75 (Fake GPU 0): kernels/ has compute_80, sm_100, sm_120, sm_80, sm_86 and sm_90a',
    ],
  ])('%s', async (_, fake, code, reason) => {
    const { devices, answers, report } = await runCommands(['run'], fake);
    expect(devices).toEqual([{ name: 'cuda', isAvailable: false, code, reason: expect.stringContaining(reason) }]);
    expect(answers).toMatchObject([{ code, message: devices[0].reason }]);
    expect(report).toMatchObject({ ...balanced, launches: [], streams: 0 });
  });

  it('no images at all', async () => {
    const { devices } = await runCommands([], { devices: '80' }, { kernels: join(scratch, 'nowhere') });
    expect(devices).toMatchObject([
      { code: 'ERR_TILEWISE_NO_KERNEL', reason: expect.stringContaining('kernels/ has none') },
    ]);
  });

  it('looking makes no context', async () => {
    const { devices, report } = await runCommands([]);
    expect(devices).toMatchObject([
      { name: 'cuda', isAvailable: true },
      { name: 'cuda:1', isAvailable: true },
    ]);
    expect(report.calls).not.toHaveProperty('cuDevicePrimaryCtxRetain');
    expect(report.calls).not.toHaveProperty('cuStreamCreate');
  });
});

describe('a GPU gets the image that fits best', () => {
  // Images say which kernels they have: only the right one has `touch`, so any other choice fails.
  const cases: [capability: number, architectures: string[], chosen: string][] = [
    [80, shipped, 'sm_80'],
    [86, shipped, 'sm_86'],
    [87, shipped, 'sm_86'],
    [89, shipped, 'sm_86'],
    [90, shipped, 'sm_90a'],
    [100, shipped, 'sm_100'],
    [103, shipped, 'sm_100'],
    [110, shipped, 'compute_80'],
    [120, shipped, 'sm_120'],
    [121, shipped, 'sm_120'],
    [89, ['sm_86', 'sm_89'], 'sm_89'],
    [86, ['sm_80', 'compute_80'], 'sm_80'],
    [90, ['sm_80', 'compute_80'], 'compute_80'],
    [90, ['sm_90', 'sm_90a'], 'sm_90a'],
    [120, ['sm_90a', 'compute_80', 'compute_90'], 'compute_90'],
    [100, ['sm_90a', 'compute_90a', 'compute_80'], 'compute_80'],
  ];
  it.each(cases)('sm_%i of %j: %s', async (capability, architectures, chosen) => {
    const kernels = makeKernels({ architectures, kernels: 'other' });
    const right = makeKernels({ architectures: [chosen] });
    const file = `probe.${chosen}.fatbin`;
    copyFileSync(join(right, file), join(kernels, file));
    const { answers, report } = await runCommands(['run', 'run'], { devices: capability }, { kernels });
    expect(answers).toMatchObject([{ code: '' }, { code: '' }]);
    expect(report).toMatchObject({ ...balanced, launches: ['0 touch', '0 touch'] });
    expect(report.calls.cuModuleLoadDataEx).toBe(1);
  });

  it.runIf(hasNvcc).each(['sm_80', 'compute_80'])('%s as the toolkit packs it', async (chosen) => {
    const kernels = makeKernels({ architectures: [] });
    const [source, ptx] = ['cu', 'ptx'].map((type) => join(kernels, `probe.${type}`));
    writeFileSync(source, 'extern "C" __global__ void touch(float* x) { x[threadIdx.x] *= 2; }');
    execFileSync('nvcc', ['-ptx', '-arch=compute_80', '-o', ptx, source]);
    const variables = {
      ...{ PTXAS: 'ptxas', FATBINARY: 'fatbinary', PTX: ptx },
      ...{ IMAGE: join(kernels, `probe.${chosen}.fatbin`), LOG: join(kernels, 'log') },
    };
    const defined = Object.entries(variables).flatMap(([name, value]) => ['-D', `${name}=${value}`]);
    execFileSync('cmake', [...defined, '-P', join(root, 'cmake', 'kernel-image.cmake')]);
    const { answers, report } = await runCommands(['run'], { devices: 80 }, { kernels });
    expect(answers).toMatchObject([{ code: '' }]);
    expect(report).toMatchObject({ ...balanced, launches: ['0 touch'] });
  });

  it('of two GPUs each its own, and one without is refused alone', async () => {
    const { devices, answers, report } = await runCommands(['run:0', 'run:1', 'run:2'], { devices: '90,75,120' });
    expect(devices).toMatchObject([
      { name: 'cuda', isAvailable: true },
      { name: 'cuda:1', isAvailable: false, code: 'ERR_TILEWISE_NO_KERNEL' },
      { name: 'cuda:2', isAvailable: true },
    ]);
    expect(answers.map(({ code }) => code)).toEqual(['', 'ERR_TILEWISE_NO_KERNEL', '']);
    expect(report).toMatchObject({ ...balanced, launches: ['0 touch', '2 touch'] });
  });
});

describe('calls', () => {
  it.each([
    ['memory pools', 1],
    ['no memory pools', 0],
  ])('bring results back and leave nothing on the GPU: %s', async (_, pools) => {
    const { answers, report } = await runCommands(['run:0:10', 'run:0:3000', 'copy:0:0', 'copy:0:11000001'], { pools });
    expect(answers.map(({ code, message }) => code + message)).toEqual(['', '', '', '']);
    expect(report).toMatchObject({ ...balanced, streams: 1 });
    // One lane with its two blocks, however much goes through.
    expect(report.pinned).toBe(8 * 2 ** 20);
    expect(report.calls.cuDevicePrimaryCtxRetain).toBe(1);
    expect(report.calls).toHaveProperty(pools ? 'cuMemAllocAsync' : 'cuMemAlloc');
    expect(report.calls).not.toHaveProperty(pools ? 'cuMemAlloc' : 'cuMemAllocAsync');
  });

  it('go to the GPU they name, many at a time', async () => {
    const { answers, report } = await runCommands(['run:1', 'many:0:40'], { slow: 2 });
    expect(answers.map(({ code, message }) => code + message)).toEqual(['', '']);
    expect(report).toMatchObject(balanced);
    expect(report.launches.filter((launch) => launch === '0 touch')).toHaveLength(20);
    expect(report.launches.filter((launch) => launch === '1 touch')).toHaveLength(21);
    // A stream for each call that runs at the same time, used again by later ones.
    expect(report.streams).toBeLessThanOrEqual(17);
  });

  it('that are cancelled launch nothing more and write nothing', async () => {
    const { answers, report } = await runCommands(['cancel', 'run']);
    expect(answers.map(({ code, message }) => code + message)).toEqual(['', '']);
    expect(report).toMatchObject({ ...balanced, launches: ['0 touch', '0 touch'] });
  });

  it('get more shared memory than 48 KB when they ask, up to what the GPU has', async () => {
    const { answers, report } = await runCommands([
      'shared:0:49152',
      'shared:0:90000',
      'shared:0:80000',
      'shared:0:200000',
    ]);
    expect(answers.map(({ code }) => code)).toEqual(['', '', '', 'ERR_TILEWISE_CUDA']);
    expect(answers[3].message).toContain('cuFuncSetAttribute failed');
    expect(report.calls.cuFuncSetAttribute).toBe(2);
    expect(report).toMatchObject(balanced);
  });
});

describe('errors', () => {
  it('a module without an image for this GPU', async () => {
    const kernels = makeKernels({ architectures: ['sm_90a'] });
    writeFileSync(join(kernels, 'other.sm_80.fatbin'), '');
    const { answers } = await runCommands(['run'], { devices: '80' }, { kernels });
    expect(answers).toMatchObject([
      {
        code: 'ERR_TILEWISE_NO_KERNEL',
        message: 'no kernel image of probe for sm_80 (Fake GPU 0): kernels/ has sm_90a',
      },
    ]);
  });

  const whole = readFileSync(join(makeKernels(), 'probe.sm_80.fatbin'));
  const wrongInside = Buffer.from(whole);
  wrongInside.writeUInt16LE(7, 16);
  it.each([
    ['an image that is none', 'text', 'probe.sm_80.fatbin is damaged'],
    ['an image that was cut short', whole.subarray(0, -1), 'probe.sm_80.fatbin is damaged'],
    ['an image that the driver does not take', wrongInside, 'probe.sm_80.fatbin not a fatbin'],
    ['an empty image', '', 'cannot be read'],
  ])('%s', async (_, content, message) => {
    const kernels = makeKernels({ architectures: ['sm_80'] });
    writeFileSync(join(kernels, 'probe.sm_80.fatbin'), content);
    const { answers, report } = await runCommands(['run'], {}, { kernels });
    expect(answers).toMatchObject([{ code: 'ERR_TILEWISE_NO_KERNEL', message: expect.stringContaining(message) }]);
    expect(report).toMatchObject(balanced);
  });

  it('a kernel that the image does not have', async () => {
    const { answers, report } = await runCommands(['run', 'run'], {}, { kernels: makeKernels({ kernels: 'other' }) });
    const message = expect.stringMatching(
      /^cuModuleGetFunction failed: CUDA_ERROR_NOT_FOUND \(500\).*sm_80\.fatbin has no touch.*reinstall/,
    );
    expect(answers).toMatchObject([
      { code: 'ERR_TILEWISE_NO_KERNEL', message },
      { code: 'ERR_TILEWISE_NO_KERNEL', message },
    ]);
    expect(report).toMatchObject(balanced);
  });

  it.each([1, 0])('out of memory, and the next call runs (pools: %i)', async (pools) => {
    const { answers, report } = await runCommands(['run:0:9000', 'copy:0:9000000', 'run:0:10'], {
      memory: 4_000_000,
      pools,
    });
    expect(answers.map(({ code }) => code)).toEqual(['ERR_TILEWISE_OUT_OF_MEMORY', 'ERR_TILEWISE_OUT_OF_MEMORY', '']);
    expect(answers[1].message).toMatch(
      /CUDA_ERROR_OUT_OF_MEMORY \(2\), out of memory; 9000000 bytes were asked for on Fake GPU 0\. Dispose of tensors/,
    );
    expect(report).toMatchObject(balanced);
    expect(report.calls.cuMemPoolTrimTo ?? 0).toBe(pools ? 2 : 0);
  });

  it.each([
    ['cuStreamSynchronize', 700, 'CUDA_ERROR_ILLEGAL_ADDRESS', 'the last kernel launched was touch'],
    ['cuLaunchKernel', 719, 'CUDA_ERROR_LAUNCH_FAILED', 'touch with 1 blocks of 128 threads'],
    ['cuMemcpyDtoHAsync', 716, 'CUDA_ERROR_MISALIGNED_ADDRESS', ''],
    ['cuMemAllocAsync', 702, 'CUDA_ERROR_LAUNCH_TIMEOUT', 'bytes were asked for'],
  ])('a fault that %s reports loses that GPU, and no other', async (call, result, name, detail) => {
    const { answers, report } = await runCommands(['run:0', 'copy:0:10', 'run:0'], {
      devices: '80',
      fail: `${call}:1:${result}`,
    });
    expect(answers[0].code).toBe('ERR_TILEWISE_DEVICE_LOST');
    expect(answers[0].message).toContain(`${call} failed: ${name} (${result})`);
    expect(answers[0].message).toContain(detail);
    expect(answers[0].message).toContain('this process cannot use that GPU again');
    for (const answer of answers.slice(1)) {
      expect(answer.code).toBe('ERR_TILEWISE_DEVICE_LOST');
      expect(answer.message).toContain(`an earlier call lost the GPU: ${call} failed: ${name}`);
    }
    expect(report).toMatchObject({ contexts: 0, misuse: '' });
  });

  // Whatever call fails in passing, at its first or second time: an error with a code, and the next call is sound.
  const calls = [
    'cuDevicePrimaryCtxRetain',
    'cuCtxPushCurrent',
    'cuStreamCreate',
    'cuEventCreate',
    'cuMemHostAlloc',
    'cuDeviceGetDefaultMemPool',
    'cuMemPoolGetAttribute',
    'cuMemPoolSetAttribute',
    'cuMemAllocAsync',
    'cuMemcpyHtoDAsync',
    'cuModuleLoadDataEx',
    'cuModuleGetFunction',
    'cuLaunchKernel',
    'cuMemcpyDtoHAsync',
    'cuStreamSynchronize',
  ];
  it.each(calls)('%s may fail once', async (call) => {
    for (const time of [1, 2]) {
      const { answers, report } = await runCommands(['run:0:20', 'run:0:20', 'run:0:20'], {
        devices: '80',
        fail: `${call}:${time}:999`,
      });
      const failed = answers.filter(({ code }) => code !== '');
      if (report.calls[call] >= time) expect(failed, `${call}, time ${time}`).toHaveLength(1);
      for (const { code, message } of failed) {
        expect(code).toBe('ERR_TILEWISE_CUDA');
        expect(message).toContain(`${call} failed: CUDA error (999)`);
      }
      expect(answers.at(-1)).toMatchObject({ code: '', message: '' });
      expect(report, `${call}, time ${time}`).toMatchObject(balanced);
    }
  });

  it('a driver that has shut down before frees is no error', async () => {
    const { answers, report } = await runCommands(['run:0', 'run:0'], { devices: '80', fail: 'cuMemFreeAsync:1:4' });
    expect(answers).toMatchObject([{ code: '' }, { code: '' }]);
    expect(report.contexts).toBe(0);
  });
});
