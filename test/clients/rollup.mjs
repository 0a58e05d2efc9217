// Rollup: tilewise external runs; bundled it says what to do. Reader: someone who changes how the package finds its folder.

import { bundled, program, right } from './project.mjs';

export const packages = { rollup: '4.68.8', '@rollup/plugin-node-resolve': '16.0.3' };

const configuration = (isExternal) => `import resolve from '@rollup/plugin-node-resolve';
  export default { input: 'a.mjs', external: [/^node:/, ${isExternal ? "'tilewise'" : ''}], plugins: [resolve()],
    output: { file: 'o/b/bundle.mjs', format: 'es' } };`;

export function check(project) {
  project.write('a.mjs', program);
  const build = (isExternal) => {
    project.write('rollup.config.mjs', configuration(isExternal));
    project.expect([], project.bin('rollup'), ['--config', 'rollup.config.mjs', '--silent']);
  };
  build(true);
  project.expect([right(project.version)], 'node', ['o/b/bundle.mjs']);
  build(false);
  project.expectFailure(bundled, 'node', ['o/b/bundle.mjs']);
}
