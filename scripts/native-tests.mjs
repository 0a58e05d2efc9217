// Builds and runs the C++ checks of the CPU backend: plain, under sanitizers, and for 64-bit Arm under an emulator.
// Usage: node scripts/native-tests.mjs [plain] [asan] [tsan] [neon]; default: plain asan tsan, neon where its tools are.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

const modes = {
  plain: { configure: [], rounds: 400 },
  asan: { configure: ['-DTILEWISE_SANITIZE=address'], rounds: 150 },
  tsan: { configure: ['-DTILEWISE_SANITIZE=thread'], rounds: 40 },
  neon: {
    configure: ['-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=aarch64', '-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++'],
    runner: ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'],
    rounds: 60,
  },
};

function isInstalled(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  return status === 0;
}

function check(name) {
  const { configure, runner = [], rounds } = modes[name];
  const build = path.join('build', `native-${name}`);
  console.log(`native checks: ${name}`);
  if (!run('cmake', ['-S', 'test/native', '-B', build, ...configure])) return false;
  if (!run('cmake', ['--build', build, '--parallel', '2'])) return false;
  const programs = readdirSync(path.join(root, build)).filter((file) => /^(math_checks_\w+|loop_checks|pool_checks)$/.test(file));
  return programs.every((program) => {
    // The emulated math checks run all of float16; the loops are what `rounds` is for.
    const args = program === 'loop_checks' ? [String(rounds)] : [];
    const [command, ...rest] = [...runner, path.join(root, build, program), ...args];
    return run(command, rest);
  });
}

const tools = isInstalled('aarch64-linux-gnu-g++') && isInstalled('qemu-aarch64') && existsSync('/usr/aarch64-linux-gnu');
const asked = process.argv.slice(2);
const selected = asked.length > 0 ? asked : ['plain', 'asan', 'tsan', ...(tools ? ['neon'] : [])];
for (const name of selected) {
  if (!modes[name]) throw new Error(`unknown mode ${name}, expected one of ${Object.keys(modes).join(', ')}`);
}
if (!selected.includes('neon')) {
  console.log('native checks: neon left out (needs aarch64-linux-gnu-g++ and qemu-aarch64: Debian g++-aarch64-linux-gnu, qemu-user)');
}
const failed = selected.filter((name) => !check(name));
console.log(failed.length === 0 ? `native checks passed: ${selected.join(', ')}` : `native checks failed: ${failed.join(', ')}`);
process.exit(failed.length === 0 ? 0 : 1);
