// The addon on the fake driver: what a program sees of devices and errors, and how the process ends with calls on a GPU in
// flight. Reader: someone who debugs a leak or a hang with a GPU. Kernels do not run there, so no test looks at results.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildFakeDriver, makeKernels, type Outcome, runOnFake, scratch } from '../support/fake-driver.js';
import { root } from '../support/script.js';

const folder = join(scratch, 'addon', 'build', 'Release');

beforeAll(() => {
  buildFakeDriver();
  // The addon looks for images beside itself: a copy of it gets some that have every kernel.
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(root, 'build', 'Release', 'tilewise.node'), join(folder, 'tilewise.node'));
  const modules = readdirSync(join(root, 'cuda', 'kernels')).map((name) => name.replace('.cu', ''));
  makeKernels({ architectures: ['sm_80', 'sm_90a'], kernels: 'any kernel', modules, folder: join(folder, 'kernels') });
});

const prelude = `
  const tilewise = await import(${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)});
  const { attention, attentionSync, devices, Tensor, versions } = tilewise;
  const operands = (tokens = 100, heads = 2, dim = 64) =>
    [0, 0, 0].map(() => new Tensor('float32', new Float32Array(tokens * heads * dim), [1, tokens, heads, dim]));
  const said = async (call) => { try { return await call(); } catch (error) { return error.code + ' ' + error.message; } };
`;

function script(source: string, fake: Record<string, string | number> = {}, environment: NodeJS.ProcessEnv = {}) {
  return runOnFake([process.execPath, '--input-type=module', '--eval', prelude + source], fake, {
    TILEWISE_PREBUILD: join(scratch, 'addon'),
    ...environment,
  });
}

const clean = { code: 0, signal: null, stderr: '' };
const balanced = { memory: 0, contexts: 0, misuse: '' };
const lines = ({ stdout }: Outcome) => stdout.split('\n').filter(Boolean);

describe('devices', () => {
  it('are the GPUs by name, with what they call themselves', async () => {
    const ended = await script('console.log(JSON.stringify(devices().slice(1)));');
    expect(ended).toMatchObject(clean);
    expect(JSON.parse(ended.stdout)).toMatchObject([
      { name: 'cuda', isAvailable: true, description: 'Fake GPU 0' },
      { name: 'cuda:1', isAvailable: true, description: 'Fake GPU 1' },
    ]);
  });

  it('are not looked for by calls that name the CPU', async () => {
    const ended = await script(`
      attentionSync(...operands(), { device: 'cpu' });
      await attention(...operands(), { device: 'cpu' });
    `);
    expect(ended).toMatchObject(clean);
    expect(ended.report).toEqual({});
  });

  it.each([
    ['ERR_TILEWISE_NO_DEVICE', 'no CUDA driver', {}, { TILEWISE_LIBCUDA: '/nowhere/libcuda.so.1' }],
    ['ERR_TILEWISE_DRIVER_TOO_OLD', 'supports CUDA 12.4', { version: 12040 }, {}],
    ['ERR_TILEWISE_NO_KERNEL', 'no kernel image for sm_75', { devices: 75 }, {}],
  ])('that cannot be used: %s, and the default device computes', async (code, reason, fake, environment) => {
    const ended = await script(
      `
      const { out } = await attention(...operands());
      console.log(out.dims.join('x'));
      console.log(await said(() => attention(...operands(), { device: 'cuda' })));
      console.log(await said(() => operands()[0].to('cuda')));
      console.log(devices()[1].reason);
    `,
      fake,
      environment,
    );
    expect(ended).toMatchObject(clean);
    const [dims, call, move, why] = lines(ended);
    expect(dims).toBe('1x100x2x64');
    for (const text of [call, move]) expect(text).toMatch(new RegExp(`^${code} .*${reason}`));
    expect(why).toContain(reason);
  });
});

describe('calls', () => {
  it('run on the GPU that is named, or on which the tensors lie, and leave nothing there', async () => {
    const ended = await script(`
      const [q, k, v] = operands();
      await attention(q, k, v, { device: 'cuda' });
      attentionSync(q, k, v, { device: 'cuda:1' });
      const moved = await Promise.all([q, k, v].map((tensor) => tensor.to('cuda:1')));
      const { out } = await attention(...moved);
      console.log(out.location);
      await out.getData();
      for (const tensor of [...moved, out]) tensor.dispose();
    `);
    expect(ended).toMatchObject(clean);
    expect(ended.stdout).toBe('cuda:1\n');
    expect(ended.report).toMatchObject(balanced);
    const devicesOf = ended.report.launches.map((launch) => launch[0]);
    expect(devicesOf[0]).toBe('0');
    expect(new Set(devicesOf.slice(devicesOf.lastIndexOf('0') + 1))).toEqual(new Set(['1']));
    expect(devicesOf.filter((device) => device === '1').length).toBeGreaterThanOrEqual(2);
  });

  it.each([
    ['ERR_TILEWISE_OUT_OF_MEMORY', 'CUDA_ERROR_OUT_OF_MEMORY', { memory: 100_000 }],
    ['ERR_TILEWISE_CUDA', 'CUDA error \\(999\\)', { fail: 'cuLaunchKernel:1:999' }],
    ['ERR_TILEWISE_DEVICE_LOST', 'CUDA_ERROR_ILLEGAL_ADDRESS', { fail: 'cuStreamSynchronize:1:700' }],
  ])('that fail say why: %s', async (code, reason, fake) => {
    const ended = await script(
      `
      console.log(await said(() => attention(...operands(1000), { device: 'cuda' })));
      console.log(await said(async () => attentionSync(...operands(10), { device: 'cuda' }).out.dims.join('x')));
    `,
      fake,
    );
    expect(ended).toMatchObject(clean);
    const [first, second] = lines(ended);
    expect(first).toMatch(new RegExp(`^${code} .*${reason}`));
    // A lost GPU stays lost, everything else was this call's alone.
    expect(second).toMatch(
      code === 'ERR_TILEWISE_DEVICE_LOST' ? /^ERR_TILEWISE_DEVICE_LOST an earlier call/ : /^1x10x2x64$/,
    );
    expect(ended.report).toMatchObject({ contexts: 0, misuse: '' });
    if (code !== 'ERR_TILEWISE_DEVICE_LOST') expect(ended.report.memory).toBe(0);
  });

  it('that are aborted reject with the reason, and leave nothing', async () => {
    const ended = await script(
      `
      const controller = new AbortController();
      const calls = Array.from({ length: 20 }, () =>
        attention(...operands(), { device: 'cuda', signal: controller.signal }).then(() => 'done', (reason) => reason));
      setTimeout(() => controller.abort('enough'), 30);
      const ends = await Promise.all(calls);
      console.log(ends.includes('enough'), ends.every((end) => end === 'done' || end === 'enough'));
    `,
      { slow: 20 },
    );
    expect(ended).toMatchObject(clean);
    expect(ended.stdout).toBe('true true\n');
    expect(ended.report).toMatchObject(balanced);
  });
});

describe('the end, with calls on a GPU in flight', () => {
  it('of a worker, by terminate()', async () => {
    const ended = await script(
      `
      const { Worker } = await import('node:worker_threads');
      const source = ${JSON.stringify(prelude)} + \`
        const { parentPort } = await import('node:worker_threads');
        for (let i = 0; i < 12; ++i) attention(...operands(), { device: i % 2 ? 'cuda' : 'cuda:1' }).catch(() => {});
        parentPort.postMessage('running');
        setInterval(() => {}, 1000);
      \`;
      for (let round = 0; round < 4; ++round) {
        const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(source)));
        await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
        await worker.terminate();
      }
      const { out } = await attention(...operands(), { device: 'cuda' });
      console.log(out.dims.join('x'));
    `,
      { slow: 25 },
    );
    expect(ended).toMatchObject(clean);
    expect(ended.stdout).toBe('1x100x2x64\n');
    expect(ended.report).toMatchObject(balanced);
  });

  it.each(['process.exit(0)', 'setTimeout(() => process.exit(0), 15)'])('of the process, by %s', async (end) => {
    const ended = await script(
      `
      for (let i = 0; i < 12; ++i) attention(...operands(), { device: 'cuda' }).catch(() => {});
      ${end};
    `,
      { slow: 25 },
    );
    expect(ended).toMatchObject(clean);
    expect(ended.report).toMatchObject({ contexts: 0, misuse: '' });
  });

  it('of the process by itself waits for them', async () => {
    const ended = await script(`attention(...operands(), { device: 'cuda' }).then(() => console.log('settled'));`, {
      slow: 100,
    });
    expect(ended).toMatchObject(clean);
    expect(ended.stdout).toBe('settled\n');
    expect(ended.report).toMatchObject(balanced);
  });
});

it.runIf(process.platform === 'linux')('the addon is linked with no library of CUDA', () => {
  const headers = execFileSync('objdump', ['-p', join(folder, 'tilewise.node')], { encoding: 'utf8' });
  expect(headers.match(/NEEDED +\S+/g)?.filter((line) => /cuda|nv/i.test(line))).toEqual([]);
});
