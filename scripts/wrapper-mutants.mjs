// Would the tests notice a mistake in the wrapper of an instruction? Seeds one after the other into cuda/prims/ptx, has nvcc
// compile a few kernels and the tests of the primitives, and runs both on the PTX machine (emulator/ptx). Fails where one
// goes unnoticed, unless what nvcc writes is the same text.
// Usage: node scripts/wrapper-mutants.mjs [part of a name ...]. Needs nvcc; a minute or so for each.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { placesOf, seeded } from '../test/native/mutants/mutant.mjs';
import { embeddedTexts, runCheck } from '../test/native/mutants/ptx/trial.mjs';
import { wrapperMutants } from '../test/native/mutants/wrappers.mjs';
import { flagsOnPtx, primitives } from './gpu-programs.mjs';
import { build, libraryOf, program, root } from './trees.mjs';

const folder = path.join(root, 'build', 'wrapper-mutants');
const sources = path.join(folder, 'sources');
const kernels = path.join(folder, 'attention_bfloat16.ptx');
const programOf = (architecture) => path.join(folder, `primitives.${architecture}`);
const architectures = Object.keys(primitives);
const tests = path.join(sources, 'test', 'native', 'primitives');
const timeLimit = 600;

async function nvcc(...args) {
  const { isOk, message } = await runCheck({ program: 'nvcc', args: ['-std=c++17', ...args] }, {}, timeLimit);
  return isOk ? null : `nvcc: ${message}`;
}

const library = (room, name) => path.join(root, libraryOf('emulated', room, name));

/** The tests of the primitives that an architecture has. */
function compilePrimitives(architecture) {
  const files = primitives[architecture].folders.flatMap((room) =>
    readdirSync(path.join(tests, room))
      .filter((file) => /\.(cu|cc)$/.test(file) && file !== 'host_emulated.cc')
      .map((file) => path.join(tests, room, file)),
  );
  return nvcc(
    ...['-O1', ...flagsOnPtx(architecture), '-o', programOf(architecture)],
    ...files,
    path.join(sources, 'emulator/ptx/cuda_runtime.cc'),
    ...[library('emulator/ptx', 'tilewise_ptx'), library('emulator', 'tilewise_emulator')],
  );
}

/** What nvcc refuses, or null. */
async function compile() {
  const parts = [
    nvcc(
      '-ptx',
      '-lineinfo',
      '-arch=compute_80',
      '-o',
      kernels,
      path.join(sources, 'test/native/mutants/attention_bfloat16.cu'),
    ),
    ...architectures.map(compilePrimitives),
  ];
  return (await Promise.all(parts)).find((failure) => failure) ?? null;
}

const attention = (kernel) => ({
  program: program('emulated', 'attention_checks', 'gpu'),
  args: ['of', `attention_${kernel}_bfloat16_32`, 12],
  words: `ptx:${folder},`,
});
const checks = [
  ...architectures.map((architecture) => ({ program: programOf(architecture), args: [], words: '' })),
  ...['stream_window', 'gather_blocks', 'decode_window'].map(attention),
];

/** What the first check that notices says, or null. */
async function firstNotice() {
  for (const schedule of ['races', 'eager', 'random:3']) {
    for (const { words, ...check } of checks) {
      const result = await runCheck(check, { TILEWISE_EMULATOR: words + schedule }, timeLimit);
      if (!result.isOk) return `${schedule}: ${result.kind}: ${result.message}`;
    }
  }
  return null;
}

/** The instructions that nvcc wrote for both, without comments, lines of the sources and names made of paths. */
function written() {
  return [readFileSync(kernels, 'utf8'), ...architectures.map(programOf).flatMap(embeddedTexts)]
    .map((text) => text.replaceAll(/\/\/.*|^\s*\.(?:loc|file)\s.*|_GLOBAL__N__\w+|^\.section[^}]*\}/gm, ''))
    .join('\n')
    .replaceAll(/\s+/g, ' ');
}

/** The outcome in words; starts with NOT where the mistake goes unnoticed. */
async function outcomeOf(mutant, original) {
  const target = path.join(sources, mutant.file);
  const source = readFileSync(target, 'utf8');
  const places = placesOf(source, mutant);
  if (places !== 1) throw new Error(`'${mutant.name}' applies ${places} times to ${mutant.file}`);
  writeFileSync(target, seeded(source, mutant));
  try {
    const refusal = await compile();
    if (refusal) return refusal;
    const notice = await firstNotice();
    if (notice) return notice;
    return written() === original ? 'nothing to notice: nvcc writes the same text' : 'NOT NOTICED';
  } finally {
    writeFileSync(target, source);
  }
}

if (!(await build('emulated', ['attention_checks', 'tilewise_ptx']))) process.exit(1);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
for (const part of ['core', 'cuda', 'emulator', 'test/native']) {
  cpSync(path.join(root, part), path.join(sources, part), { recursive: true });
}
const failure = (await compile()) ?? (await firstNotice());
if (failure) throw new Error(`the wrappers fail as they are: ${failure}`);
const original = written();

const asked = process.argv.slice(2);
let unnoticed = 0;
for (const mutant of wrapperMutants) {
  if (asked.length > 0 && !asked.some((part) => mutant.name.includes(part))) continue;
  const outcome = await outcomeOf(mutant, original);
  console.log(`${mutant.name}\n    ${outcome.slice(0, 300)}`);
  unnoticed += Number(outcome.startsWith('NOT'));
}
console.log(`${unnoticed} mistakes not noticed`);
process.exit(unnoticed === 0 ? 0 : 1);
