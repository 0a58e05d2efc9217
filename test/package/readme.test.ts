// The README says what is so: its example runs as pasted, its picture is what its command draws, it fits on two screens.
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

/** Calls `use` with a new folder that has the package installed. */
function besidePackage(use: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'tilewise-readme-'));
  try {
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(root, join(folder, 'node_modules', 'tilewise'), 'junction');
    use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it("the README's first example, pasted into a file beside the package, prints what its comment says", () => {
  besidePackage((folder) => {
    writeFileSync(join(folder, 'example.mjs'), example);
    const printed = execFileSync(process.execPath, ['example.mjs'], { cwd: folder, encoding: 'utf8' });
    expect(printed.trim()).toBe(example.match(/console\.log\(.*\/\/ (.*)\n/)![1]);
  });
});

it("examples/quickstart.mjs is the README's first example", () => {
  expect(readFileSync(join(root, 'examples', 'quickstart.mjs'), 'utf8')).toBe(example);
});

it("the README's command draws the README's picture (else: npm run docs)", () => {
  const [, command] = readme.match(/^npx tilewise (explain .* --svg \S+)$/m)!;
  const [, picture] = readme.match(/!\[[^\]]*\]\((docs\/pictures\/\S+\.svg)\)/)!;
  besidePackage((folder) => {
    const args = command.split(' ');
    execFileSync(process.execPath, [join(root, 'bin', 'tilewise.mjs'), ...args], { cwd: folder });
    expect(readFileSync(join(folder, args.at(-1)!), 'utf8')).toBe(readFileSync(join(root, picture), 'utf8'));
  });
});

it('the README has at most 120 lines', () => {
  expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(120);
});
