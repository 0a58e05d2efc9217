// Builds and runs the C++ checks of test/native, plain and under each sanitizer. Arguments choose among NONE, address (with
// undefined behaviour) and thread. Reader: someone whose check failed in CI.

import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

function run(command, ...args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const chosen = process.argv.slice(2);
for (const sanitizer of chosen.length > 0 ? chosen : ['NONE', 'address', 'thread']) {
  const folder = `build/native-${sanitizer.toLowerCase()}`;
  console.log(`\n== C++ checks, sanitizer ${sanitizer}`);
  run('cmake', '-S', 'test/native', '-B', folder, `-DTILEWISE_SANITIZE=${sanitizer}`, '-DTILEWISE_WERROR=ON');
  run('cmake', '--build', folder, '--parallel', String(availableParallelism()));
  run('ctest', '--test-dir', folder, '--output-on-failure');
}
