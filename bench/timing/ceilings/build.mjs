// Builds build/bench/ceilings.node with plain cmake when it is missing or older than its sources.
// Reader: someone whose first `npm run bench` failed. The Node-API headers come from cmake-js's own dependency.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('.', import.meta.url));
const target = fileURLToPath(new URL('../../../build/bench/', import.meta.url));
const require = createRequire(import.meta.url);

function cmake(...args) {
  const { status, error, stdout, stderr } = spawnSync('cmake', args, { encoding: 'utf8' });
  if (status === 0) return;
  throw new Error(`cmake ${args.join(' ')} failed${error ? `: ${error.message}` : ''}\n${stdout ?? ''}${stderr ?? ''}`);
}

/**
 * The addon that measures this machine's ceilings, built first if need be.
 * @returns {{fmaPeak(instructionSet: string, threads: number, seconds: number): number,
 *   readBandwidth(threads: number, bytes: number, prefetch: number): number, instructionSets(): string[]}}
 *   GFLOP/s (float32), GB/s, and the processor's instruction sets, best first.
 * @throws when cmake or a C++ compiler is missing; the message holds what cmake printed.
 */
export function loadCeilings() {
  const addon = `${target}ceilings.node`;
  const newest = Math.max(...['ceilings.cc', 'CMakeLists.txt'].map((f) => statSync(source + f).mtimeMs));
  if (!existsSync(addon) || statSync(addon).mtimeMs < newest) {
    const headers = require(require.resolve('node-api-headers', { paths: [require.resolve('cmake-js/package.json')] }));
    cmake('-S', source, '-B', target, '-DCMAKE_BUILD_TYPE=Release', `-DNODE_API_INCLUDE=${headers.include_dir}`);
    cmake('--build', target, '--config', 'Release');
  }
  return require(addon);
}
