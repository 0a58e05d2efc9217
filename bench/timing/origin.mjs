// Which processor and which sources a result comes from. Reader: whoever adds a benchmark.
import { spawnSync } from 'node:child_process';
import os from 'node:os';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url));

function git(...args) {
  const { status, stdout } = spawnSync('git', args, { cwd: repository, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : '';
}

// The commit that is checked out, and whether native code or the library differ from it.
function commit() {
  const hash = git('rev-parse', '--short', 'HEAD');
  if (!hash) return 'unknown';
  const sources = ['core', 'cpu', 'cuda', 'cmake', 'binding', 'lib', 'CMakeLists.txt'];
  return git('status', '--porcelain', '--', ...sources) ? `${hash} plus uncommitted changes` : hash;
}

/** What every result says of itself. */
export const origin = () => ({
  cpu: os.cpus()[0]?.model ?? 'unknown',
  processors: os.cpus().length,
  commit: commit(),
  date: new Date().toISOString().slice(0, 10),
});
