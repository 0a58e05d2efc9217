// ONNX's own Attention cases (opset 23 to 25) through the public API, on every backend: an outside opinion on what the
// options mean. Reader: someone who wants to know where our semantics come from; onnx/attention.mjs is the dictionary.
// The data is not part of this repository; `npm run conformance:onnx -- <folder>` runs it from anywhere.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { onEveryBackend } from '../conformance/suite.js';
import { runFolder } from '../onnx/run.mjs';

const folder = fileURLToPath(new URL('../../../shared/conformance/onnx/data', import.meta.url));
const isHere = existsSync(folder);

describe.skipIf(!isHere)(isHere ? 'ONNX Attention' : `ONNX Attention: skipped, there is no ${folder}`, () => {
  onEveryBackend((backend) => {
    it('all 87 cases, every output', () => {
      const results = runFolder(folder, backend.device);
      expect(results.filter((result) => result.faults.length > 0)).toEqual([]);
      expect(results.length).toBe(87);
    });
  });
});
