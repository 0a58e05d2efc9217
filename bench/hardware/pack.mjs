// Builds everything that first-contact.py runs, and lays it in build/hardware/, the one folder that has to travel to a machine
// with a card: the probes, this Node.js, and a small tree with the built library, its conformance cases and its benchmark.
// Reader: whoever prepares a run. Needs nvcc; `npm run build` comes first.
//   node bench/hardware/pack.mjs            all of it
//   node bench/hardware/pack.mjs probes     the probes alone
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import ts from 'typescript';
import { loadMachine } from '../machine/build.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const pack = path.join(root, 'build/hardware');
const tree = path.join(pack, 'tree');
const probes = ['attention_probe', 'tensor_rates', 'memory_rates', 'softmax_rates'];

function run(command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')}\n${error?.message ?? ''}${stdout ?? ''}${stderr ?? ''}`);
  return `${stdout}${stderr}`;
}

/** What ptxas says against a kernel: spills, and wgmma that it serialised. */
const complaints = (log) =>
  log
    .split('\n')
    .filter((line) => /\(C75\d\d\)/.test(line) || (/spill/.test(line) && !/ 0 bytes spill stores/.test(line)));

function buildProbe(name) {
  const source = `bench/hardware/${name}.cu`;
  const target = ['-gencode=arch=compute_90a,code=sm_90a', '-cudart', 'static', '-Xptxas', '-v'];
  const warnings = ['-Xcompiler', '-Wall,-Wextra', '-Werror', 'all-warnings'];
  const log = run('nvcc', ['-std=c++17', '-O3', ...target, ...warnings, source, '-o', path.join(pack, name)]);
  for (const line of complaints(log)) console.log(`${name}: ${line.slice(0, 160)}`);
}

/** TypeScript as JavaScript beside the rest, so that nothing has to be translated where it runs. */
function translate(folder) {
  for (const name of readdirSync(path.join(root, folder)).filter((file) => file.endsWith('.ts'))) {
    const compilerOptions = {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      verbatimModuleSyntax: true,
    };
    const { outputText } = ts.transpileModule(readFileSync(path.join(root, folder, name), 'utf8'), { compilerOptions });
    mkdirSync(path.join(tree, folder), { recursive: true });
    writeFileSync(path.join(tree, folder, name.replace(/\.ts$/, '.js')), outputText);
  }
}

function copy(name, to = path.join(tree, name)) {
  cpSync(path.join(root, name), to, { recursive: true, preserveTimestamps: true });
}

function layTree() {
  rmSync(tree, { recursive: true, force: true });
  loadMachine(); // build/bench/machine.node
  const parts = [
    'package.json',
    'dist',
    'build/Release/tilewise.node',
    'build/bench/machine.node',
    'node_modules/node-gyp-build',
  ];
  for (const name of parts) copy(name);
  if (existsSync(path.join(root, 'build/Release/kernels'))) copy('build/Release/kernels');
  for (const name of readdirSync(path.join(root, 'bench')).filter((file) => file.endsWith('.mjs')))
    copy(`bench/${name}`);
  copy('bench/machine');
  copy('bench/hardware/library-checks.mjs');
  for (const folder of ['test/conformance', 'test/reference']) translate(folder);
}

function layNativeChecks() {
  const folder = 'build/native-plain';
  run('cmake', ['-S', 'test/native', '-B', folder, '-DCMAKE_BUILD_TYPE=Release']);
  run('cmake', ['--build', folder, '--parallel', '2']);
  mkdirSync(path.join(pack, 'native'), { recursive: true });
  for (const name of readdirSync(path.join(root, folder)).filter((file) => /_checks(_\w+)?$/.test(file)))
    copy(`${folder}/${name}`, path.join(pack, 'native', name));
}

function layNode() {
  const stripped = path.join(pack, 'node');
  cpSync(process.execPath, stripped);
  chmodSync(stripped, 0o755);
  run('strip', [stripped]);
  writeFileSync(`${stripped}.gz`, gzipSync(readFileSync(stripped), { level: 9 }));
  rmSync(stripped);
}

const sizeOf = (name) => {
  const entry = statSync(name);
  return entry.isDirectory()
    ? readdirSync(name).reduce((sum, inner) => sum + sizeOf(path.join(name, inner)), 0)
    : entry.size;
};

mkdirSync(pack, { recursive: true });
probes.forEach(buildProbe);
if (process.argv[2] !== 'probes') {
  layTree();
  layNativeChecks();
  if (!existsSync(path.join(pack, 'node.gz'))) layNode();
  writeFileSync(path.join(pack, 'commit.txt'), run('git', ['rev-parse', '--short', 'HEAD']));
}
for (const name of readdirSync(pack))
  console.log(`${(sizeOf(path.join(pack, name)) / 2 ** 20).toFixed(1).padStart(6)} MiB  ${name}`);
console.log(`${(sizeOf(pack) / 2 ** 20).toFixed(1).padStart(6)} MiB in build/hardware`);
