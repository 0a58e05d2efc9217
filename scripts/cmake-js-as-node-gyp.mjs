// What prebuildify calls instead of node-gyp: compiles with cmake-js, and leaves a copy where prebuildify looks, in
// build/Release of the folder it runs in, kernel images in artifacts/. Of node-gyp's arguments (rebuild --target=..
// --arch=..) only the arch matters. TILEWISE_BUILD and TILEWISE_OPTIONS, of prebuilds.mjs, say where and how.

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const cli = join(dirname(createRequire(import.meta.url).resolve('cmake-js/package.json')), 'bin', 'cmake-js');
const arch = process.argv.find((argument) => argument.startsWith('--arch='))?.slice('--arch='.length) ?? process.arch;
const build = join(root, process.env.TILEWISE_BUILD);
const options = process.env.TILEWISE_OPTIONS.split(' ').filter(Boolean);

// A working tree that was copied brings the cache of the folder that it was built in, which CMake refuses with an error.
const cache = join(build, 'CMakeCache.txt');
const cached = existsSync(cache) && /^CMAKE_CACHEFILE_DIR:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'));
if (cached && relative(cached[1], build) !== '') rmSync(cache);

const { status } = spawnSync(
  process.execPath,
  [cli, 'compile', '--directory', root, '--out', build, '--arch', arch, ...options],
  { cwd: root, stdio: 'inherit' },
);
if (status !== 0) process.exit(status ?? 1);
const target = resolve('build', 'Release');
mkdirSync(join(target, 'artifacts'), { recursive: true });
cpSync(join(build, 'Release', 'tilewise.node'), join(target, 'tilewise.node'));
const kernels = join(build, 'Release', 'kernels');
if (existsSync(kernels)) cpSync(kernels, join(target, 'artifacts', 'kernels'), { recursive: true });
