// Builds everything that first-contact.py runs, and lays it in build/hardware/, the one folder that has to travel to a machine
// with a card: the probes, this Node.js, and a small tree with the built library, its conformance cases and its benchmark.
// Reader: whoever prepares a run. Needs nvcc; `npm run build` comes first.
//   node bench/hardware/pack.mjs            all of it
//   node bench/hardware/pack.mjs probes     the probes alone
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { copy, layCommit, layLibrary, layNode, report, root, run } from '../../scripts/travelling.mjs';
import { loadCeilings } from '../timing/ceilings/build.mjs';

const pack = path.join(root, 'build/hardware');
const tree = path.join(pack, 'tree');
const probes = ['attention_probe', 'tensor_rates', 'memory_rates', 'softmax_rates'];

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

function layTree() {
  rmSync(tree, { recursive: true, force: true });
  loadCeilings(); // build/bench/ceilings.node
  layLibrary(tree);
  if (existsSync(path.join(root, 'build/Release/kernels'))) copy(tree, 'build/Release/kernels');
  for (const name of ['build/bench/ceilings.node', 'bench/suites', 'bench/timing', 'bench/report']) copy(tree, name);
}

function layNativeChecks() {
  const folder = 'build/native';
  run('cmake', ['-S', 'test/native', '-B', folder, '-DTILEWISE_COUNT_VISITS=ON']);
  run('cmake', ['--build', folder, '--parallel', '2']);
  mkdirSync(path.join(pack, 'native'), { recursive: true });
  for (const name of readdirSync(path.join(root, folder)).filter((file) => /_checks(_\w+)?$/.test(file)))
    copy(pack, `${folder}/${name}`, path.join(pack, 'native', name));
}

mkdirSync(pack, { recursive: true });
probes.forEach(buildProbe);
if (process.argv[2] !== 'probes') {
  layTree();
  layNativeChecks();
  layNode(path.join(pack, 'node'));
  layCommit(pack);
}
report(pack);
