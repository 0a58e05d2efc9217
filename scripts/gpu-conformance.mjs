// The tests of the primitives, exactly against the documents, from one source: on the emulator under several schedules,
// and, where nvcc is installed, as programs for a GPU, which run where there is one. The programs in
// build/gpu/conformance need nothing but a driver. Usage: node scripts/gpu-conformance.mjs [sm_80] [sm_90a]
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { buildPrimitives, primitives } from './gpu-programs.mjs';
import { root } from './travelling.mjs';
import { build, program, runChecks } from './trees.mjs';

const schedules = ['lazy', 'eager', 'races', 'random:1', 'random:2', 'races,random:3'];

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

async function runEmulated() {
  return (
    (await build('emulated', ['conformance'])) &&
    runChecks(
      schedules.map((schedule) => ({ program: program('emulated', 'conformance', 'emulator'), args: [schedule] })),
    )
  );
}

function runOnDevice(asked) {
  if (!isInstalled('nvcc')) {
    console.log('# no nvcc: not built for a GPU');
    return true;
  }
  const major = majorVersion();
  let isOk = true;
  for (const architecture of asked) {
    const program = buildPrimitives(architecture);
    const canRun = primitives[architecture].runs(major);
    if (!canRun) console.log(`# ${program} is not run: no GPU for it`);
    if (canRun && !run(path.join(root, program), [])) isOk = false;
  }
  return isOk;
}

const asked = process.argv.slice(2);
for (const name of asked) {
  if (!primitives[name]) throw new Error(`unknown architecture ${name}, expected ${Object.keys(primitives)}`);
}
const isEmulatedOk = await runEmulated();
const isDeviceOk = runOnDevice(asked.length > 0 ? asked : Object.keys(primitives));
process.exit(isEmulatedOk && isDeviceOk ? 0 : 1);
