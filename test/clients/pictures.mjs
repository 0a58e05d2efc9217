// sharp: the example of docs/guide/pictures.md takes the noise out of a picture that the test draws. Reader: someone who edits that
// page. The program is in pictures/, for node's test runner.

import { cpSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { examplesOf } from './guide.mjs';

export const packages = { sharp: '0.35.5' };

export function check(project) {
  const folder = path.join(project.folder, 'pictures');
  cpSync(fileURLToPath(new URL('pictures', import.meta.url)), folder, { recursive: true });
  project.write('example.mjs', examplesOf('pictures', 'neighborhoodAttention')[0].code);
  const run = ['--test', '--test-reporter=tap', 'pictures/denoise.mjs'];
  project.expect(['# pass 2', '# fail 0', '# cancelled 0'], process.execPath, run);
}
