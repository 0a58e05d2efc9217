// piscina: workers that share memory compute what one thread computes, to the bit. Reader: someone who runs tilewise in a pool of
// workers. The programs are in workers/, the first one for node's test runner.

import { cpSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const packages = { piscina: '5.3.2' };

export function check(project) {
  cpSync(fileURLToPath(new URL('workers', import.meta.url)), path.join(project.folder, 'workers'), { recursive: true });
  const run = ['--test', '--test-reporter=tap', 'workers/pool.mjs'];
  project.expect(['# pass 3', '# fail 0', '# cancelled 0'], process.execPath, run);
}
