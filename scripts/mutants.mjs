// Would the tests notice? Seeds one bug after the other into the kernels, compiles each for the emulator and runs the
// checks of its family under several schedules. Fails where a bug goes unnoticed.
// Usage: node scripts/mutants.mjs [part of a name ...]
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { mutants } from '../test/emulator/mutants/table.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const build = path.join(root, 'build', 'mutants');
const checks = path.join(build, 'checks');
const libraries = [
  'cuda/libtilewise_gpu.a',
  'cuda/libtilewise_operations.a',
  'emulator/libtilewise_emulator.a',
  'cpu/libtilewise_cpu.a',
].map((file) => path.join(checks, file));

// What is compiled anew for each mutant, and how many problems its checks try.
const families = {
  attention: {
    kernels: ['test/emulator/mutants/attention_bfloat16.cu', 'test/emulator/mutants/attention_float32.cu'],
    problems: 100,
  },
  selection: { kernels: ['cuda/kernels/selection.cu'], problems: 12 },
  merge: { kernels: ['cuda/kernels/merge.cu'], problems: 40 },
};
const schedules = ['lazy', 'eager', 'random:1', 'random:2', 'random:3', 'races'];
const timeLimit = 300_000; // a bug may well make a kernel run for ever

const flags = ['-std=c++17', '-O1', '-g1', '-w', '-fno-optimize-sibling-calls', '-DTILEWISE_EMULATE'];

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

// A copy of the sources that a mutant may change, one per worker.
class Tree {
  constructor(number) {
    this.folder = path.join(build, `tree-${number}`);
    rmSync(this.folder, { recursive: true, force: true });
    mkdirSync(this.folder, { recursive: true });
    for (const part of ['core', 'cuda', 'test/emulator']) {
      cpSync(path.join(root, part), path.join(this.folder, part), { recursive: true });
    }
  }

  async compile(family) {
    const { kernels } = families[family];
    const program = path.join(this.folder, `${family}_checks`);
    const objects = [];
    for (const kernel of kernels) {
      const object = path.join(this.folder, `${path.basename(kernel)}.o`);
      await require0('g++', [...flags, '-Itest/emulator', '-xc++', '-c', kernel, '-o', object], this.folder);
      objects.push(object);
    }
    const checked = path.join(checks, `libchecks_${family}.a`);
    const group = ['-Wl,--start-group', checked, ...libraries, '-Wl,--end-group', '-lpthread', '-ldl'];
    await require0('g++', [...objects, ...group, '-o', program], this.folder);
    return program;
  }

  // Which schedules notice, and the most telling message.
  async check(family) {
    const program = await this.compile(family);
    const noticed = [];
    let message = '';
    for (const schedule of schedules) {
      const { status, output } = await run(program, [String(families[family].problems), schedule]);
      if (status === 0) continue;
      noticed.push(schedule);
      message = status === null ? 'crashed, or did not end' : output.trim().split('\n')[0];
    }
    return { noticed, message };
  }

  async checkMutant({ family, name, file, find, replace }) {
    const target = path.join(this.folder, file);
    const source = readFileSync(target, 'utf8');
    if (source.split(find).length !== 2) throw new Error(`'${name}' does not apply once to ${file}`);
    writeFileSync(
      target,
      source.replace(find, () => replace),
    );
    try {
      return await this.check(family);
    } finally {
      writeFileSync(target, source);
    }
  }
}

const asked = process.argv.slice(2);
const chosen = mutants.filter(
  ({ family, name }) => asked.length === 0 || asked.some((part) => `${family}: ${name}`.includes(part)),
);
await require0('cmake', ['-S', 'test/emulator/mutants', '-B', checks]);
await require0('cmake', ['--build', checks, '--parallel', '2', '--target', 'checks']);
const trees = Array.from({ length: Math.min(2, os.availableParallelism()) }, (_, i) => new Tree(i));

for (const family of new Set(chosen.map((mutant) => mutant.family))) {
  const { noticed, message } = await trees[0].check(family);
  if (noticed.length > 0) throw new Error(`${family} fails as it is, under ${noticed.join(' ')}: ${message}`);
}

const counts = Object.fromEntries(schedules.map((schedule) => [schedule, 0]));
const unexpected = [];
const queue = [...chosen];
await Promise.all(
  trees.map(async (tree) => {
    for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
      const { noticed, message } = await tree.checkMutant(mutant);
      for (const schedule of noticed) ++counts[schedule];
      const title = `${mutant.family}: ${mutant.name}`;
      if (noticed.length > 0 === Boolean(mutant.harmless)) unexpected.push(title);
      const verdict = noticed.length > 0 ? noticed.join(' ') : `not noticed${mutant.harmless ? ', harmless' : ''}`;
      console.log(`${title}\n    ${verdict}\n    ${message.slice(0, 300) || mutant.harmless || ''}`);
    }
  }),
);
const total = chosen.filter((mutant) => !mutant.harmless).length;
console.log(
  Object.entries(counts)
    .map(([schedule, count]) => `${schedule}: ${count}`)
    .join(', '),
);
console.log(`${total} bugs, ${unexpected.length} of ${chosen.length} mutants not as expected`);
for (const title of unexpected) console.log(`    ${title}`);
process.exit(unexpected.length === 0 ? 0 : 1);
