// Lays out prebuilds/<platform>-<arch>/ for this machine, as node-gyp-build looks for it at run time, with kernel images
// for every architecture: Linux needs nvcc for that. Usage: node scripts/prebuilds.mjs [--as-built] [folder];
// --as-built takes the working build with the images that it has, for the tests. Launches of the images are held against
// the limits of their GPUs (launch-limits.mjs), and their code is searched (machine-code.mjs).
// Reader: someone releasing. prebuildify names and strips the file; it knows node-gyp only, so cmake-js is put in its
// place, and a staging folder, because it moves the file it finds and the working build should stay.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import prebuildify from 'prebuildify';

const root = fileURLToPath(new URL('..', import.meta.url));
const isAsBuilt = process.argv.includes('--as-built');
const out = process.argv.slice(2).find((argument) => !argument.startsWith('--')) ?? root;
const staging = join(root, 'build', 'prebuilds');
rmSync(staging, { recursive: true, force: true });
mkdirSync(staging, { recursive: true });
cpSync(join(root, 'package.json'), join(staging, 'package.json'));

const isLinux = process.platform === 'linux';
process.env.TILEWISE_BUILD = isAsBuilt ? 'build' : join('build', 'release');
// A release must not lose its kernels without a word. There is no CUDA on macOS, and Windows takes Linux's images.
const images = isLinux ? '--CDTILEWISE_CUDA=ON --CDTILEWISE_CUDA_ARCHS=ALL' : '--CDTILEWISE_CUDA=OFF';
process.env.TILEWISE_OPTIONS = isAsBuilt ? '' : images;
// Images of an earlier layout would stay, and be shipped.
rmSync(join(out, 'prebuilds', `${process.platform}-${process.arch}`, 'kernels'), { recursive: true, force: true });
await promisify(prebuildify)({
  cwd: staging,
  out,
  napi: true,
  targets: [],
  strip: isLinux,
  tagLibc: isLinux,
  shell: true,
  artifacts: join(staging, 'build', 'Release', 'artifacts'),
  nodeGyp: `"${process.execPath}" "${join(root, 'scripts', 'cmake-js-as-node-gyp.mjs')}"`,
});
if (isLinux && !isAsBuilt) {
  for (const script of ['launch-limits.mjs', 'machine-code.mjs']) {
    const args = [join(root, 'scripts', script), join(root, 'build', 'release', 'kernel-logs')];
    execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  }
}
console.log(`prebuilds/${process.platform}-${process.arch} is laid out in ${out}`);
