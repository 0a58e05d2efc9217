// Would the tests notice? Seeds one bug after the other into the kernels, compiles each for the emulator and runs the
// checks of its family under several schedules. Fails where a bug goes unnoticed.
// Usage: node scripts/mutants.mjs [--all | --list] [part of a name ...]; with --all a bug is tried under every schedule,
// to see which of them notice, without only until one does. --list names the bugs, and fails where the source of one has
// changed.
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { placesOf, seeded } from '../test/native/mutants/mutant.mjs';
import { mutants } from '../test/native/mutants/table.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const build = path.join(root, 'build', 'mutants');
const checks = path.join(build, 'checks');
const libraries = [
  'cuda/libtilewise_cuda.a',
  'cuda/libtilewise_cuda_operations.a',
  'emulator/libtilewise_machines.a',
  'emulator/ptx/libtilewise_ptx.a',
  'emulator/libtilewise_emulator.a',
  'cpu/libtilewise_cpu.a',
];

// What is compiled anew for each mutant, the checks it is linked with, and how many problems they try.
const families = {
  attention: { kernels: 'test/native/mutants/attention_bfloat16.cu', checks: 'attention', problems: 250 },
  float32: { kernels: 'test/native/mutants/attention_float32.cu', checks: 'attention', problems: 250 },
  selection: { kernels: 'cuda/kernels/selection.cu', checks: 'selection', problems: 12 },
  merge: { kernels: 'cuda/kernels/merge.cu', checks: 'merge', problems: 40 },
  append: { kernels: 'cuda/kernels/append.cu', checks: 'append', problems: 40 },
  rotary: { kernels: 'cuda/kernels/rotary.cu', checks: 'rotary', problems: 40 },
  cumulative: { kernels: 'cuda/kernels/cumulative.cu', checks: 'cumulative', problems: 24 },
  delta: { kernels: 'cuda/kernels/delta.cu', checks: 'delta', problems: 20 },
  encode: { kernels: 'cuda/kernels/encode.cu', checks: 'encode', problems: 20 },
  linear: { kernels: 'cuda/kernels/linear.cu', checks: 'linear', problems: 20 },
  local_linear: { kernels: 'cuda/kernels/local_linear.cu', checks: 'local_linear', problems: 24 },
  stats: { kernels: 'cuda/kernels/stats.cu', checks: 'stats', problems: 40 },
  summary: { kernels: 'cuda/kernels/summary.cu', checks: 'summary', problems: 20 },
};
const schedules = ['races', 'lazy', 'eager', 'random:1', 'random:2', 'random:3'];
const timeLimit = 300_000; // a bug may well make a kernel run for ever

// -O0 takes half as long in all: most mutants are noticed by the first few problems.
const flags = ['-std=c++17', '-O0', '-g1', '-w', '-fno-optimize-sibling-calls', '-DTILEWISE_EMULATE'];

// Exit status and output; status null when it took too long or crashed.
function run(command, args, cwd = root) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, timeout: timeLimit });
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
    });
    child.stderr.on('data', (data) => {
      output += data;
    });
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });
}
async function require0(command, args, cwd) {
  const { status, output } = await run(command, args, cwd);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}\n${output}`);
}

function requireApplicable(mutant) {
  const { family, name, file } = mutant;
  const places = placesOf(readFileSync(path.join(root, file), 'utf8'), mutant);
  if (places !== 1) throw new Error(`'${family}: ${name}' applies ${places} times to ${file}`);
}

// A copy of the sources that a mutant may change, one per worker.
class Tree {
  constructor(number) {
    this.folder = path.join(build, `tree-${number}`);
    rmSync(this.folder, { recursive: true, force: true });
    mkdirSync(this.folder, { recursive: true });
    for (const part of ['core', 'cuda', 'emulator', 'test/native/mutants']) {
      cpSync(path.join(root, part), path.join(this.folder, part), { recursive: true });
    }
  }

  async compile(family) {
    const { kernels, checks: linked } = families[family];
    const program = path.join(this.folder, `${family}_checks`);
    const group = [`libchecks_${linked}.a`, ...libraries].map((file) => path.join(checks, file));
    await require0('g++', [...flags, '-Iemulator', '-xc++', '-c', kernels, '-o', `${program}.o`], this.folder);
    const link = [`${program}.o`, '-Wl,--start-group', ...group, '-Wl,--end-group', '-lpthread', '-ldl'];
    await require0('g++', [...link, '-o', program], this.folder);
    return program;
  }

  // Which schedules notice, and what the first of them says.
  async check(family, isThorough) {
    const program = await this.compile(family);
    const noticed = [];
    let message = '';
    for (const schedule of schedules) {
      const { status, output } = await run(program, [String(families[family].problems), schedule]);
      if (status === 0) continue;
      noticed.push(schedule);
      message ||= status === null ? 'crashed, or did not end' : output.trim().split('\n')[0];
      if (!isThorough) break;
    }
    return { noticed, message };
  }

  async checkMutant(mutant) {
    const { family, name, file } = mutant;
    const target = path.join(this.folder, file);
    const source = readFileSync(target, 'utf8');
    writeFileSync(target, seeded(source, mutant));
    try {
      return await this.check(family, isThorough);
    } catch (error) {
      throw new Error(`${family}: ${name}`, { cause: error });
    } finally {
      writeFileSync(target, source);
    }
  }
}

const isThorough = process.argv.includes('--all');
const asked = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const chosen = mutants.filter(
  ({ family, name }) => asked.length === 0 || asked.some((part) => `${family}: ${name}`.includes(part)),
);
chosen.forEach(requireApplicable);
if (process.argv.includes('--list')) {
  for (const { family, name } of chosen) console.log(`${family}: ${name}`);
  process.exit(0);
}
await require0('cmake', ['-S', 'test/native/mutants', '-B', checks]);
await require0('cmake', ['--build', checks, '--parallel', '2', '--target', 'checks']);
const trees = Array.from({ length: Math.min(2, os.availableParallelism()) }, (_, i) => new Tree(i));

for (const family of new Set(chosen.map((mutant) => mutant.family))) {
  const { noticed, message } = await trees[0].check(family, true);
  if (noticed.length > 0) throw new Error(`${family} fails as it is, under ${noticed.join(' ')}: ${message}`);
}

const counts = Object.fromEntries(schedules.map((schedule) => [schedule, 0]));
const unnoticed = [];
const queue = [...chosen];
await Promise.all(
  trees.map(async (tree) => {
    for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
      const { noticed, message } = await tree.checkMutant(mutant);
      for (const schedule of noticed) ++counts[schedule];
      const title = `${mutant.family}: ${mutant.name}`;
      if (noticed.length === 0) unnoticed.push(title);
      console.log(`${title}\n    ${noticed.join(' ') || 'not noticed'}\n    ${message.slice(0, 300)}`);
    }
  }),
);
console.log(
  Object.entries(counts)
    .map(([schedule, count]) => `${schedule}: ${count}`)
    .join(', '),
);
console.log(`${chosen.length} bugs, ${unnoticed.length} not noticed`);
for (const title of unnoticed) console.log(`    ${title}`);
process.exit(unnoticed.length === 0 ? 0 : 1);
