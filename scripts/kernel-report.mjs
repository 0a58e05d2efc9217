// What ptxas says of every kernel in a build: registers, shared memory, stack, spills, as a table or as JSON.
// Reader: someone who wants to know how many blocks fit on a multiprocessor. Usage: node scripts/kernel-report.mjs
// [--json] [folder of logs, build/kernel-logs]; the logs are cmake/kernel-image.cmake's.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const args = process.argv.slice(2).filter((argument) => argument !== '--json');
const folder = args[0] ?? fileURLToPath(new URL('../build/kernel-logs', import.meta.url));

/** The number before some words, or 0: ptxas leaves out what a kernel has none of. */
const numberBefore = (text, words) => Number(new RegExp(`(\\d+) ${words}`).exec(text)?.[1] ?? 0);

/** The kernels of one image's log. */
function kernelsOf(file) {
  const [module, architecture] = file.split('.');
  const sections = readFileSync(join(folder, file), 'utf8').split("Compiling entry function '").slice(1);
  return sections.map((section) => ({
    module,
    architecture,
    kernel: section.slice(0, section.indexOf("'")),
    registers: Number(/Used (\d+) registers/.exec(section)?.[1]),
    barriers: numberBefore(section.replace('used ', ''), 'barriers'),
    stackBytes: numberBefore(section, 'bytes stack frame'),
    spillBytes: numberBefore(section, 'bytes spill stores') + numberBefore(section, 'bytes spill loads'),
    constantBytes: numberBefore(section, 'bytes cmem\\[0\\]'),
  }));
}

const kernels = readdirSync(folder)
  .filter((file) => file.endsWith('.log'))
  .sort()
  .flatMap(kernelsOf);
if (process.argv.includes('--json')) {
  console.log(JSON.stringify(kernels, null, 2));
} else {
  const architectures = [...new Set(kernels.map(({ architecture }) => architecture))].sort();
  const names = [...new Set(kernels.map(({ module, kernel }) => `${module}/${kernel}`))];
  const cell = (name, architecture) => {
    const kernel = kernels.find((k) => `${k.module}/${k.kernel}` === name && k.architecture === architecture);
    return kernel ? `${kernel.registers}` : '';
  };
  console.log(`| registers per thread | ${architectures.join(' | ')} |`);
  console.log(`| --- |${architectures.map(() => ' ---: |').join('')}`);
  for (const name of names) console.log(`| ${name} | ${architectures.map((a) => cell(name, a)).join(' | ')} |`);
}
