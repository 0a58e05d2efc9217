// Fetches onnxruntime-node for the benchmarks, outside the package's own dependencies, and opens sessions in it.
// Reader: someone who wants another version. The CPU library is inside the npm package: no install script is needed.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const VERSION = '1.30.0';
const folder = fileURLToPath(new URL('../.peers/', import.meta.url));

export function loadOnnxRuntime() {
  if (!existsSync(`${folder}node_modules/onnxruntime-node`)) {
    console.log(`fetching onnxruntime-node ${VERSION} into bench/.peers ...`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}package.json`, '{ "private": true }\n');
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', `onnxruntime-node@${VERSION}`];
    const { status, stderr } = spawnSync('npm', args, {
      cwd: folder,
      encoding: 'utf8',
      shell: process.platform === 'win32',
    });
    if (status !== 0) throw new Error(`npm ${args.join(' ')} failed in bench/.peers\n${stderr}`);
  }
  return createRequire(`${folder}package.json`)('onnxruntime-node');
}

export function openSession(onnxruntime, bytes, threads) {
  return onnxruntime.InferenceSession.create(bytes, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
  });
}
