// Whether a GPU takes every launch: the largest of each kernel, held against the machine code of a build and the limits of
// its architectures. Needs no GPU. Reader: someone who changes tiles, threads or shared memory.
// Usage: node scripts/launch-limits.mjs [--all | folder of cubins, build/kernel-logs]; --all builds the machine code of all
// architectures first, where prebuilds.mjs does, and is left out where there is no nvcc.
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { readCubin } from './machine-code/cubin.mjs';
import { gpus } from './machine-code/gpus.mjs';
import { blocksPerMultiprocessor, judge } from './machine-code/limits.mjs';
import { build, program, root } from './trees.mjs';

const isAll = process.argv[2] === '--all';
if (isAll && spawnSync('nvcc', ['--version'], { stdio: 'ignore' }).status !== 0) {
  console.log('launch limits: left out, needs nvcc');
  process.exit(0);
}
const folder = path.resolve(root, isAll ? 'build/release/kernel-logs' : (process.argv[2] ?? 'build/kernel-logs'));
if (isAll && !(await build('kernels', ['tilewise_kernels']))) process.exit(1);
if (!(await build('release', ['launch_checks']))) process.exit(1);

/** The kernels of one architecture's cubins. */
function kernelsOf(architecture) {
  const files = readdirSync(folder).filter((file) => file.endsWith(`.${architecture}.cubin`));
  return new Map(files.flatMap((file) => [...readCubin(readFileSync(path.join(folder, file)))]));
}

/** What the host side launches at most on such a GPU. */
function launchesOn({ capability, multiprocessors, sharedBytesPerBlock }) {
  const args = ['largest', capability, multiprocessors, sharedBytesPerBlock].map(String);
  return JSON.parse(execFileSync(program('release', 'launch_checks'), args, { encoding: 'utf8' }));
}

const present = readdirSync(folder).filter((file) => file.endsWith('.cubin'));
const architectures = [...new Set(present.map((file) => file.split('.')[1]))].sort();
const missing = Object.keys(gpus).filter((architecture) => isAll && !architectures.includes(architecture));
for (const architecture of missing) console.log(`${architecture}: not built`);
let failed = missing.length;
console.log(
  '| GPU | kernels | registers | shared memory | blocks per multiprocessor | of which shared memory leaves fewer |',
);
console.log('| --- | ---: | ---: | ---: | ---: | ---: |');
for (const architecture of architectures) {
  const gpu = gpus[architecture];
  if (!gpu) throw new Error(`scripts/machine-code/gpus.mjs has no ${architecture}`);
  const kernels = kernelsOf(architecture);
  const launches = launchesOn(gpu);
  const found = judge(launches, kernels, gpu);
  for (const sentence of found) console.log(`${architecture}: ${sentence}`);
  failed += found.length;
  const known = launches.filter(({ kernel }) => kernels.has(kernel));
  const fits = known.map((launch) => blocksPerMultiprocessor(launch, kernels.get(launch.kernel), gpu));
  const held = fits.map((by) => Math.min(...Object.values(by)));
  const cells = [
    kernels.size,
    Math.max(...[...kernels.values()].map(({ registers }) => registers)),
    Math.max(...known.map(({ sharedBytes }) => sharedBytes)),
    `${Math.min(...held)} to ${Math.max(...held)}`,
    fits.filter(({ registers, sharedMemory }) => sharedMemory < registers).length,
  ];
  console.log(`| ${architecture} | ${cells.join(' | ')} |`);
}
if (architectures.length === 0) {
  console.log(`there are no cubins in ${folder}`);
  failed += 1;
}
console.log(`launch limits: ${architectures.length} architectures, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
