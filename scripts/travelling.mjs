// Laying out folders that travel to a machine with a GPU and nothing of ours: this Node.js, and a small tree with the built
// library and its conformance cases as JavaScript. Reader: gpu-pack.mjs and bench/hardware/pack.mjs.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import ts from 'typescript';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Runs a program in the checkout; its output, or an error that holds it. */
export function run(command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')}\n${error?.message ?? ''}${stdout ?? ''}${stderr ?? ''}`);
  return `${stdout}${stderr}`;
}

/** A file or folder of the checkout, at the same place in `tree` or at `to`. */
export function copy(tree, name, to = path.join(tree, name)) {
  cpSync(path.join(root, name), to, { recursive: true, preserveTimestamps: true });
}

/** TypeScript as JavaScript, so that nothing has to be translated where it runs. Tests stay here. */
function translate(tree, folder) {
  for (const name of readdirSync(path.join(root, folder)).filter((file) => /(?<!\.test)\.ts$/.test(file))) {
    const compilerOptions = {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      verbatimModuleSyntax: true,
    };
    const { outputText } = ts.transpileModule(readFileSync(path.join(root, folder, name), 'utf8'), { compilerOptions });
    mkdirSync(path.join(tree, folder), { recursive: true });
    writeFileSync(path.join(tree, folder, name.replace(/\.ts$/, '.js')), outputText);
  }
}

/** What bench/hardware/library-checks.mjs needs: the addon without its images, dist/, the conformance suite. */
export function layLibrary(tree) {
  const packages = ['node-gyp-build', 'fast-check', 'pure-rand'].map((name) => `node_modules/${name}`);
  for (const name of ['package.json', 'dist', 'build/Release/tilewise.node', ...packages]) {
    if (!existsSync(path.join(root, name))) throw new Error(`there is no ${name}: run npm ci and npm run build first`);
    copy(tree, name);
  }
  for (const name of ['bench/hardware/library-checks.mjs', 'test/support/uniform.mjs']) copy(tree, name);
  for (const folder of ['test/conformance', 'test/references']) translate(tree, folder);
}

/** This Node.js without its symbols, as `file`.gz; made once, for it takes a while. */
export function layNode(file) {
  if (existsSync(`${file}.gz`)) return;
  mkdirSync(path.dirname(file), { recursive: true });
  cpSync(process.execPath, file);
  chmodSync(file, 0o755);
  run('strip', [file]);
  writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
  rmSync(file);
}

/** The commit that was built, for results. */
export function layCommit(folder) {
  writeFileSync(path.join(folder, 'commit.txt'), run('git', ['describe', '--always', '--dirty']));
}

const sizeOf = (name) => {
  const entry = statSync(name);
  return entry.isDirectory()
    ? readdirSync(name).reduce((sum, inner) => sum + sizeOf(path.join(name, inner)), 0)
    : entry.size;
};

/** Prints what a folder holds and how large it is. @returns {number} MiB */
export function report(folder) {
  const mib = (name) => sizeOf(name) / 2 ** 20;
  for (const name of readdirSync(folder)) {
    console.log(`${mib(path.join(folder, name)).toFixed(1).padStart(6)} MiB  ${name}`);
  }
  console.log(`${mib(folder).toFixed(1).padStart(6)} MiB in ${path.relative(root, folder)}`);
  return mib(folder);
}
