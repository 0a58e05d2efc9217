// Builds what is missing or older than its sources: the addon and dist/. Runs before tests, demo and benchmarks.
// Reader: someone who wonders why `npm test` compiles. Arguments `native` or `ts` ask for one of the two.

import { spawnSync } from 'node:child_process';
import { readdirSync, statSync, utimesSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const parts = {
  native: {
    output: 'build/Release/tilewise.node',
    sources: ['CMakeLists.txt', 'package.json', 'cmake', 'binding', 'core', 'cpu', 'cuda'],
    script: 'build:native',
  },
  ts: { output: 'dist/index.js', sources: ['tsconfig.base.json', 'lib'], script: 'build:ts' },
};

/** Latest change among a file or everything in a folder. */
function newest(path) {
  const entry = statSync(path);
  if (!entry.isDirectory()) return entry.mtimeMs;
  return Math.max(entry.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(parts);
for (const name of wanted) {
  const { output, sources, script } = parts[name];
  const built = statSync(join(root, output), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (sources.every((source) => newest(join(root, source)) <= built)) continue;
  const started = new Date();
  const env = { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()), ...process.env };
  const { status } = spawnSync('npm', ['run', '--silent', script], { cwd: root, stdio: 'inherit', shell: true, env });
  if (status !== 0) process.exit(status ?? 1);
  // A change of kernels alone makes images, and leaves the addon as old as it was.
  utimesSync(join(root, output), started, started);
}
