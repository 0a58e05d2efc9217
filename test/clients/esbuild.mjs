// esbuild: tilewise external runs; bundled it says what to do, as an ES module and as CommonJS, which has no import.meta.
// Reader: someone who changes how the package finds its folder.

import { cpSync } from 'node:fs';
import path from 'node:path';
import { bundled, program, right } from './project.mjs';

export const packages = { esbuild: '0.28.2' };

export function check(project) {
  project.write('a.mjs', program);
  project.write('b.mjs', "import { versions } from 'tilewise'; console.log(versions.tilewise);");
  const build = (entry, outfile, ...options) =>
    project.expect([], project.bin('esbuild'), [
      entry,
      ...['--bundle', '--platform=node', '--log-level=error', `--outfile=${outfile}`, ...options],
    ]);
  build('a.mjs', 'o/external.mjs', '--format=esm', '--external:tilewise');
  project.expect([right(project.version)], 'node', ['o/external.mjs']);
  build('b.mjs', 'o/external.cjs', '--format=cjs', '--external:tilewise');
  project.expect([project.version], 'node', ['o/external.cjs']);
  build('b.mjs', 'o/b/inside.mjs', '--format=esm');
  build('b.mjs', 'o/b/inside.cjs', '--format=cjs');
  for (const copies of [false, true]) {
    // With the binary beside it, a bundle must not run under the application's version.
    const from = path.join(project.folder, 'node_modules', 'tilewise', 'prebuilds');
    if (copies) cpSync(from, path.join(project.folder, 'prebuilds'), { recursive: true });
    for (const bundle of ['o/b/inside.mjs', 'o/b/inside.cjs']) project.expectFailure(bundled, 'node', [bundle]);
  }
}
