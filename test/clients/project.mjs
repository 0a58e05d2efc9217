// A project of a user: a folder with the packed tilewise and a few packages of the registry, where programs are written and
// run. Reader: someone who adds a client.

import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

/** What npm says when it does not get to the registry, or the registry has not got the package. */
const unreachable = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|E40[034]|E50\d|ETARGET)\b/;

/** Thrown where packages cannot be had: that client is left out. */
export class Unreachable extends Error {}

/** A program that uses tilewise and prints what `right` says. */
export const program = `
  import { attention, Tensor, versions } from 'tilewise';
  const q = new Tensor('float32', new Float32Array(2 * 16 * 4 * 8).fill(0.25), [2, 16, 4, 8]);
  const { out } = await attention(q, q, q, { causal: true });
  console.log(versions.tilewise, out.dims.join('x'), out.data.every((x) => x === 0.25));
`;
export const right = (version) => `${version} 2x16x4x8 true`;

/** What a bundle that has tilewise inside must say. */
export const bundled = [
  'ERR_TILEWISE_NO_BINARY',
  '--external:tilewise',
  'external',
  "serverExternalPackages: ['tilewise']",
];

export class Project {
  /** @param version of the packed tilewise */
  constructor(folder, version) {
    this.folder = folder;
    this.version = version;
    mkdirSync(folder, { recursive: true });
    this.write('package.json', JSON.stringify({ name: 'application', version: '9.9.9', private: true }));
  }

  /** Installs packages at exact versions, and the tarball. */
  install(packages, tarball) {
    const exact = Object.entries(packages).map(([name, version]) => `${name}@${version}`);
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--save-exact'];
    const { status, stderr } = this.run('npm', ['install', ...quiet, ...exact, tarball]);
    if (status === 0) return;
    throw unreachable.test(stderr) ? new Unreachable(stderr.trim().split('\n')[0]) : new Error(stderr);
  }

  write(name, text) {
    const file = path.join(this.folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  /** A program of a package that was installed. */
  bin(name) {
    return path.join(this.folder, 'node_modules', '.bin', name);
  }

  #options(env) {
    // npm's own settings are for the project that runs this.
    const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|TILEWISE_|NODE_OPTIONS)/i.test(name));
    return { cwd: this.folder, env: { ...Object.fromEntries(kept), ...env } };
  }

  run(command, args, env = {}) {
    return spawnSync(command, args, { ...this.#options(env), encoding: 'utf8', timeout: 600_000 });
  }

  /** Starts a server; the caller ends it. */
  start(command, args, env = {}) {
    return spawn(command, args, { ...this.#options(env), stdio: 'ignore' });
  }

  /** Runs a command that must succeed and print every one of some words. */
  expect(words, command, args, env) {
    const { status, stdout, stderr, error } = this.run(command, args, env);
    this.#search(words, status === 0, [command, ...args], `${stdout}${stderr}${error ?? ''}`);
  }

  /** Runs a command that must fail, and say every one of some words. */
  expectFailure(words, command, args, env) {
    const { status, stdout, stderr } = this.run(command, args, env);
    this.#search(words, status !== 0, [command, ...args], stdout + stderr);
  }

  #search(words, isRight, command, said) {
    const missing = words.filter((word) => !said.includes(word));
    if (isRight && missing.length === 0) return;
    throw new Error(
      `${command.join(' ')}\n${isRight ? `did not say: ${missing.join(' | ')}\n` : ''}${said.slice(-4000)}`,
    );
  }
}
