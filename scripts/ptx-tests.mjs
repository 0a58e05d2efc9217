// The PTX that nvcc makes of the kernels, on the processor (emulator/ptx): the tests of the primitives and Hopper's
// attention probe as nvcc compiles them for a card, the C++ checks of the kernels on both machines, whose bits must agree,
// and a sample of the conformance suite. Reader: someone who changed a primitive or a kernel, and CI. Needs nvcc, or the
// PTX of a build in build/kernel-ptx. With arguments it runs vitest alone and gives them to it; TILEWISE_SAMPLE chooses how
// many cases.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { buildAttentionProbeOnPtx, buildPrimitivesOnPtx, primitives } from './gpu-programs.mjs';
import { kernelSuite, runKernelSuite } from './kernel-suite.mjs';
import { areProductsOnTensorCores } from './ptx-products.mjs';
import { build, gpuChecks, libraryOf, program, root, runChecks } from './trees.mjs';

const folder = path.join(root, 'build', 'kernel-ptx');
const hasNvcc = spawnSync('nvcc', ['--version'], { stdio: 'ignore' }).status === 0;

const check = (name, args, machine) => ({
  program: program('emulated', name, 'gpu'),
  args,
  env: { TILEWISE_EMULATOR: machine },
});
const checks = [
  check('attention_checks', ['each'], `twins:${folder}`),
  check('attention_checks', [100, 4000], `ptx:${folder},races`),
  check('attention_checks', ['codes', 20, 2000], `twins:${folder}`),
  check('selection_checks', ['each'], `twins:${folder}`),
  check('selection_checks', ['each', 2], `ptx:${folder},races`),
  check('selection_checks', [0], `ptx:${folder}`), // those made for one purpose
  check('merge_checks', [], `twins:${folder}`),
  check('append_checks', [], `twins:${folder}`),
  check('rotary_checks', [], `twins:${folder}`),
  check('linear_checks', [20], `twins:${folder}`),
  check('cumulative_checks', [20], `twins:${folder}`),
  check('delta_checks', [20], `twins:${folder}`),
  check('encode_checks', [20], `twins:${folder}`),
  // How many iterations a row takes may hang on its last bit: no twins.
  check('local_linear_checks', [16], `ptx:${folder},races`),
  check('stats_checks', [16], `twins:${folder}`),
  check('summary_checks', [10], `twins:${folder}`),
];
const schedules = ['lazy', 'eager', 'races', 'random:1'];

// The release tree makes PTX for its images. Without nvcc, what it has made is taken as it is.
async function hasPtx() {
  if (hasNvcc) return build('release', ['tilewise_kernels']);
  const isThere = existsSync(folder);
  console.log(`# no nvcc: ${isThere ? 'the PTX in build/kernel-ptx is as it was built' : 'and no build/kernel-ptx'}`);
  return isThere;
}

function programsOfCards() {
  if (!hasNvcc) {
    console.log('# no nvcc: the tests of the primitives and the attention probe are left out');
    return [];
  }
  const libraries = [
    libraryOf('emulated', 'emulator/ptx', 'tilewise_ptx'),
    libraryOf('emulated', 'emulator', 'tilewise_emulator'),
  ];
  const under = (built, args, chosen) =>
    chosen.map((schedule) => ({ program: path.join(root, built), args, env: { TILEWISE_EMULATOR: schedule } }));
  return [
    ...Object.keys(primitives).flatMap((name) => under(buildPrimitivesOnPtx(name, libraries), [], schedules)),
    ...under(buildAttentionProbeOnPtx(libraries), ['--small'], ['races', 'random:1']),
  ];
}

async function checkKernels() {
  if (!areProductsOnTensorCores(folder)) return false;
  return (await build('emulated', gpuChecks)) && runChecks([...programsOfCards(), ...checks]);
}

const asked = process.argv.slice(2);
const files = asked.filter((argument) => !argument.startsWith('-'));
let isOk = (await hasPtx()) && (await build('emulated'));
if (isOk && files.length === 0) isOk = await checkKernels();
if (isOk) {
  // What a call does when memory fails is the host's work, and the emulated tree has tested it.
  const suite = [...kernelSuite, '--exclude', 'test/families/kv-shortage.test.ts'];
  isOk = await runKernelSuite(files.length === 0 ? [...suite, ...asked] : asked, {
    TILEWISE_EMULATOR: `ptx:${folder}`,
    TILEWISE_SAMPLE: process.env.TILEWISE_SAMPLE ?? '5',
  });
}
process.exit(isOk ? 0 : 1);
