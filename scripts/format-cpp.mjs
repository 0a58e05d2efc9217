// clang-format over all C++ in the repository; with --check it only reports. Version and binary come from npm, so that
// everyone's agree.

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const git = spawnSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '*.h', '*.inl', '*.cc', '*.cu', '*.cuh'],
  {
    cwd: root,
    encoding: 'utf8',
  },
);
if (git.status !== 0) throw new Error(git.stderr);
const files = git.stdout.split('\n').filter(Boolean);
const cli = join(createRequire(import.meta.url).resolve('clang-format-node/package.json'), '..', 'build', 'cli.js');
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i'];
const { status } = spawnSync(process.execPath, [cli, ...mode, ...files], { cwd: root, stdio: 'inherit' });
process.exit(status ?? 1);
