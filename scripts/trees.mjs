// The build trees: what CI, the tests and the checks compile, each thing once. Reader: someone who adds a check, or asks
// where a program comes from. A tree of the addon is configured through cmake-js, which knows Node's headers.
//
//   release    the addon as it ships, with kernel images; checks of core, cpu, staging and launches
//   kernels    images for every architecture, where scripts/prebuilds.mjs builds what is published
//   emulated   the addon with the emulated GPU in the driver's place; checks of kernels, emulator and primitives
//   address    everything once more under AddressSanitizer and UndefinedBehaviorSanitizer
//   thread     checks of core, cpu and staging under ThreadSanitizer; no addon
//   neon       the same for 64-bit Arm; no addon
import { spawn } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

const checked = ['TILEWISE_CHECKS=ON', 'TILEWISE_WERROR=ON'];
const counting = ['TILEWISE_COUNT_VISITS=ON', 'TILEWISE_WERROR=ON'];

/** The C++ checks of operations on a GPU, emulated or not: a program per operation, of test/native/gpu. */
export const gpuChecks = [
  'attention_checks',
  'selection_checks',
  'merge_checks',
  'append_checks',
  'rotary_checks',
  'linear_checks',
  'cumulative_checks',
  'delta_checks',
  'encode_checks',
  'local_linear_checks',
  'stats_checks',
  'summary_checks',
];

const trees = {
  release: { folder: 'build', hasAddon: true, settings: checked },
  kernels: {
    folder: 'build/release',
    hasAddon: true,
    settings: ['TILEWISE_CUDA=ON', 'TILEWISE_CUDA_ARCHS=ALL'],
  },
  emulated: {
    folder: 'build/emulated/build',
    hasAddon: true,
    settings: [...checked, 'TILEWISE_EMULATOR=ON', 'TILEWISE_CUDA=OFF'],
  },
  address: {
    folder: 'build/address/build',
    hasAddon: true,
    settings: [...checked, ...counting, 'TILEWISE_SANITIZE=address', 'TILEWISE_CUDA=OFF'],
  },
  // Threads meet in jobs and in the pool, whatever the loops are made of.
  thread: { folder: 'build/thread', settings: [...counting, 'TILEWISE_SANITIZE=thread', 'TILEWISE_BASELINE_ONLY=ON'] },
  neon: {
    folder: 'build/neon',
    settings: [
      ...counting,
      'CMAKE_SYSTEM_NAME=Linux',
      'CMAKE_SYSTEM_PROCESSOR=aarch64',
      'CMAKE_CXX_COMPILER=aarch64-linux-gnu-g++',
    ],
  },
};

/** Where node-gyp-build finds a tree's addon when TILEWISE_PREBUILD says so. */
export const prebuildOf = (tree) => path.join(root, path.dirname(trees[tree].folder));

const cores = os.availableParallelism();

/**
 * Runs a program in the checkout.
 * @returns {Promise<boolean>} whether it succeeded
 */
export function run(command, args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
    child.on('error', reject);
    child.on('close', (status) => resolve(status === 0));
  });
}

/** The same with its output kept back until it ends, so that several may run at once. */
function runQuietly(command, args, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env } });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        output += data;
      });
    }
    child.on('error', reject);
    child.on('close', (status, signal) => {
      process.stdout.write(`# ${path.basename(command)} ${args.join(' ')} ${Object.values(env).join(' ')}\n${output}`);
      if (signal) console.log(`ended by ${signal}`);
      resolve(status === 0);
    });
  });
}

/**
 * Configures a tree and builds targets of it; the addon when none are named. `more`: settings that the tree keeps.
 * @returns {Promise<boolean>} whether it succeeded
 */
export async function build(tree, targets = [], more = []) {
  const { folder, hasAddon } = trees[tree];
  const settings = [...trees[tree].settings, ...more];
  const options = settings.map((setting) => (hasAddon ? `--CD${setting}` : `-D${setting}`));
  const configure = hasAddon
    ? [process.execPath, path.join('node_modules', 'cmake-js', 'bin', 'cmake-js'), 'configure', '--out', folder]
    : ['cmake', '-S', 'test/native', '-B', folder];
  const [command, ...args] = [...configure, ...options];
  if (!(await run(command, args))) return false;
  const named = targets.length > 0 ? ['--target', ...targets] : [];
  return run('cmake', ['--build', folder, '--parallel', String(cores), ...named]);
}

/** A program of a tree: of test/native's folder `room`, or of its own. */
export function program(tree, name, room = '') {
  const { folder, hasAddon } = trees[tree];
  return path.join(root, folder, hasAddon ? 'test/native' : '', room, name);
}

/** A library of a tree's folder `room`, from the root. */
export const libraryOf = (tree, room, name) => path.join(trees[tree].folder, room, `lib${name}.a`);

/**
 * Runs checks, as many at once as there are cores.
 * @param {{ program: string, args?: unknown[], env?: Record<string, string>, runner?: string[] }[]} checks
 * @returns {Promise<boolean>} whether all of them succeeded
 */
export async function runChecks(checks) {
  const waiting = [...checks];
  let isOk = true;
  const work = async () => {
    for (let check = waiting.shift(); check; check = waiting.shift()) {
      const { program, args = [], env = {}, runner = [] } = check;
      const [command, ...rest] = [...runner, program, ...args.map(String)];
      if (!(await runQuietly(command, rest, env))) {
        console.log(`failed: ${path.basename(program)} ${args.join(' ')}`);
        isOk = false;
      }
    }
  };
  await Promise.all(Array.from({ length: cores }, work));
  return isOk;
}
