// The demo tells the truth: what it prints is checked, not how fast it was.
// Reader: someone who edits examples/.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What `npm run demo -- ...args` prints, run in `cwd`. */
function demo(args: string[], cwd = root): string {
  return execFileSync(process.execPath, [join(root, 'examples', 'demo.mjs'), ...args], { cwd, encoding: 'utf8' });
}

/** The number in the group of a pattern, which must be there. */
function numberIn(printed: string, pattern: RegExp): number {
  const found = printed.match(pattern);
  if (!found) throw new Error(`no ${pattern} in what the demo printed:\n${printed}`);
  return Number(found[1]);
}

describe('the text demo', () => {
  let printed: string;
  beforeAll(() => {
    printed = demo([join(root, 'README.md')]);
  });
  const bitsOf = (name: string) => numberIn(printed, new RegExp(`^${name} +([0-9.]+)`, 'm'));

  it('predicts better than character frequencies do, with every pattern', () => {
    const orderZero = numberIn(printed, /order-0: ([0-9.]+) bits per character/);
    for (const name of ['dense', 'window and sinks', 'S2', 'HiP']) expect(bitsOf(name)).toBeLessThan(0.9 * orderZero);
  });

  it('finds with HiP nearly what dense attention knows', () => {
    expect(bitsOf('HiP')).toBeLessThan(1.05 * bitsOf('dense'));
  });

  it('agrees with a naive loop', () => {
    expect(numberIn(printed, /the two differ by (\S+)\)/)).toBeLessThan(1e-4);
  });
});

describe('the image demo', () => {
  let folder: string;
  let printed: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tilewise-demo-'));
    printed = demo(['--image'], folder);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('takes most of the noise out', () => {
    const before = numberIn(printed, /PSNR: ([0-9.]+) dB with noise/);
    expect(numberIn(printed, /, ([0-9.]+) dB after/)).toBeGreaterThan(before + 10);
  });

  it('agrees with a naive loop, also where two bands meet', () => {
    expect(numberIn(printed, /the two differ by (\S+)\)/)).toBeLessThan(1e-4);
  });

  it('reads the PNG that it wrote', () => {
    const file = join(folder, 'out', 'after.png');
    expect(readFileSync(file).subarray(1, 4).toString()).toBe('PNG');
    expect(demo(['--image', file], folder)).toContain(`${file}: 512 x 512`);
  });
});
