// Lays out build/gpu-pack/, the one folder that travels to a machine with a GPU: this Node.js, the addon and its kernel images,
// dist/, the conformance suite, the C++ checks and the benchmark. There, with Python at most:
//   sh gpu.sh check OUT          what gpu-check.mjs does            sh gpu.sh bench OUT          what versus.py does
// Reader: someone who is lent a GPU. `npm run build` comes first.
//   node scripts/gpu-pack.mjs [--archs 90a,80-virtual] [--images FOLDER]     FOLDER: images that are built already
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildChecks, buildImages, buildPrimitives, folder, primitives } from './gpu-programs.mjs';
import { copy, layCommit, layLibrary, layNode, report, root, run } from './travelling.mjs';
import { gpuChecks } from './trees.mjs';

const MOST_MIB = 64; // what such machines take along
const pack = path.join(root, 'build', 'gpu-pack');
const { values: options } = parseArgs({
  options: { archs: { type: 'string', default: '90a' }, images: { type: 'string' } },
});

function layImages() {
  const built = path.join(root, folder, 'kernels');
  if (options.images) {
    rmSync(built, { recursive: true, force: true });
    cpSync(options.images, built, { recursive: true, preserveTimestamps: true });
  } else {
    buildImages(options.archs.split(','));
  }
  if (!readdirSync(built).some((name) => name.endsWith('.fatbin'))) throw new Error(`no images in ${options.images}`);
  copy(pack, path.join(folder, 'kernels'));
}

function layPrograms() {
  buildChecks();
  for (const architecture of Object.keys(primitives)) buildPrimitives(architecture);
  for (const name of ['bench', 'conformance']) copy(pack, path.join(folder, name));
  for (const name of [...gpuChecks, 'bench/kernel_times']) {
    run('strip', ['-o', path.join(pack, folder, name), path.join(root, folder, name)]);
  }
}

const start = `#!/bin/sh
# Unpacks what travelled packed, then checks or measures: sh gpu.sh check|bench OUT OPTIONS
set -e
here=$(cd "$(dirname "$0")" && pwd)
find "$here" -name '*.gz' -exec gzip -dfk {} +
chmod +x "$here"/node "$here"/${folder}/*_checks "$here"/${folder}/bench/kernel_times "$here"/${folder}/conformance/*
ln -sfn ../gpu/kernels "$here"/build/Release/kernels
what=$1
shift
case $what in
  check) exec "$here"/node "$here"/scripts/gpu-check.mjs "$@" ;;
  bench) exec python3 "$here"/bench/gpu/versus.py "$@" ;;
  *) echo "usage: sh gpu.sh check|bench OUT" >&2; exit 2 ;;
esac
`;

for (const name of existsSync(pack) ? readdirSync(pack) : []) {
  if (name !== 'node.gz') rmSync(path.join(pack, name), { recursive: true });
}
mkdirSync(pack, { recursive: true });
layLibrary(pack);
layPrograms();
layImages();
layNode(path.join(pack, 'node'));
layCommit(pack);
for (const name of readdirSync(path.join(root, 'bench/hardware')).filter((file) => file.endsWith('.py'))) {
  copy(pack, `bench/hardware/${name}`);
}
for (const name of ['bench/gpu/versus.py', 'bench/gpu/cases.txt', 'scripts/gpu-check.mjs']) copy(pack, name);
writeFileSync(path.join(pack, 'gpu.sh'), start);
chmodSync(path.join(pack, 'gpu.sh'), 0o755);
const mib = report(pack);
if (mib > MOST_MIB) {
  console.error(`more than ${MOST_MIB} MiB: name fewer architectures`);
  process.exitCode = 1;
}
