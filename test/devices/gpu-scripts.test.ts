// The scripts for a machine with a GPU say clearly when there is none, and their ratios follow from their rows. Seeded bugs
// fit the kernels as they are. Reader: someone who changes scripts/gpu-check.mjs, bench/gpu or a kernel.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { root, runScript } from '../support/script.js';

/** Runs gpu-check.mjs where no driver is found. */
function checkWithoutDriver(...options: string[]) {
  const out = mkdtempSync(path.join(tmpdir(), 'tilewise-gpu-'));
  const env = { ...process.env, TILEWISE_LIBCUDA: '/nowhere/libcuda.so.1', TILEWISE_PREBUILD: '' };
  const args = [path.join(root, 'scripts', 'gpu-check.mjs'), out, ...options];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8', env });
  const result = JSON.parse(readFileSync(path.join(out, 'results.json'), 'utf8'));
  rmSync(out, { recursive: true });
  return { status, stdout, result };
}

describe('gpu-check without a GPU', () => {
  it('leaves everything out, with the reason', () => {
    const { status, stdout, result } = checkWithoutDriver();
    expect(stdout).toMatch(/^left out, no GPU: .*nowhere/);
    expect(status).toBe(0);
    expect(result).toMatchObject({ checks: [], passed: 0, failed: 0 });
  });

  it('fails when a GPU is required', () => {
    expect(checkWithoutDriver('--require').status).toBe(1);
  });
});

describe('the figures of a run on a GPU', () => {
  const dense = 'pattern=causal keys=16384';
  const family = 'pattern=s2 block=64 local=16 stride=16 keys=16384';
  const decode = 'queries=1 pattern=causal keys=65536 heads=64 kvHeads=8 batch=8';
  const rows = [
    { group: 'torch copy', case: 'measure=copy mib=4096', ms: 1, gbps: 4000 },
    { group: 'tilewise', case: dense, ms: 10, tflops: 300, computedPairs: 1000, keyGbps: 1 },
    { group: 'torch sdpa', backend: 'flash', case: dense, ms: 12 },
    { group: 'torch sdpa', backend: 'cudnn', case: dense, ms: 8 },
    { group: 'tilewise', case: family, ms: 4, tflops: 200, computedPairs: 250, keyGbps: 1 },
    { group: 'torch flex', case: family, ms: 6 },
    { group: 'tilewise', case: decode, ms: 1, tflops: 1, computedPairs: 1, keyGbps: 3400 },
  ];

  async function figures(): Promise<Record<string, Record<string, unknown>>> {
    const { stdout, stderr } = await runScript(`
      const { figuresOf } = await import(${JSON.stringify(path.join(root, 'bench/gpu/figures.mjs'))});
      const figures = figuresOf({ rows: ${JSON.stringify(rows)}, steps: [] });
      console.log(JSON.stringify(Object.fromEntries(figures.map((figure) => [figure.name, figure]))));
    `);
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  }

  it('compare with the best of the others, with our own dense attention and its bound, with the copy', async () => {
    const of = await figures();
    expect(of[dense]).toMatchObject({ group: 'dense', ratio: 0.8, flashRatio: 1.2 });
    expect(of[family]).toMatchObject({ group: 'family', ratio: 1.5, speedup: 2.5, bound: 4, ofBound: 0.625 });
    expect(of[decode]).toMatchObject({ group: 'decode', ofCopy: 0.85 });
    expect(of[decode]).not.toHaveProperty('ratio');
  });

  it('decide about targets, and leave what was not measured undecided', async () => {
    const { stdout } = await runScript(`
      const { figuresOf } = await import(${JSON.stringify(path.join(root, 'bench/gpu/figures.mjs'))});
      const { gpuTargets } = await import(${JSON.stringify(path.join(root, 'bench/gpu/targets.mjs'))});
      const figures = figuresOf({ rows: ${JSON.stringify(rows)}, steps: [] });
      console.log(JSON.stringify([gpuTargets(figures), gpuTargets([])]));
    `);
    const [some, none] = JSON.parse(stdout) as { measured: string; isMet: boolean | null }[][];
    expect(some.map(({ isMet }) => isMet)).toEqual([true, null, null, false, true, null]);
    expect(none.every(({ measured, isMet }) => measured === 'not measured' && isMet === null)).toBe(true);
  });
});

describe('the seeded bugs', () => {
  it('each apply to one place of the kernels', () => {
    const script = path.join(root, 'scripts', 'mutants.mjs');
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--list'], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout.trim().split('\n').length).toBeGreaterThanOrEqual(40);
  });
});
