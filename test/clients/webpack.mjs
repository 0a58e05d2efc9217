// webpack: tilewise external runs, as an ES module and as CommonJS; bundled it knows where it was, and runs there.
// Reader: someone who changes how the package finds its folder.

import { rmSync } from 'node:fs';
import path from 'node:path';
import { bundled, program, right } from './project.mjs';

export const packages = { webpack: '5.113.0', 'webpack-cli': '6.0.1' };

const configuration = (externals) => `export default {
  mode: 'production', target: 'node20', entry: './a.mjs', externals: ${externals},
  experiments: { outputModule: true },
  output: { path: import.meta.dirname + '/o', filename: 'bundle.mjs', module: true, chunkFormat: 'module' },
};`;

export function check(project) {
  project.write('a.mjs', program);
  const build = (externals) => {
    project.write('webpack.config.mjs', configuration(externals));
    project.expect([], project.bin('webpack'), ['--config', 'webpack.config.mjs']);
  };
  build("{ tilewise: 'module tilewise' }");
  project.expect([right(project.version)], 'node', ['o/bundle.mjs']);
  build('{}');
  project.expect([right(project.version)], 'node', ['o/bundle.mjs']);
  rmSync(path.join(project.folder, 'node_modules', 'tilewise'), { recursive: true });
  project.expectFailure(bundled, 'node', ['o/bundle.mjs']);
}
