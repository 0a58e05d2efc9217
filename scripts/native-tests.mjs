// Builds and runs the C++ checks of the CPU backend and of staging: plain, under sanitizers, for 64-bit Arm under an
// emulator; those of the emulated GPU, and every kernel on it under sanitizers; compiles core for a GPU, and holds our
// declarations of the CUDA driver against the toolkit's. Usage: node scripts/native-tests.mjs [mode ...]; default: every mode whose tools are installed.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

const modes = {
  plain: { needs: [], check: () => runChecks('plain', { rounds: 400 }) && exportsOnlyTables('plain') },
  asan: { needs: [], check: () => runChecks('asan', { configure: ['-DTILEWISE_SANITIZE=address'], rounds: 150 }) },
  tsan: { needs: [], check: () => runChecks('tsan', { configure: ['-DTILEWISE_SANITIZE=thread'], rounds: 40 }) },
  neon: {
    needs: ['aarch64-linux-gnu-g++', 'qemu-aarch64'], // Debian's g++-aarch64-linux-gnu and qemu-user
    check: () =>
      runChecks('neon', {
        configure: [
          '-DCMAKE_SYSTEM_NAME=Linux',
          '-DCMAKE_SYSTEM_PROCESSOR=aarch64',
          '-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++',
        ],
        runner: ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'],
        rounds: 60,
      }),
  },
  emulator: { needs: [], check: () => checkEmulator('emulator') },
  'emulator-asan': { needs: [], check: () => checkEmulator('emulator-asan', ['-DTILEWISE_SANITIZE=address']) },
  'kernels-asan': { needs: [], check: checkKernels },
  device: { needs: ['nvcc'], check: compileForDevice },
};

function isInstalled(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  return status === 0;
}

function build(folder, sources, configure = []) {
  return (
    run('cmake', ['-S', sources, '-B', folder, ...configure]) && run('cmake', ['--build', folder, '--parallel', '2'])
  );
}

const buildFolder = (name) => path.join('build', `native-${name}`);

function runChecks(name, { configure = [], runner = [], rounds }) {
  const folder = buildFolder(name);
  if (!build(folder, 'test/native', configure)) return false;
  const isCheck = (file) =>
    /^(math_checks_\w+|loop_checks|plan_checks|pool_checks|select_checks|staging_checks)$/.test(file);
  return readdirSync(path.join(root, folder))
    .filter(isCheck)
    .every((program) => {
      const args = /^(loop|plan|select|staging)_checks$/.test(program) ? [String(rounds)] : [];
      const [command, ...rest] = [...runner, path.join(root, folder, program), ...args];
      return run(command, rest);
    });
}

// The object of an instruction set must not define what the linker could take for another's: see docs/design/adr/0003.
function exportsOnlyTables(name) {
  const objects = readdirSync(path.join(root, buildFolder(name), 'cpu/CMakeFiles/tilewise_cpu.dir/targets'))
    .filter((file) => /^target_\w+\.cc\.o$/.test(file))
    .map((file) => path.join(buildFolder(name), 'cpu/CMakeFiles/tilewise_cpu.dir/targets', file));
  const { status, stdout } = spawnSync('nm', ['--demangle', '--defined-only', ...objects], {
    cwd: root,
    encoding: 'utf8',
  });
  const shared = stdout.split('\n').filter((line) => / [WVu] /.test(line));
  for (const line of shared) console.log(`a linker may share this between instruction sets: ${line}`);
  return status === 0 && objects.length > 0 && shared.length === 0;
}

function checkEmulator(name, configure = []) {
  const folder = buildFolder(name);
  return build(folder, 'test/native/emulator', configure) && run(path.join(root, folder, 'emulator_checks'), []);
}

function checkKernels() {
  const folder = buildFolder('kernels-asan');
  const check = (program, ...args) => run(path.join(root, folder, 'gpu', program), args);
  return (
    build(folder, 'test/native/gpu/sanitized') &&
    check('attention_checks', 'each') &&
    check('selection_checks', '4') &&
    check('merge_checks')
  );
}

function compileForDevice() {
  mkdirSync(path.join(root, buildFolder('device')), { recursive: true });
  return ['core/core_on_device', 'gpu/abi_checks'].every((source) => {
    const name = path.basename(source);
    const cubin = path.join(buildFolder('device'), `${name}.cubin`);
    return run('nvcc', ['-std=c++17', '-arch=sm_80', '-cubin', '-o', cubin, `test/native/${source}.cu`]);
  });
}

const asked = process.argv.slice(2);
for (const name of asked) {
  if (!modes[name]) throw new Error(`unknown mode ${name}, expected one of ${Object.keys(modes).join(', ')}`);
}
const failed = [];
const passed = [];
for (const [name, { needs, check }] of Object.entries(modes)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  const missing = needs.filter((tool) => !isInstalled(tool));
  console.log(`native checks: ${name}${missing.length > 0 ? ` left out, needs ${missing.join(' and ')}` : ''}`);
  if (missing.length === 0) (check() ? passed : failed).push(name);
}
console.log(`native checks passed: ${passed.join(', ') || 'none'}; failed: ${failed.join(', ') || 'none'}`);
process.exit(failed.length === 0 ? 0 : 1);
