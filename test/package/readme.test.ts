// The README says what is so: its example runs as pasted, its support table is what the backends answer.
// Reader: someone who edits the README.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const example = readme.match(/```js\n([\s\S]*?)```/)![1];

it("the README's first example, pasted into a file beside the package, prints what its comment says", () => {
  const folder = mkdtempSync(join(tmpdir(), 'tilewise-readme-'));
  try {
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(root, join(folder, 'node_modules', 'tilewise'), 'junction');
    writeFileSync(join(folder, 'example.mjs'), example);
    const printed = execFileSync(process.execPath, ['example.mjs'], { cwd: folder, encoding: 'utf8' });
    expect(printed.trim()).toBe(example.match(/console\.log\(.*\/\/ (.*)\n/)![1]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("examples/quickstart.mjs is the README's first example", () => {
  expect(readFileSync(join(root, 'examples', 'quickstart.mjs'), 'utf8')).toBe(example);
});

it("the README's support table is what the backends answer (else: node docs/reference/support.mjs --write)", () => {
  const script = join(root, 'docs', 'reference', 'support.mjs');
  const printed = execFileSync(process.execPath, [script], { encoding: 'utf8' });
  expect(printed.trim().split('\n').length).toBeGreaterThan(10);
  expect(readme).toContain(printed);
});

it('the README lists every error code', () => {
  const codes = readFileSync(join(root, 'lib', 'errors.ts'), 'utf8').match(/(?<=\| ')ERR_TILEWISE_\w+/g)!;
  expect(codes.length).toBeGreaterThan(5);
  for (const code of codes) expect(readme).toContain(`\`${code}\``);
});
