// onnxruntime: models whose attention runs in tilewise give the outputs that PyTorch gave, and the session behaves as
// onnxruntime's own. Reader: someone who changes lib/adapters/onnxruntime. The programs are in onnxruntime/, for node's test runner.

import { cpSync, readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { writeModels } from './models.mjs';

// Its own install script would fetch CUDA; the library for processors is in the package.
export const packages = { 'onnxruntime-node': '1.30.0' };

const here = fileURLToPath(new URL('.', import.meta.url));
const guide = fileURLToPath(new URL('../../docs/guide/onnxruntime.md', import.meta.url));

/** The example of the guide, and what its comments say that it prints. */
function exampleOfGuide() {
  const blocks = [...readFileSync(guide, 'utf8').matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code);
  const code = blocks.find((block) => block.includes("from 'tilewise/onnxruntime'"));
  return { code, said: [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(([, words]) => words) };
}

export function check(project) {
  for (const folder of ['onnxruntime', 'fixtures']) {
    cpSync(path.join(here, folder), path.join(project.folder, folder), { recursive: true });
  }
  const bert = path.join(here, 'fixtures', 'bert-eager-script17.onnx');
  writeModels(path.join(project.folder, 'models'), bert);
  const run = ['--test', '--test-reporter=tap'];
  for (const name of ['outputs', 'session', 'operators']) {
    project.expect(['# fail 0', '# cancelled 0'], process.execPath, [...run, `onnxruntime/${name}.mjs`]);
  }
  const { code, said } = exampleOfGuide();
  cpSync(bert, path.join(project.folder, 'model.onnx'));
  project.write('example.mjs', code);
  project.expect([said.join('\n')], process.execPath, ['example.mjs']);
}
