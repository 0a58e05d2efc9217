// Lays out prebuilds/<platform>-<arch>/ for this machine, as node-gyp-build looks for it at run time.
// Reader: someone releasing. prebuildify names and strips the file; it knows node-gyp only, so cmake-js is put in its
// place, and a staging folder, because it moves the file it finds and the working build should stay.

import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import prebuildify from 'prebuildify';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = process.argv[2] ?? root;
const staging = join(root, 'build', 'prebuilds');
rmSync(staging, { recursive: true, force: true });
mkdirSync(staging, { recursive: true });
cpSync(join(root, 'package.json'), join(staging, 'package.json'));

const isLinux = process.platform === 'linux';
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
console.log(`prebuilds/${process.platform}-${process.arch} is laid out in ${out}`);
