// Bun: a program runs, and a worker may be ended with calls in flight. A standalone program says what to do.
// Reader: someone who changes how calls are settled.

import path from 'node:path';
import process from 'node:process';
import { bundled, program, right } from './project.mjs';

// Bun's own install script would put the program where npm looks for it.
export const packages = { bun: '1.4.5' };

const worker = `
  import { attention, Tensor } from 'tilewise';
  import { parentPort } from 'node:worker_threads';
  const q = new Tensor('float32', new Float32Array(8192 * 4 * 64), [1, 8192, 4, 64]);
  for (let i = 0; i < 4; ++i) attention(q, q, q).catch(() => {});
  parentPort.postMessage('in flight');`;

const ending = `
  import { Worker } from 'node:worker_threads';
  for (let round = 0; round < 4; ++round) {
    const worker = new Worker(new URL('./worker.mjs', import.meta.url));
    await new Promise((resolve) => worker.once('message', resolve));
    await worker.terminate();
  }
  await new Promise((resolve) => setTimeout(resolve, 500));
  console.log('survived');`;

export function check(project) {
  const name = `bun-${process.platform}-${process.arch === 'arm64' ? 'aarch64' : process.arch}`;
  const bun = path.join(project.folder, 'node_modules', '@oven', name, 'bin', 'bun');
  project.write('a.mjs', program);
  project.write('worker.mjs', worker);
  project.write('ending.mjs', ending);
  project.expect([right(project.version)], bun, ['run', 'a.mjs']);
  project.expect(['survived'], bun, ['run', 'ending.mjs']);
  project.expect([], bun, ['build', '--target=bun', '--external', 'tilewise', '--outfile=o/external.mjs', 'a.mjs']);
  project.expect([right(project.version)], bun, ['run', 'o/external.mjs']);
  project.expect([], bun, ['build', '--compile', '--outfile=o/standalone', 'a.mjs']);
  project.expectFailure(bundled, path.join(project.folder, 'o', 'standalone'), []);
}
