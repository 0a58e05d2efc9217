// onnxruntime: models whose attention runs in tilewise give the outputs that PyTorch gave, and the session behaves as
// onnxruntime's own. Reader: someone who changes lib/adapters/onnxruntime. The programs are in onnxruntime/, for node's test runner.

import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { writeCacheModels } from './cache-models.mjs';
import { runExamples } from './guide.mjs';
import { halfModel } from './half.mjs';
import { writeModels } from './models.mjs';
import { writeWindowed } from './windowed.mjs';

// Its own install script would fetch CUDA; the library for processors is in the package.
export const packages = { 'onnxruntime-node': '1.30.0' };

const here = fileURLToPath(new URL('.', import.meta.url));

/** Writes float16 variants of the models of a folder: of the softmax, too, and of all but it. */
function writeHalves(source, target) {
  mkdirSync(target, { recursive: true });
  for (const name of readdirSync(source).filter((file) => file.endsWith('.onnx'))) {
    const bytes = readFileSync(path.join(source, name));
    writeFileSync(path.join(target, name), halfModel(bytes, false));
    writeFileSync(path.join(target, `wide softmax, ${name}`), halfModel(bytes, true));
  }
}

export function check(project) {
  for (const folder of ['onnxruntime', 'fixtures']) {
    cpSync(path.join(here, folder), path.join(project.folder, folder), { recursive: true });
  }
  const bert = path.join(here, 'fixtures', 'bert-eager-script17.onnx');
  const models = path.join(project.folder, 'models');
  writeModels(models, bert);
  writeCacheModels(path.join(models, 'caches'));
  const graphs = path.join(here, 'fixtures');
  writeWindowed(graphs, path.join(models, 'windowed'));
  writeHalves(graphs, path.join(models, 'float16'));
  writeHalves(path.join(models, 'operators'), path.join(models, 'operators-float16'));
  const run = ['--test', '--test-reporter=tap'];
  for (const name of [
    'outputs',
    'session',
    'operators',
    'float16',
    'pattern',
    'left',
    'runs',
    'weights',
    'patch',
    'cli',
    'caches',
  ]) {
    project.expect(['# fail 0', '# cancelled 0'], process.execPath, [...run, `onnxruntime/${name}.mjs`]);
  }
  cpSync(bert, path.join(project.folder, 'model.onnx'));
  runExamples(project, 'onnxruntime', 'await fuse(ort');
}
