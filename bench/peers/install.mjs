// Fetches packages for the benchmarks into bench/.peers, outside the package's own dependencies. Reader: someone who adds one.
// Libraries for processors are inside the npm packages: no install script is needed.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** Where the packages are, and models that are written for them. */
export const peerFolder = fileURLToPath(new URL('../.peers/', import.meta.url));

/** The module of a package, at a version that is fetched if it is not there. */
export function loadPeer(name, version) {
  if (!existsSync(`${peerFolder}node_modules/${name}`)) {
    console.log(`fetching ${name} ${version} into bench/.peers ...`);
    mkdirSync(peerFolder, { recursive: true });
    if (!existsSync(`${peerFolder}package.json`)) writeFileSync(`${peerFolder}package.json`, '{ "private": true }\n');
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@${version}`];
    const { status, stderr } = spawnSync('npm', args, {
      cwd: peerFolder,
      encoding: 'utf8',
      shell: process.platform === 'win32',
    });
    if (status !== 0) throw new Error(`npm ${args.join(' ')} failed in bench/.peers\n${stderr}`);
  }
  return createRequire(`${peerFolder}package.json`)(name);
}
