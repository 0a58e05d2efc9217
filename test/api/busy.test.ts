// The warning TILEWISE_BUSY, with a made-up source of run times. Reader: someone who got it, or did not.

import { describe, expect, it } from 'vitest';
import { BusyWatch } from '../../dist/call/busy.js';
import { attention } from '../../dist/index.js';
import { native } from '../../dist/native/native.js';
import { operands } from '../support/tensors.js';

/** A watch over threads that run and wait as `next` says before each look; returns what was said. */
function watching(hasOnnxruntime = () => true) {
  const times = { ran: 0, waited: 0 };
  const said: string[] = [];
  let looks = 0;
  const watch = new BusyWatch({
    runTimes: () => ({ ...times, looks: ++looks }),
    hasOnnxruntime,
    warn: (message) => said.push(message),
  });
  const calls = (count: number, ran: number, waited: number) => {
    times.ran += ran;
    times.waited += waited;
    for (let i = 0; i < count; ++i) watch.count();
    return said.length;
  };
  return { watch, calls, said, looks: () => looks };
}

describe('a process with onnxruntime', () => {
  it('is warned when threads waited more than 30 % over 50 calls', () => {
    const { calls, said } = watching();
    expect(calls(49, 69e6, 31e6)).toBe(0);
    expect(calls(1, 0, 0)).toBe(1);
    expect(said[0]).toContain('31 %');
    expect(said[0]).toContain("allow_spinning: '0'");
  });

  it('is not warned at 30 %, nor where nothing is counted', () => {
    expect(watching().calls(50, 70e6, 30e6)).toBe(0);
    expect(watching().calls(500, 0, 0)).toBe(0);
  });

  it('is judged by the last 50 calls, not by all', () => {
    const { calls } = watching();
    expect(calls(50, 1e9, 0)).toBe(0);
    expect(calls(50, 6e6, 4e6)).toBe(1);
  });

  it('is not warned where its threads are known not to spin', () => {
    const { calls, watch } = watching();
    watch.rest();
    expect(calls(500, 1e6, 9e6)).toBe(0);
  });

  it('is warned once, and not asked any more', () => {
    const { calls, looks } = watching();
    expect(calls(50, 5e6, 5e6)).toBe(1);
    expect(calls(500, 5e6, 50e6)).toBe(1);
    expect(looks()).toBe(1);
  });
});

it.runIf(process.platform === 'linux')('threads that work on calls are timed', async () => {
  const { q, k, v } = operands(256, 4, 32);
  const before = native.runTimes().ran;
  await Promise.all([attention(q, k, v), attention(q, k, v)]);
  expect(native.runTimes().ran - before).toBeGreaterThan(1e5);
});

it('a process without onnxruntime is never warned: others may be there on purpose', () => {
  expect(watching(() => false).calls(500, 1e6, 9e6)).toBe(0);
});

it('a process is seldom asked for onnxruntime that it has not, and warned when it has', () => {
  let questions = 0;
  let isLoaded = false;
  const { calls } = watching(() => {
    ++questions;
    return isLoaded;
  });
  const look = () => calls(50, 1e6, 9e6);
  for (let i = 0; i < 1000; ++i) look();
  expect(questions).toBeLessThan(25);
  isLoaded = true;
  let looks = 1;
  while (look() === 0) ++looks;
  expect(looks).toBeLessThan(100);
});
