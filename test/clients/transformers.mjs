// transformers.js: generate() of the character Llama gives the text that the example's own JavaScript gives, with onnxruntime alone
// and with attention in tilewise. Reader: someone who changes patch(), or caches. The programs are in transformers/.

import { cpSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { generate, reader } from '../../examples/generate.mjs';
import { runExamples } from './guide.mjs';
import { writeLlama } from './llama.mjs';

export const packages = { '@huggingface/transformers': '4.3.2' };

const beginning = 'Call me Ishmael. ';

export async function check(project) {
  const folder = (name) => path.join(project.folder, name);
  for (const form of ['eager', 'gqa']) writeLlama(folder(`models/llama-${form}`), form);
  const expected = { beginning, text: await generate(reader(), beginning, 80) };
  project.write('expected.json', JSON.stringify(expected));
  mkdirSync(folder('transformers'));
  cpSync(fileURLToPath(new URL('transformers', import.meta.url)), folder('transformers'), { recursive: true });
  const run = ['--test', '--test-reporter=tap', 'transformers/generate.mjs'];
  project.expect(['# pass 3', '# fail 0', '# cancelled 0'], process.execPath, run);
  cpSync(folder('models/llama-gqa'), folder('models/llama'), { recursive: true });
  runExamples(project, 'onnxruntime', "from '@huggingface/transformers'");
}
