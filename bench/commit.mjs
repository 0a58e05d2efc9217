// Which sources a result comes from. Reader: whoever adds a benchmark.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('..', import.meta.url));

function git(...args) {
  const { status, stdout } = spawnSync('git', args, { cwd: repository, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : '';
}

/** The commit that is checked out, and whether native code or the library differ from it. */
export function commit() {
  const hash = git('rev-parse', '--short', 'HEAD');
  if (!hash) return 'unknown';
  const sources = ['core', 'cpu', 'cuda', 'cmake', 'binding', 'lib', 'CMakeLists.txt'];
  return git('status', '--porcelain', '--', ...sources) ? `${hash} plus uncommitted changes` : hash;
}
