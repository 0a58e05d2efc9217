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

describe('the writing demo', () => {
  it('says what a cache costs and forgets in each form, on 2000 characters', () => {
    const printed = demo(['--chat']);
    const cellsOf = (name: string) =>
      printed
        .match(new RegExp(`^${name}  +([\\d.]+) +(\\d+) +(\\d+) +\\d+$`, 'm'))!
        .slice(1)
        .map(Number);
    const [bits, seen, kib] = cellsOf('dense');
    const [windowBits, windowSeen, windowKib] = cellsOf('window of 252 and 4 sinks');
    const [ringBits, ringSeen, ringKib] = cellsOf('ring of 252 and 4 sinks');
    const [halfBits, halfSeen, halfKib] = cellsOf('dense, float16');
    expect([seen, halfSeen, windowSeen, ringSeen]).toEqual([2000, 2000, 256, 256]);
    // 8 pages of 256 tokens: 3 layers of 2 heads, keys and values of 32 float32 each. A ring has pages of 64:
    // one of its sinks, and five that its 252 tokens are on.
    expect([kib, halfKib, windowKib]).toEqual([3072, 1536, 3072]);
    expect(ringKib).toBe((6 * 3072) / 32);
    expect(Math.abs(halfBits - bits)).toBeLessThan(0.01);
    expect(ringBits).toBe(windowBits);
    expect(ringBits).toBeLessThan(bits);
  });
});
