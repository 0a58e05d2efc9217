// The package in the hands of others, for real: bundlers, Next.js, Bun, Deno, onnxruntime and what runs models or pictures with it,
// at the versions that test/clients names, are installed into build/clients from the registry, beside the tarball that npm would publish.
//   node scripts/clients.mjs           those that CI runs in one step
//   node scripts/clients.mjs --models  onnxruntime, transformers.js, OCR, sharp and workers: CI's other step
//   node scripts/clients.mjs --all     every one; npm run test:package
//   node scripts/clients.mjs deno      those named
// A client that the registry does not give is left out, and said so. Reader: someone who adds a client.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { Project, Unreachable } from '../test/clients/project.mjs';
import { root } from './trees.mjs';

const smoke = ['esbuild', 'next', 'bun', 'deno'];
const rest = ['next-turbopack', 'webpack', 'rollup'];
const models = ['onnxruntime', 'ocr', 'transformers', 'pictures', 'workers'];

const everything = [...smoke, ...rest, ...models];
const groups = { '--all': everything, '--models': models };
const named = process.argv.slice(2).flatMap((argument) => groups[argument] ?? [argument]);
const wanted = named.length > 0 ? named : smoke;
for (const name of wanted) {
  if (!everything.includes(name)) throw new Error(`no client ${name}, expected one of ${everything.join(', ')}`);
}

const folder = path.join(root, 'build', 'clients');
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

/** Packs the working tree as npm would publish it. */
function pack() {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const options = { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] };
  execFileSync(process.execPath, [path.join(root, 'scripts', 'prebuilds.mjs'), '--as-built'], options);
  execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], options);
  return path.join(
    folder,
    readdirSync(folder).find((name) => name.endsWith('.tgz')),
  );
}

async function run(name, tarball) {
  const { packages, check } = await import(`../test/clients/${name}.mjs`);
  const project = new Project(path.join(folder, name), version);
  project.install(packages, tarball);
  await check(project);
}

const tarball = pack();
const counts = { passed: 0, failed: 0, 'left out': 0 };
for (const name of wanted) {
  const begin = performance.now();
  let outcome = 'passed';
  try {
    await run(name, tarball);
  } catch (error) {
    outcome = error instanceof Unreachable ? 'left out' : 'failed';
    console.log(error instanceof Unreachable ? `the registry is out of reach: ${error.message}` : error.message);
  }
  ++counts[outcome];
  console.log(`${name}: ${outcome} (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
}
console.log(
  Object.entries(counts)
    .map(([outcome, count]) => `${count} ${outcome}`)
    .join(', '),
);
process.exit(counts.failed === 0 ? 0 : 1);
