// The conformance suite on the addon of the emulated tree, which has machines of emulator/ in the driver's place.
// Reader: emulated-tests.mjs and ptx-tests.mjs.
import process from 'node:process';
import { prebuildOf, run } from './trees.mjs';

/** The tests inside onEveryBackend(), and those about devices that need a working one. */
export const kernelSuite = [
  'test/laws/',
  'test/families/',
  'test/references/onnx',
  'test/devices/choosing',
  'test/devices/tensors',
  'test/devices/calls',
  'test/devices/memory',
];

/**
 * Runs vitest.
 * @param {string[]} args files, and options of vitest
 * @param {Record<string, string>} env
 * @returns {Promise<boolean>} whether it succeeded
 */
export function runKernelSuite(args, env = {}) {
  // What takes a millisecond elsewhere may take seconds here.
  return run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--testTimeout=600000', ...args], {
    TILEWISE_PREBUILD: prebuildOf('emulated'), // node-gyp-build looks for the addon below this folder first
    TILEWISE_TEST_BACKENDS: process.env.TILEWISE_TEST_BACKENDS ?? 'cuda',
    ...env,
  });
}
