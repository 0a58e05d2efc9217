// The tests of the primitives, exactly against the documents, from one source: on the emulator under several schedules,
// and, where nvcc is installed, as programs for a GPU, which run where there is one. The programs in
// build/gpu/conformance need nothing but a driver. Usage: node scripts/gpu-conformance.mjs [sm_80] [sm_90a]
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const sources = path.join('test', 'gpu', 'conformance');
const emulatedBuild = path.join('build', 'native-emulator');
const deviceBuild = path.join('build', 'gpu', 'conformance');

const schedules = ['lazy', 'eager', 'races', 'random:1', 'random:2', 'races,random:3'];

// sm_80 has a part of the primitives; its program also runs on later GPUs, through PTX.
const architectures = {
  sm_80: { folders: ['.'], flags: ['-gencode=arch=compute_80,code=[sm_80,compute_80]'], runs: (major) => major >= 8 },
  sm_90a: { folders: ['.', 'sm90'], flags: ['-gencode=arch=compute_90a,code=sm_90a'], runs: (major) => major === 9 },
};

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  return status === 0;
}
function isInstalled(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}
function majorVersion() {
  const query = spawnSync('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'], { encoding: 'utf8' });
  return query.status === 0 ? Number.parseInt(query.stdout, 10) : 0;
}

function runEmulated() {
  const isBuilt =
    run('cmake', ['-S', 'test/emulator/checks', '-B', emulatedBuild]) &&
    run('cmake', ['--build', emulatedBuild, '--parallel', '2', '--target', 'conformance']);
  const program = path.join(root, emulatedBuild, 'conformance');
  const failed = schedules.filter((schedule) => {
    console.log(`# emulated, ${schedule}`);
    return !(isBuilt && run(program, [schedule]));
  });
  return failed.length === 0;
}

function buildForDevice(architecture) {
  const { folders, flags } = architectures[architecture];
  const files = folders.flatMap((folder) =>
    readdirSync(path.join(root, sources, folder))
      .filter((file) => /\.(cu|cc)$/.test(file) && file !== 'host_emulated.cc')
      .map((file) => path.join(sources, folder, file)),
  );
  mkdirSync(path.join(root, deviceBuild), { recursive: true });
  const program = path.join(deviceBuild, `conformance.${architecture}`);
  console.log(`# building ${program}`);
  const options = ['-std=c++17', '-O1', '--cudart', 'static', '--threads', '2', ...flags];
  return run('nvcc', [...options, '-o', program, ...files]) ? program : null;
}

function runOnDevice(asked) {
  if (!isInstalled('nvcc')) {
    console.log('# no nvcc: not built for a GPU');
    return true;
  }
  const major = majorVersion();
  let isOk = true;
  for (const architecture of asked) {
    const program = buildForDevice(architecture);
    const canRun = program && architectures[architecture].runs(major);
    if (program && !canRun) console.log(`# ${program} is not run: no GPU for it`);
    if (!program || (canRun && !run(path.join(root, program), []))) isOk = false;
  }
  return isOk;
}

const asked = process.argv.slice(2);
for (const name of asked) {
  if (!architectures[name]) throw new Error(`unknown architecture ${name}, expected ${Object.keys(architectures)}`);
}
const isEmulatedOk = runEmulated();
const isDeviceOk = runOnDevice(asked.length > 0 ? asked : Object.keys(architectures));
process.exit(isEmulatedOk && isDeviceOk ? 0 : 1);
