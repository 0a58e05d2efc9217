// Would the tests notice a mistake in the machine's own language? Changes one line after the other of the PTX that nvcc made
// of the kernels, and runs their checks on the PTX machine (emulator/ptx), under race checking and then bit for bit against
// the PTX as it was. Fails where too many go unnoticed.
// Usage: node scripts/ptx-mutants.mjs [count] [seed] [part of a kernel's name]. Needs build/kernel-ptx, where a release build
// leaves the PTX. A mutant counts if its line matters to the checks: see dataflow.mjs.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { linesThatMatter } from '../test/native/mutants/ptx/dataflow.mjs';
import { drawMutant, mutantsOf, randomOf, sample } from '../test/native/mutants/ptx/draw.mjs';
import { kernelsOf, statementOf } from '../test/native/mutants/ptx/statements.mjs';
import { subjects } from '../test/native/mutants/ptx/subjects.mjs';
import { embeddedTexts, entriesOf, onlyKernels, runCheck, writeModule } from '../test/native/mutants/ptx/trial.mjs';
import { buildPrimitivesOnPtx } from './gpu-programs.mjs';
import { build, libraryOf, program, root } from './trees.mjs';

const made = path.join(root, 'build', 'kernel-ptx');
const scratch = path.join(root, 'build', 'ptx-mutants');
const [count = 200, seed = Date.now() % 2 ** 31] = process.argv.slice(2, 4).map(Number);
const [part = ''] = process.argv.slice(4);

// One in ten may go unnoticed, and two more, as a small sample says little about shares. Where nvcc asks for a shorter way to
// the same numbers, or a limit is one that no problem meets, a mutant is none; the aim is three in a hundred.
const mayBeUnnoticed = (mutants) => Math.ceil(mutants * 0.1) + 2;

/** The kernels of files, and those of the tests of the primitives, which their program carries. */
function allSubjects() {
  const ofFiles = subjects.map((subject) => ({
    changed: [subject.kernel],
    ...subject,
    lines: () => readFileSync(path.join(made, `${subject.module}.ptx`), 'utf8').split('\n'),
    check: { program: program('emulated', subject.program, 'gpu'), args: subject.args },
    // What the mutant in a folder must show itself to: races, and the bits of the original.
    environments: (folder, original) => [
      { TILEWISE_EMULATOR: `ptx:${folder},races,workers:1` },
      ...(original ? [{ TILEWISE_EMULATOR: `ptx:${original},twins:${folder},workers:1` }] : []),
    ],
  }));
  if (spawnSync('nvcc', ['--version'], { stdio: 'ignore' }).status !== 0) return ofFiles;
  const libraries = [
    libraryOf('emulated', 'emulator/ptx', 'tilewise_ptx'),
    libraryOf('emulated', 'emulator', 'tilewise_emulator'),
  ];
  const tests = path.join(root, buildPrimitivesOnPtx('sm_80', libraries));
  const texts = embeddedTexts(tests).filter((text) => text.includes('.entry'));
  const ofTests = texts.map((text, i) => ({
    kernel: `primitives-${i}`,
    module: 'primitives',
    changed: entriesOf(text.split('\n')),
    lines: () => text.split('\n'),
    check: { program: tests, args: [] },
    environments: (folder) =>
      ['races', 'lazy'].map((words) => ({
        TILEWISE_EMULATOR: words,
        TILEWISE_PTX_INSTEAD: path.join(folder, 'primitives.ptx'),
      })),
  }));
  return [...ofFiles, ...ofTests];
}

/** A subject with its PTX, and what its checks come to; these must pass. */
async function prepared(subject, number) {
  const all = subject.lines();
  const lines = subject.kernels ? onlyKernels(all, subject.kernels) : all;
  const folder = path.join(scratch, `original-${number}`);
  writeModule(folder, subject.module, lines);
  const reachedFile = path.join(folder, 'reached');
  const environment = { ...subject.environments(folder)[0], TILEWISE_PTX_REACHED: reachedFile };
  const result = await runCheck(subject.check, environment, 600);
  if (!result.isOk) throw new Error(`${subject.kernel} fails as it is: ${result.message}`);
  const kernels = kernelsOf(lines, subject.changed);
  const lineForm = new RegExp(`^(?:${subject.changed.join('|')}) (\\d+)$`, 'gm');
  const reached = new Set([...readFileSync(reachedFile, 'utf8').matchAll(lineForm)].map(([, line]) => Number(line)));
  const mattering = linesThatMatter(kernels, reached);
  const met = kernels.statements.filter(({ line }) => reached.has(line)).length;
  console.log(
    `${subject.kernel}: the checks come to ${met} of ${kernels.statements.length} lines, and use the results of ` +
      `${mattering.size} (${result.seconds.toFixed(1)} s)`,
  );
  const opcodes = new Set(all.map((line) => statementOf(line)?.opcode));
  return {
    ...subject,
    lines,
    folder,
    mattering,
    byKind: mutantsOf(kernels, opcodes),
    limit: 20 + 4 * result.seconds,
  };
}

async function tried(subject, mutant, number) {
  const folder = path.join(scratch, `mutant-${number}`);
  writeModule(folder, subject.module, subject.lines.with(mutant.statement.line - 1, mutant.replacement));
  try {
    for (const environment of subject.environments(folder, subject.folder)) {
      const result = await runCheck(subject.check, environment, subject.limit);
      if (!result.isOk) return result;
    }
    return { isOk: true };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// Different ones, on lines that the checks come to.
function drawn(prepared, random) {
  const mutants = [];
  const seen = new Set();
  let notReached = 0;
  for (let tries = 0; mutants.length < count && tries < 100 * count; ++tries) {
    const subject = prepared[random(prepared.length)];
    const mutant = drawMutant(subject.byKind, random);
    const key = `${subject.kernel} ${mutant.statement.line} ${mutant.replacement}`;
    if (seen.has(key)) continue;
    seen.add(key);
    if (subject.mattering.has(mutant.statement.line)) {
      mutants.push({ subject, mutant });
    } else {
      ++notReached;
    }
  }
  return { mutants, notReached };
}

function report({ subject, mutant, result }) {
  const { statement, kind, replacement } = mutant;
  console.log(`${subject.kernel}, line ${statement.line}, ${kind}: ${result.isOk ? 'NOT NOTICED' : result.kind}`);
  console.log(`    ${statement.text.trim()}\n    ${replacement.trim()}`);
  if (result.message) console.log(`    ${result.message.slice(0, 200)}`);
}

// As many at once as there are cores.
async function inParallel(items, work) {
  const queue = [...items.entries()];
  const results = [];
  const worker = async () => {
    for (let entry = queue.shift(); entry; entry = queue.shift()) results[entry[0]] = await work(entry[1], entry[0]);
  };
  await Promise.all(Array.from({ length: os.availableParallelism() }, worker));
  return results;
}

if (!existsSync(path.join(made, 'selection.ptx'))) throw new Error(`there is no PTX in ${made}`);
if (!(await build('emulated', ['attention_checks', 'selection_checks', 'merge_checks']))) process.exit(1);
console.log(`${count} mutants of PTX, seed ${seed}`);
rmSync(scratch, { recursive: true, force: true });

const random = randomOf(seed);
const chosen = sample(
  allSubjects().filter(({ kernel }) => kernel.includes(part)),
  Math.ceil(count / 3),
  random,
);
const { mutants, notReached } = drawn(await inParallel(chosen, prepared), random);
const tally = {};
await inParallel(mutants, async ({ subject, mutant }, number) => {
  const result = await tried(subject, mutant, number);
  report({ subject, mutant, result });
  const name = result.isOk ? 'not noticed' : result.kind;
  tally[name] = (tally[name] ?? 0) + 1;
});
const { 'not noticed': unnoticed = 0, refused = 0 } = tally;
const counted = mutants.length - refused;
console.log(
  Object.entries(tally)
    .map(([name, times]) => `${name}: ${times}`)
    .join(', '),
);
console.log(
  `seed ${seed}: of ${counted} mutants ${counted - unnoticed} are noticed, ${unnoticed} not. Passed over: ${refused} that cannot ` +
    `be read, ${notReached} on lines that matter to no check`,
);
process.exit(unnoticed <= mayBeUnnoticed(counted) ? 0 : 1);
