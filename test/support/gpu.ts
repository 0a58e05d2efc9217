// Tests that need a GPU, real or emulated. Reader: someone who wonders why a test was skipped: its name says why.

import { describe } from 'vitest';
import { type DeviceInfo, devices } from '../../dist/index.js';

const found = devices().find(({ name }) => name === 'cuda') as DeviceInfo;

/** More GPUs than the first. */
export const others: readonly DeviceInfo[] = devices().filter(
  ({ name, isAvailable }) => name.startsWith('cuda:') && isAvailable,
);

/** Tests on the device 'cuda', skipped where there is none. */
export function onGpu(name: string, tests: () => void): void {
  if (found.isAvailable) describe(name, tests);
  else describe.skip(`${name} (no GPU: ${found.reason})`, tests);
}
