// Kernel images: which are built, and what the gate lets pass. Reader: someone who changes cmake/kernels.cmake or nvcc.cmake.
// nvcc is a script here that writes what the test wants ptxas to have said; where the real one is installed, it has the
// last word.

import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { root } from './support/script.js';

const scratch = mkdtempSync(join(tmpdir(), 'tilewise-images-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const hasNvcc = spawnSync('nvcc', ['--version']).status === 0;

/** An nvcc that notes its arguments, writes its output and a dependency, says `said` and ends with `status`. */
function fakeNvcc(said: string, status = 0): string {
  const folder = mkdtempSync(join(scratch, 'nvcc-'));
  writeFileSync(join(folder, 'said'), said);
  const script = `#!/bin/sh
    echo "$@" >> ${folder}/arguments
    while [ $# -gt 1 ]; do
      case "$1" in -o) out="$2"; shift;; -MF) deps="$2"; shift;; -MT) target="$2"; shift;; esac
      shift
    done
    echo "$target : $1 $(dirname "$1")/header.h" > "$deps"
    echo image > "$out"
    cat ${folder}/said >&2
    exit ${status}`;
  writeFileSync(join(folder, 'nvcc'), script);
  chmodSync(join(folder, 'nvcc'), 0o755);
  return join(folder, 'nvcc');
}

/** What ptxas says of a kernel. */
const kernel = (
  name: string,
  properties = '0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads',
  registers = 168,
) =>
  `ptxas info    : Compiling entry function '${name}' for 'sm_80'
ptxas info    : Function properties for ${name}
    ${properties}
ptxas info    : Used ${registers} registers, used 1 barriers, 400 bytes cmem[0]
`;

function gate(nvcc: string, source: string, image = 'probe.sm_80.cubin') {
  const folder = mkdtempSync(join(scratch, 'gate-'));
  const { status, stderr } = spawnSync(
    'cmake',
    [
      ...['-D', `NVCC=${nvcc}`, '-D', `SOURCE=${source}`, '-D', `IMAGE=${join(folder, image)}`],
      ...['-D', `LOG=${join(folder, 'logs', image)}`, '-P', join(root, 'cmake', 'nvcc.cmake')],
    ],
    { encoding: 'utf8' },
  );
  const report = () =>
    JSON.parse(
      execFileSync(process.execPath, [join(root, 'scripts', 'kernel-report.mjs'), '--json', join(folder, 'logs')], {
        encoding: 'utf8',
      }),
    );
  return {
    passes: status === 0,
    isThere: existsSync(join(folder, image)),
    stderr: stderr.replace(/\s+/g, ' '),
    report,
  };
}

describe('the gate', () => {
  it('lets clean kernels pass, and their registers are reported', () => {
    const { passes, isThere, report } = gate(fakeNvcc(kernel('a') + kernel('b', undefined, 96)), 'probe.cu');
    expect({ passes, isThere }).toEqual({ passes: true, isThere: true });
    const common = {
      module: 'probe',
      architecture: 'sm_80',
      barriers: 1,
      stackBytes: 0,
      spillBytes: 0,
      constantBytes: 400,
    };
    expect(report()).toEqual([
      { ...common, kernel: 'a', registers: 168 },
      { ...common, kernel: 'b', registers: 96 },
    ]);
  });

  it.each([
    [
      'a spilled register',
      kernel('good') + kernel('bad', '0 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads'),
      'Function properties for bad',
    ],
    [
      'a stack',
      kernel('bad', '1200 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads'),
      '1200 bytes stack frame',
    ],
    [
      'loads that were spilled',
      kernel('bad', '0 bytes stack frame, 0 bytes spill stores, 4 bytes spill loads'),
      'Function properties for bad',
    ],
    [
      'code made slower',
      `${kernel('bad')}ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized\n`,
      'C7510',
    ],
    ['an image without kernels', 'ptxas info    : 0 bytes gmem\n', 'there is no kernel in'],
  ])('stops %s, and leaves no image', (_, said, why) => {
    const { passes, isThere, stderr } = gate(fakeNvcc(said), 'probe.cu');
    expect({ passes, isThere }).toEqual({ passes: false, isThere: false });
    expect(stderr).toContain('probe.sm_80.cubin:');
    expect(stderr).toContain(why);
    expect(stderr).not.toContain('Function properties for good');
  });

  it('passes on what nvcc says when it fails', () => {
    const { passes, isThere, stderr } = gate(fakeNvcc('error: expected a ";"', 1), 'probe.cu');
    expect({ passes, isThere }).toEqual({ passes: false, isThere: false });
    expect(stderr).toContain('expected a');
  });

  it.runIf(hasNvcc)('judges what the real nvcc says', { timeout: 120_000 }, () => {
    const source = (name: string, body: string) => {
      const file = join(scratch, name);
      writeFileSync(file, `extern "C" __global__ void touch(float* x, int i) { ${body} }`);
      return file;
    };
    const good = source('good.cu', 'x[threadIdx.x] *= 2;');
    expect(gate('nvcc', good)).toMatchObject({ passes: true, isThere: true });
    expect(gate('nvcc', good).report()).toMatchObject([{ kernel: 'touch', registers: expect.any(Number) }]);
    expect(gate('nvcc', good, 'probe.compute_80.ptx')).toMatchObject({ passes: true, isThere: true });
    const bad = source('bad.cu', 'float v[300]; for (int k = 0; k < 300; ++k) v[k] = x[k * 7]; x[0] = v[i];');
    expect(gate('nvcc', bad)).toMatchObject({ passes: false, stderr: expect.stringContaining('bytes stack frame') });
  });
});

describe('images', () => {
  const sources = join(scratch, 'sources');
  mkdirSync(sources);
  for (const name of ['one.cu', 'two.cu', 'header.h']) writeFileSync(join(sources, name), '');
  writeFileSync(
    join(sources, 'CMakeLists.txt'),
    `cmake_minimum_required(VERSION 3.22)
     project(images LANGUAGES NONE)
     include(${join(root, 'cmake', 'kernels.cmake')})
     tilewise_add_kernels(images \${CMAKE_BINARY_DIR}/kernels one.cu two.cu)`,
  );
  const build = join(scratch, 'build');
  const configure = (...args: string[]) =>
    spawnSync('cmake', ['-S', sources, '-B', build, ...args], { encoding: 'utf8' });
  const compile = () => execFileSync('cmake', ['--build', build], { encoding: 'utf8' });
  const images = () => readdirSync(join(build, 'kernels')).sort();

  it('are left out with a notice where there is no nvcc, unless they are asked for', () => {
    const left = configure('-DTILEWISE_NVCC=');
    expect(left.status, left.stderr).toBe(0);
    expect(left.stderr).toContain('no nvcc: building without kernel images');
    const asked = configure('-DTILEWISE_CUDA=ON');
    expect(asked.status).not.toBe(0);
    expect(asked.stderr).toContain('TILEWISE_CUDA is ON and there is no nvcc');
    expect(configure('-DTILEWISE_CUDA=OFF').stderr).not.toContain('nvcc');
    rmSync(build, { recursive: true });
  });

  it('are made for the architectures asked for, and no others stay', () => {
    const nvcc = fakeNvcc(kernel('touch'));
    const flags = () => readFileSync(join(nvcc, '..', 'arguments'), 'utf8');
    expect(configure(`-DTILEWISE_NVCC=${nvcc}`, '-DTILEWISE_CUDA=ON', '-DTILEWISE_CUDA_ARCHS=80;90a').status).toBe(0);
    compile();
    expect(images()).toEqual(['one.sm_80.cubin', 'one.sm_90a.cubin', 'two.sm_80.cubin', 'two.sm_90a.cubin']);
    expect(flags()).toContain('--cubin -gencode=arch=compute_90a,code=sm_90a');
    expect(flags().split('\n').filter(Boolean)).toHaveLength(4);
    // Nothing to do, then what depends on a header.
    compile();
    expect(flags().split('\n').filter(Boolean)).toHaveLength(4);

    expect(configure('-DTILEWISE_CUDA_ARCHS=ALL').status).toBe(0);
    compile();
    expect(images()).toHaveLength(14);
    expect(images()).toContain('two.compute_80.ptx');
    expect(flags()).toContain('--ptx -gencode=arch=compute_80,code=compute_80');

    expect(configure('-DTILEWISE_CUDA_ARCHS=80-virtual').status).toBe(0);
    compile();
    expect(images()).toEqual(['one.compute_80.ptx', 'two.compute_80.ptx']);
  });

  it('are made again when a header changes', () => {
    const nvcc = fakeNvcc(kernel('touch'));
    const runs = () =>
      readFileSync(join(nvcc, '..', 'arguments'), 'utf8')
        .split('\n')
        .filter(Boolean).length;
    configure(`-DTILEWISE_NVCC=${nvcc}`, '-DTILEWISE_CUDA_ARCHS=80');
    compile();
    const before = runs();
    writeFileSync(join(sources, 'header.h'), '// changed');
    compile();
    expect(runs()).toBe(before + 2);
  });

  it('need names of architectures', () => {
    const { status, stderr } = configure('-DTILEWISE_CUDA_ARCHS=sm_80');
    expect(status).not.toBe(0);
    expect(stderr).toContain('TILEWISE_CUDA_ARCHS has sm_80');
  });
});
