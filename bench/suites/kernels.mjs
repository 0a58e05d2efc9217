// `npm run bench:kernels`: builds a release from nothing, and records how long that takes, how large the kernel images
// are and how many registers each kernel has. Needs nvcc and no GPU. Reader: someone who changed a kernel or added one.
import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { sum } from '../report/kernels.mjs';
import { writeResult } from '../report/result-file.mjs';
import { origin } from '../timing/origin.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const release = path.join(root, 'build', 'release');
const out = path.join(root, 'build', 'bench-kernels');
const run = (script, ...args) => execFileSync(process.execPath, [path.join(root, 'scripts', script), ...args]);

rmSync(release, { recursive: true, force: true });
rmSync(out, { recursive: true, force: true });
const begin = performance.now();
run('prebuilds.mjs', out);
const seconds = Math.round((performance.now() - begin) / 1000);

const kernels = JSON.parse(run('kernel-report.mjs', '--json', path.join(release, 'kernel-logs')));
const folder = path.join(out, 'prebuilds', `${process.platform}-${process.arch}`, 'kernels');
const images = readdirSync(folder).map((file) => ({
  architecture: file.split('.')[1],
  bytes: statSync(path.join(folder, file)).size,
}));
const architectures = [...new Set(images.map(({ architecture }) => architecture))].sort().map((architecture) => {
  const own = kernels.filter((kernel) => kernel.architecture === architecture);
  return {
    architecture,
    bytes: sum(
      images.filter((image) => image.architecture === architecture),
      'bytes',
    ),
    kernels: own.length,
    spillBytes: sum(own, 'spillBytes'),
    stackBytes: sum(own, 'stackBytes'),
    registers: Object.fromEntries(own.map(({ kernel, registers }) => [kernel, registers])),
  };
});
writeResult(path.join(root, 'bench', 'results', 'kernels.json'), { machine: origin(), seconds, architectures });
await import('../report/report.mjs');
