// Builds and runs the C++ checks, tree by tree (trees.mjs): plain, under the sanitizers, for 64-bit Arm under an emulator;
// compiles core for a GPU, and holds our declarations of the CUDA driver against the toolkit's.
// Usage: node scripts/native-tests.mjs [mode ...]; default: every mode whose tools are installed.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { isListOfOpcodesTrue } from './ptx-opcodes.mjs';
import { build, program, root, run, runChecks } from './trees.mjs';

const host = process.arch === 'x64' ? ['portable', 'avx2', 'avx512'] : ['portable', 'neon'];

// Checks of core, cpu, staging and launches: `rounds` random problems each. plan_checks needs loops that count.
const cpuChecks = (rounds, { sets = host, counts = true } = {}) => [
  ...sets.map((set) => ({ name: `math_checks_${set}` })),
  { name: 'philox_checks' },
  { name: 'pool_checks' },
  { name: 'topology_checks' },
  { name: 'turn_checks' },
  { name: 'job_checks' },
  { name: 'launch_checks' },
  ...['range_checks', 'loop_checks', ...(counts ? ['plan_checks'] : []), 'select_checks', 'staging_checks'].map(
    (name) => ({
      name,
      args: [rounds],
    }),
  ),
];
const emulator = { name: 'emulator_checks', room: 'emulator' };
// One problem for every other kernel; the kernels are compiled without optimization under sanitizers.
const kernels = [
  { name: 'attention_checks', room: 'gpu', args: ['each', 2] },
  { name: 'attention_checks', room: 'gpu', args: ['codes', 6] },
  { name: 'selection_checks', room: 'gpu', args: [4] },
  { name: 'merge_checks', room: 'gpu' },
  { name: 'append_checks', room: 'gpu' },
  { name: 'rotary_checks', room: 'gpu' },
  { name: 'linear_checks', room: 'gpu', args: [4] },
  { name: 'cumulative_checks', room: 'gpu', args: [6] },
  { name: 'delta_checks', room: 'gpu', args: [2] },
  { name: 'encode_checks', room: 'gpu', args: [6] },
  { name: 'local_linear_checks', room: 'gpu', args: [4] },
  { name: 'stats_checks', room: 'gpu', args: [6] },
  { name: 'summary_checks', room: 'gpu', args: [6] },
  { name: 'visit_checks', room: 'gpu' },
];

const modes = {
  release: {
    check: async () => (await check('release', cpuChecks(400, { counts: false }))) && exportsOnlyTables('build'),
  },
  emulated: { check: async () => (await check('emulated', [emulator])) && isListOfOpcodesTrue() },
  address: { check: () => check('address', [...kernels, ...cpuChecks(150), emulator]) },
  thread: { check: () => check('thread', cpuChecks(40, { sets: ['portable'] })) },
  neon: {
    needs: ['aarch64-linux-gnu-g++', 'qemu-aarch64'], // Debian's g++-aarch64-linux-gnu and qemu-user
    check: () =>
      check('neon', cpuChecks(60, { sets: ['portable', 'neon'] }), ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu']),
  },
  device: { needs: ['nvcc'], check: compileForDevice },
};

async function check(tree, checks, runner = []) {
  const targets = checks.map(({ name }) => name);
  return (
    (await build(tree, targets)) &&
    runChecks(checks.map(({ name, room, args }) => ({ program: program(tree, name, room), args, runner })))
  );
}

// The object of an instruction set must not define what the linker could take for another's: see docs/design/adr/0003.
function exportsOnlyTables(folder) {
  const objects = path.join(folder, 'cpu/CMakeFiles/tilewise_cpu.dir/targets');
  const files = readdirSync(path.join(root, objects))
    .filter((file) => /^target_\w+\.cc\.o$/.test(file))
    .map((file) => path.join(objects, file));
  const { status, stdout } = spawnSync('nm', ['--demangle', '--defined-only', ...files], {
    cwd: root,
    encoding: 'utf8',
  });
  const shared = stdout.split('\n').filter((line) => / [WVu] /.test(line));
  for (const line of shared) console.log(`a linker may share this between instruction sets: ${line}`);
  return status === 0 && files.length > 0 && shared.length === 0;
}

async function compileForDevice() {
  const folder = path.join('build', 'device');
  mkdirSync(path.join(root, folder), { recursive: true });
  for (const source of ['core/core_on_device', 'gpu/abi_checks']) {
    const cubin = path.join(folder, `${path.basename(source)}.cubin`);
    const args = ['-std=c++17', '-arch=sm_80', '-cubin', '-o', cubin, `test/native/${source}.cu`];
    if (!(await run('nvcc', args))) return false;
  }
  return true;
}

function isInstalled(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

const asked = process.argv.slice(2);
for (const name of asked) {
  if (!modes[name]) throw new Error(`unknown mode ${name}, expected one of ${Object.keys(modes).join(', ')}`);
}
const failed = [];
const passed = [];
for (const [name, { needs = [], check }] of Object.entries(modes)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  const missing = needs.filter((tool) => !isInstalled(tool));
  console.log(`native checks: ${name}${missing.length > 0 ? ` left out, needs ${missing.join(' and ')}` : ''}`);
  if (missing.length === 0) ((await check()) ? passed : failed).push(name);
}
console.log(`native checks passed: ${passed.join(', ') || 'none'}; failed: ${failed.join(', ') || 'none'}`);
process.exit(failed.length === 0 ? 0 : 1);
