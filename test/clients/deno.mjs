// Deno: a program runs with the permissions that the guide names, and says which are missing without.
// Reader: someone who changes what is read when the package loads.

import path from 'node:path';
import process from 'node:process';
import { program, right } from './project.mjs';

export const packages = { deno: '2.9.6' };

export function check(project) {
  const name = process.platform === 'linux' ? `linux-${process.arch}-glibc` : `${process.platform}-${process.arch}`;
  const deno = path.join(project.folder, 'node_modules', '@deno', name, 'deno');
  project.write('a.mjs', program);
  const run = (...permissions) => ['run', '--quiet', '--no-prompt', ...permissions, 'a.mjs'];
  const all = ['--allow-ffi', '--allow-read', '--allow-env'];
  const env = { DENO_NO_UPDATE_CHECK: '1' };
  project.expect([right(project.version)], deno, run(...all), env);
  for (const missing of all) {
    const rest = all.filter((permission) => permission !== missing);
    project.expectFailure(
      ['ERR_TILEWISE_NO_BINARY', '--allow-ffi, --allow-read and --allow-env'],
      deno,
      run(...rest),
      env,
    );
  }
}
