#!/usr/bin/env node
// tilewise-build: compiles the native addon from the sources in the package, where no shipped binary fits.
// Reader: someone on a platform without one. Needs CMake, a C++17 compiler, and cmake-js and node-addon-api beside tilewise.

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);

/** The folder of a package that tilewise itself does not install. */
function folderOf(name) {
  try {
    return dirname(require.resolve(`${name}/package.json`));
  } catch {
    console.error(
      `tilewise-build needs ${name}. Install both build tools next to tilewise, then try again:\n` +
        '  npm install --save-dev cmake-js node-addon-api && npx tilewise-build',
    );
    process.exit(1);
  }
}

folderOf('node-addon-api');
const cmakeJs = join(folderOf('cmake-js'), 'bin', 'cmake-js');
const { status } = spawnSync(process.execPath, [cmakeJs, 'compile', '--directory', root, ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(status ?? 1);
