// Would the tests notice a mistake in the machine's own language? Changes one line after the other of the PTX that nvcc made
// of the kernels, and runs their checks on the PTX machine (emulator/ptx), under race checking and then bit for bit against
// the PTX as it was. Fails where too many go unnoticed, or too many are shown to be no mistake.
// Usage: node scripts/ptx-mutants.mjs [count] [seed] [part of a kernel's name]. Needs build/kernel-ptx, where a release build
// leaves the PTX. A mutant counts if its line matters to the checks, see dataflow.mjs, and if no rule of equivalence.mjs
// shows that it does what the line did.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { linesThatMatter } from '../test/native/mutants/ptx/dataflow.mjs';
import { drawMutant, mutantsOf, randomOf, sample } from '../test/native/mutants/ptx/draw.mjs';
import { reasonOfEquivalence } from '../test/native/mutants/ptx/equivalence.mjs';
import { kernelsOf, statementOf } from '../test/native/mutants/ptx/statements.mjs';
import { subjects } from '../test/native/mutants/ptx/subjects.mjs';
import { embeddedTexts, entriesOf, onlyKernels, runCheck, writeModule } from '../test/native/mutants/ptx/trial.mjs';
import { buildPrimitivesOnPtx } from './gpu-programs.mjs';
import { build, gpuChecks, libraryOf, program, root } from './trees.mjs';

const made = path.join(root, 'build', 'kernel-ptx');
const scratch = path.join(root, 'build', 'ptx-mutants');
const [count = 200, seed = Date.now() % 2 ** 31] = process.argv.slice(2, 4).map(Number);
const [part = ''] = process.argv.slice(4);

// Of the mutants that are mistakes, 97 % must be noticed; of fewer than a hundred two less, as a small sample says little
// about shares. Of all, so many may be shown to be no mistake.
const mayBeUnnoticed = (mistakes) => 0.03 * mistakes + (mistakes < 100 ? 2 : 0);
const mostEquivalent = 0.1;

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
    kernels,
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
      mutants.push({ subject, mutant, reason: reasonOfEquivalence(subject.kernels, mutant) });
    } else {
      ++notReached;
    }
  }
  return { mutants, notReached };
}

function outcomeOf({ reason, result }) {
  if (!reason) return result.isOk ? 'NOT NOTICED' : result.kind;
  return result.isOk ? 'equivalent' : 'NOT EQUIVALENT';
}

function report(trial) {
  const { subject, mutant, reason, result } = trial;
  const { statement, kind, replacement } = mutant;
  console.log(`${subject.kernel}, line ${statement.line}, ${kind}: ${outcomeOf(trial)}`);
  console.log(`    ${statement.text.trim()}\n    ${replacement.trim()}`);
  for (const why of [reason, result.message?.slice(0, 200)].filter(Boolean)) console.log(`    ${why}`);
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
if (!(await build('emulated', gpuChecks))) process.exit(1);
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
await inParallel(mutants, async (drawnMutant, number) => {
  const trial = { ...drawnMutant, result: await tried(drawnMutant.subject, drawnMutant.mutant, number) };
  report(trial);
  const outcome = outcomeOf(trial);
  tally[outcome] = (tally[outcome] ?? 0) + 1;
});
const { 'NOT NOTICED': unnoticed = 0, 'NOT EQUIVALENT': wronglyShown = 0, equivalent = 0, refused = 0 } = tally;
const readable = mutants.length - refused;
const mistakes = readable - equivalent;
console.log(
  Object.entries(tally)
    .map(([name, times]) => `${name}: ${times}`)
    .join(', '),
);
console.log(
  `seed ${seed}: of ${mistakes} mutants ${mistakes - unnoticed} are noticed, ${unnoticed} not; ${equivalent} others are shown to be ` +
    `no mistake. Passed over: ${refused} that cannot be read, ${notReached} on lines that matter to no check`,
);
const isEnough = unnoticed <= mayBeUnnoticed(mistakes) && equivalent <= mostEquivalent * readable;
process.exit(isEnough && wronglyShown === 0 ? 0 : 1);
