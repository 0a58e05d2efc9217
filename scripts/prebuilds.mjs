// Lays out prebuilds/<platform>-<arch>/ for this machine, as node-gyp-build looks for it at run time, with kernel images
// for every architecture, compressed: Linux needs nvcc for that. Usage: node scripts/prebuilds.mjs [--as-built] [folder];
// --as-built takes the working build with the images that it has, for the tests.
// Reader: someone releasing. prebuildify names and strips the file; it knows node-gyp only, so cmake-js is put in its
// place, and a staging folder, because it moves the file it finds and the working build should stay.

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, parse } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import prebuildify from 'prebuildify';

/** nvcc's folder of tools, asked of the nvcc that the build has found. */
function cudaTools() {
  const cache = readFileSync(join(root, build, 'CMakeCache.txt'), 'utf8');
  const nvcc = /^TILEWISE_NVCC:\w+=(.*)$/m.exec(cache)?.[1];
  const { stderr } = spawnSync(nvcc, ['--dryrun', '--cubin', '-o', 'none', '-x', 'cu', 'none'], { encoding: 'utf8' });
  return join(/^#\$ TOP=(.*)$/m.exec(stderr)?.[1], 'bin');
}

/** Every image in a fat binary of its own, which drivers decompress: a seventh of the size, and half of gzip's. */
function compressImages(from, to) {
  const fatbinary = join(cudaTools(), 'fatbinary');
  mkdirSync(to, { recursive: true });
  for (const file of readdirSync(from)) {
    const { name } = parse(file);
    const [, kind, architecture] = /\.(sm|compute)_(\w+)$/.exec(name);
    const image = `kind=${kind === 'sm' ? 'elf' : 'ptx'},sm=${architecture},file=${join(from, file)}`;
    execFileSync(fatbinary, [
      '-64',
      '--compress-mode=size',
      `--create=${join(to, `${name}.fatbin`)}`,
      `--image3=${image}`,
    ]);
  }
}

const root = fileURLToPath(new URL('..', import.meta.url));
const isAsBuilt = process.argv.includes('--as-built');
const out = process.argv.slice(2).find((argument) => !argument.startsWith('--')) ?? root;
const staging = join(root, 'build', 'prebuilds');
rmSync(staging, { recursive: true, force: true });
mkdirSync(staging, { recursive: true });
cpSync(join(root, 'package.json'), join(staging, 'package.json'));

const isLinux = process.platform === 'linux';
const build = isAsBuilt ? 'build' : join('build', 'release');
process.env.TILEWISE_BUILD = build;
// A release must not lose its kernels without a word. There is no CUDA on macOS, and Windows takes Linux's images.
const images = isLinux ? '--CDTILEWISE_CUDA=ON --CDTILEWISE_CUDA_ARCHS=ALL' : '--CDTILEWISE_CUDA=OFF';
process.env.TILEWISE_OPTIONS = isAsBuilt ? '' : images;
await promisify(prebuildify)({
  cwd: staging,
  out,
  napi: true,
  targets: [],
  strip: isLinux,
  tagLibc: isLinux,
  shell: true,
  nodeGyp: `"${process.execPath}" "${join(root, 'scripts', 'cmake-js-as-node-gyp.mjs')}"`,
});

const target = join(out, 'prebuilds', `${process.platform}-${process.arch}`);
rmSync(join(target, 'kernels'), { recursive: true, force: true });
const built = join(root, build, 'Release', 'kernels');
if (existsSync(built)) compressImages(built, join(target, 'kernels'));
console.log(`prebuilds/${process.platform}-${process.arch} is laid out in ${out}`);
