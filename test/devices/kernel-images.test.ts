// Kernel images: which are built, and what the gate lets pass. Reader: someone who changes cmake/kernels.cmake or
// kernel-image.cmake. The toolkit's programs are scripts here, and ptxas says what the test wants; where the real ones are
// installed, they have the last word.

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
import { root } from '../support/script.js';

const scratch = mkdtempSync(join(tmpdir(), 'tilewise-images-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const hasNvcc = spawnSync('nvcc', ['--version']).status === 0;

/**
 * A folder with an nvcc that notes its arguments, writes its output and a dependency; a ptxas and a fatbinary that do as
 * much. ptxas says `said` and ends with `status`.
 */
function fakeToolkit(said: string, status = 0): string {
  const folder = mkdtempSync(join(scratch, 'toolkit-'));
  writeFileSync(join(folder, 'said'), said);
  const scripts = {
    nvcc: `echo "$target : $1 $(dirname "$1")/header.h" > "$deps"`,
    ptxas: `cp "$1" ${folder}/given; cat ${folder}/said >&2; [ ${status} = 0 ] || exit ${status}`,
    fatbinary: '',
  };
  for (const [name, body] of Object.entries(scripts)) {
    const script = `#!/bin/sh
      echo "$@" >> ${folder}/${name}.arguments
      while [ $# -gt 0 ]; do
        case "$1" in
          -o) out="$2"; shift;; -MF) deps="$2"; shift;; -MT) target="$2"; shift;; --create=*) out="\${1#*=}";;
        esac
        [ $# -gt 1 ] || break
        shift
      done
      ${body}
      echo ${name} > "$out"`;
    writeFileSync(join(folder, name), script);
    chmodSync(join(folder, name), 0o755);
  }
  return folder;
}

/** What a program of a fake toolkit was given, call by call. */
function callsOf(toolkit: string, program: string): string[] {
  const file = join(toolkit, `${program}.arguments`);
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
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

/** Makes an image by the programs of a toolkit, or by those on the path. */
function gate(toolkit: string, ptx: string, architecture = 'sm_80') {
  const folder = mkdtempSync(join(scratch, 'gate-'));
  const image = `probe.${architecture}.fatbin`;
  const variables = {
    PTXAS: join(toolkit, 'ptxas'),
    FATBINARY: join(toolkit, 'fatbinary'),
    PTX: ptx,
    IMAGE: join(folder, image),
    LOG: join(folder, 'logs', `probe.${architecture}.log`),
  };
  const defined = Object.entries(variables).flatMap(([name, value]) => ['-D', `${name}=${value}`]);
  const { status, stderr } = spawnSync('cmake', [...defined, '-P', join(root, 'cmake', 'kernel-image.cmake')], {
    encoding: 'utf8',
  });
  const report = () =>
    JSON.parse(
      execFileSync(process.execPath, [join(root, 'scripts', 'kernel-report.mjs'), '--json', join(folder, 'logs')], {
        encoding: 'utf8',
      }),
    );
  return {
    passes: status === 0,
    isThere: existsSync(join(folder, image)),
    left: existsSync(join(folder, 'logs')) ? readdirSync(join(folder, 'logs')) : [],
    stderr: stderr.replace(/\s+/g, ' '),
    report,
  };
}

describe('the gate', () => {
  const probe = join(scratch, 'probe.ptx');
  const code = '.visible .entry touch()\n{\n\t.local .b64 %depot;\n\t.loc\t1 3 9\n\tret;\n}\n';
  writeFileSync(probe, `${code}\t.file\t1 "touch.cu"\n\t.section\t.debug_str\n\t{\n\t}\n`);

  it('takes the lines of the sources out of the PTX, and nothing else', () => {
    const toolkit = fakeToolkit(kernel('touch'));
    expect(gate(toolkit, probe).passes).toBe(true);
    expect(readFileSync(join(toolkit, 'given'), 'utf8')).toBe(code.replace('\t.loc\t1 3 9\n', ''));
  });

  it('lets clean kernels pass, and their registers are reported', () => {
    const toolkit = fakeToolkit(kernel('a') + kernel('b', undefined, 96));
    const { passes, isThere, left, report } = gate(toolkit, probe);
    const records = ['probe.sm_80.cubin', 'probe.sm_80.log'];
    expect({ passes, isThere, left }).toEqual({ passes: true, isThere: true, left: records });
    expect(callsOf(toolkit, 'ptxas')).toEqual([
      expect.stringMatching(/^-v -arch=sm_80 -o \S+ \S+probe\.sm_80\.log\.ptx$/),
    ]);
    expect(callsOf(toolkit, 'fatbinary')).toEqual([
      expect.stringMatching(/--compress-mode=size --image3=kind=elf,sm=80,file=/),
    ]);
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
    const { passes, isThere, left, stderr } = gate(fakeToolkit(said), probe);
    expect({ passes, isThere, left }).toEqual({ passes: false, isThere: false, left: ['probe.sm_80.log'] });
    expect(stderr).toContain('probe.sm_80.fatbin:');
    expect(stderr).toContain(why);
    expect(stderr).not.toContain('Function properties for good');
  });

  it('passes on what ptxas says when it fails', () => {
    const { passes, isThere, stderr } = gate(fakeToolkit('error: expected a ";"', 1), probe);
    expect({ passes, isThere }).toEqual({ passes: false, isThere: false });
    expect(stderr).toContain('expected a');
  });

  it('has nothing to say of PTX', () => {
    const toolkit = fakeToolkit('');
    expect(gate(toolkit, probe, 'compute_80')).toMatchObject({ passes: true, isThere: true, left: [] });
    expect(callsOf(toolkit, 'ptxas')).toEqual([]);
    expect(callsOf(toolkit, 'fatbinary')).toEqual([
      expect.stringMatching(/--compress-mode=size --image3=kind=ptx,sm=80,file=\S+probe\.compute_80\.log\.ptx$/),
    ]);
  });

  it.runIf(hasNvcc)('judges what the real ptxas says', () => {
    const ptx = (name: string, body: string) => {
      const file = join(scratch, name);
      writeFileSync(`${file}.cu`, `extern "C" __global__ void touch(float* x, int i) { ${body} }`);
      execFileSync('nvcc', ['-ptx', '-arch=compute_80', '-o', `${file}.ptx`, `${file}.cu`]);
      return `${file}.ptx`;
    };
    const good = ptx('good', 'x[threadIdx.x] *= 2;');
    for (const architecture of ['sm_80', 'sm_90a', 'compute_80']) {
      expect(gate('', good, architecture)).toMatchObject({ passes: true, isThere: true });
    }
    expect(gate('', good).report()).toMatchObject([{ kernel: 'touch', registers: expect.any(Number) }]);
    const bad = ptx('bad', 'float v[300]; for (int k = 0; k < 300; ++k) v[k] = x[k * 7]; x[0] = v[i];');
    expect(gate('', bad)).toMatchObject({ passes: false, stderr: expect.stringContaining('bytes stack frame') });
  });
});

describe('images', () => {
  const sources = join(scratch, 'sources');
  mkdirSync(sources);
  for (const name of ['one.cu', 'two.cu', 'fast_sm90a.cu', 'header.h']) writeFileSync(join(sources, name), '');
  writeFileSync(
    join(sources, 'CMakeLists.txt'),
    `cmake_minimum_required(VERSION 3.22)
     project(images LANGUAGES NONE)
     include(${join(root, 'cmake', 'kernels.cmake')})
     tilewise_add_kernels(images \${CMAKE_BINARY_DIR}/kernels one.cu two.cu fast_sm90a.cu)`,
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

  it('are made for the architectures asked for, out of one PTX, and no others stay', () => {
    const toolkit = fakeToolkit(kernel('touch'));
    const nvcc = `-DTILEWISE_NVCC=${join(toolkit, 'nvcc')}`;
    expect(configure(nvcc, '-DTILEWISE_CUDA=ON', '-DTILEWISE_CUDA_ARCHS=80;86').status).toBe(0);
    compile();
    expect(images()).toEqual(['one.sm_80.fatbin', 'one.sm_86.fatbin', 'two.sm_80.fatbin', 'two.sm_86.fatbin']);
    expect(callsOf(toolkit, 'ptxas')).toHaveLength(4);
    expect(callsOf(toolkit, 'nvcc')).toEqual(
      Array(2).fill(expect.stringMatching(/-std=c\+\+17 -ptx -lineinfo -arch=compute_80 .*\/(one|two)\.cu$/)),
    );
    // Nothing to do.
    compile();
    expect(callsOf(toolkit, 'ptxas')).toHaveLength(4);

    expect(configure('-DTILEWISE_CUDA_ARCHS=ALL').status).toBe(0);
    compile();
    expect(images()).toHaveLength(13);
    expect(images()).toContain('two.compute_80.fatbin');

    writeFileSync(join(build, 'kernels', 'one.sm_80.cubin'), 'of another time');
    expect(configure('-DTILEWISE_CUDA_ARCHS=80-virtual').status).toBe(0);
    compile();
    expect(images()).toEqual(['one.compute_80.fatbin', 'two.compute_80.fatbin']);
    expect(callsOf(toolkit, 'nvcc')).toHaveLength(3);
  });

  it('of sources for one architecture are made for that one', () => {
    const toolkit = fakeToolkit(kernel('touch'));
    configure(`-DTILEWISE_NVCC=${join(toolkit, 'nvcc')}`, '-DTILEWISE_CUDA_ARCHS=90a');
    writeFileSync(join(sources, 'fast_sm90a.cu'), '// changed');
    compile();
    const forFast = (program: string) =>
      callsOf(toolkit, program).filter((call) => /fast_sm90a\.(cu$|.*\.ptx$)/.test(call));
    expect(images()).toEqual(['fast_sm90a.sm_90a.fatbin', 'one.sm_90a.fatbin', 'two.sm_90a.fatbin']);
    expect(forFast('nvcc')).toEqual([expect.stringContaining('-ptx -lineinfo -arch=compute_90a ')]);
    expect(forFast('ptxas')).toEqual([expect.stringContaining('-arch=sm_90a ')]);
  });

  it('are made again when a header changes', () => {
    const toolkit = fakeToolkit(kernel('touch'));
    configure(`-DTILEWISE_NVCC=${join(toolkit, 'nvcc')}`, '-DTILEWISE_CUDA_ARCHS=80');
    compile();
    const before = ['nvcc', 'ptxas'].map((program) => callsOf(toolkit, program).length);
    writeFileSync(join(sources, 'header.h'), '// changed');
    compile();
    const after = ['nvcc', 'ptxas'].map((program) => callsOf(toolkit, program).length);
    expect(after).toEqual(before.map((calls) => calls + 2));
  });

  it.each(['sm_80', '90-virtual'])('need names of architectures, which %s is none of', (name) => {
    const { status, stderr } = configure(`-DTILEWISE_CUDA_ARCHS=${name}`);
    expect(status).not.toBe(0);
    expect(stderr).toContain(`TILEWISE_CUDA_ARCHS has ${name}`);
  });
});
