// Builds what runs on a GPU without Node into build/gpu/: the C++ checks of the operations and the benchmark of the kernels,
// which need a compiler alone; the tests of the primitives and kernel images, which need nvcc.
// Reader: gpu-pack.mjs and gpu-conformance.mjs.
import { copyFileSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { root, run } from './travelling.mjs';

export const folder = path.join('build', 'gpu');
const sources = path.join('test', 'native', 'primitives');

/** sm_80 has a part of the primitives; its program also runs on later GPUs, through PTX. `major`: of compute capability. */
export const primitives = {
  sm_80: { folders: ['.'], flags: ['-gencode=arch=compute_80,code=[sm_80,compute_80]'], runs: (major) => major >= 8 },
  sm_90a: { folders: ['.', 'sm90'], flags: ['-gencode=arch=compute_90a,code=sm_90a'], runs: (major) => major === 9 },
};
const primitivesProgram = (name) => path.join(folder, 'conformance', `conformance.${name}`);

/** Latest change of a file, or among everything in a folder. */
function newest(name) {
  const entry = statSync(path.join(root, name));
  if (!entry.isDirectory()) return entry.mtimeMs;
  return Math.max(...readdirSync(path.join(root, name)).map((inner) => newest(path.join(name, inner))));
}

/** Whether what is built is there and no older than what it is built from. */
function isCurrent(built, sourceFolders) {
  const file = path.join(root, built);
  return existsSync(file) && statSync(file).mtimeMs > Math.max(...sourceFolders.map(newest));
}

/** `room`: the folder of the sources. */
function compile(program, files, room, options, more = []) {
  if (isCurrent(program, ['cuda', 'core', room, ...more])) return program;
  console.log(`building ${program}`);
  mkdirSync(path.dirname(path.join(root, program)), { recursive: true });
  run('nvcc', ['-std=c++17', '-O1', '--threads', '2', ...options, '-o', program, ...files, ...more]);
  return program;
}

function compilePrimitives(name, folders, options, more) {
  const files = folders.flatMap((inner) =>
    readdirSync(path.join(root, sources, inner))
      .filter((file) => /\.(cu|cc)$/.test(file) && file !== 'host_emulated.cc')
      .map((file) => path.join(sources, inner, file)),
  );
  return compile(primitivesProgram(name), files, sources, options, more);
}

export function buildPrimitives(architecture) {
  const { folders, flags } = primitives[architecture];
  return compilePrimitives(architecture, folders, ['--cudart', 'static', ...flags]);
}

/** A program with its PTX alone, and a runtime that is linked by hand. */
export const flagsOnPtx = (architecture) => {
  const compute = architecture.replace('sm', 'compute');
  return ['--cudart', 'none', '--no-compress', '-lineinfo', `-gencode=arch=${compute},code=${compute}`];
};

const runtimeOnPtx = 'emulator/ptx/cuda_runtime.cc';

/** The same program with its PTX alone, and the processor in the CUDA runtime's place. `libraries`: of emulator/. */
export function buildPrimitivesOnPtx(architecture, libraries) {
  const { folders } = primitives[architecture];
  return compilePrimitives(`ptx.${architecture}`, folders, flagsOnPtx(architecture), [runtimeOnPtx, ...libraries]);
}

/** Attention as a Hopper card would run it: wgmma, TMA, mbarriers. Of bench/hardware, with its PTX alone. */
export function buildAttentionProbeOnPtx(libraries) {
  const room = path.join('bench', 'hardware');
  const program = path.join(folder, 'conformance', 'attention_probe.ptx');
  const source = path.join(room, 'attention_probe.cu');
  return compile(program, [source], room, flagsOnPtx('sm_90a'), [runtimeOnPtx, ...libraries]);
}

export function buildChecks() {
  const build = path.join('build', 'gpu-programs');
  console.log(`building the checks and the benchmark in ${folder}`);
  run('cmake', ['-S', 'test/native/gpu/device', '-B', build, '-DCMAKE_BUILD_TYPE=Release']);
  run('cmake', ['--build', build, '--parallel', '2']);
  copyFileSync(path.join(root, 'bench/gpu/cases.txt'), path.join(root, folder, 'bench', 'cases.txt'));
}

/** Images of every module for each architecture (90a, 80-virtual), as cmake/kernels.cmake makes them. */
export function buildImages(architectures) {
  const build = path.join('build', 'gpu-images');
  run('cmake', ['-S', 'test/native/gpu/images', '-B', build, `-DTILEWISE_CUDA_ARCHS=${architectures.join(';')}`]);
  console.log(`building kernel images in ${folder}`);
  run('cmake', ['--build', build, '--parallel', '2']);
}
