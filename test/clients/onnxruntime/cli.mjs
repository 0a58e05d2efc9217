// `npx tilewise onnx --check`: runs models whole and fused, with the onnxruntime of the folder that it is called in.
// Reader: someone who changes bin/onnx/check.mjs or inputs.mjs.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('..', import.meta.url));
const bin = path.join(folder, 'node_modules', 'tilewise', 'bin', 'tilewise.mjs');

function check(file, ...args) {
  const all = [bin, 'onnx', '--check', ...args, file];
  const { status, stdout, stderr } = spawnSync(process.execPath, all, { cwd: folder, encoding: 'utf8' });
  assert.equal(stderr, '');
  return { status, stdout };
}

describe('tilewise onnx --check', () => {
  // 512 tokens, the 64 that GPT-2 has positions for, a relative bias, pictures.
  for (const [name, dims] of Object.entries({
    'bert-eager-script17': [1, 512, 64],
    'gpt2-eager-script17': [1, 64, 100],
    't5-eager-script17': [1, 512, 64],
    'vit-sdpa-script17': [1, 17, 64],
  })) {
    it(`${name}: both ran, the outputs agree`, () => {
      const { status, stdout } = check(`fixtures/${name}.onnx`, '--json');
      const { isSame, swapped, outputs, milliseconds } = JSON.parse(stdout).check;
      assert.deepEqual([status, isSame, swapped], [0, true, 2]);
      assert.deepEqual(
        outputs.map((output) => [output.name, output.dims]),
        [['y', dims]],
      );
      assert.ok(outputs[0].difference < 1e-4 && milliseconds.whole > 0 && milliseconds.fused > 0);
    });
  }

  it('takes lengths by the names of axes, and says what came out', () => {
    const { status, stdout } = check('fixtures/bert-eager-script17.onnx', '--tokens', '20', '--lengths', 'batch=3');
    assert.equal(status, 0);
    assert.match(
      stdout,
      /check with 20 tokens: the outputs agree\noutput .*\ny +\[3, 20, 64\] .*\nonnxruntime [\d.]+ ms, fused/,
    );
  });

  it('fails with exit code 1 where onnxruntime does not run the model', () => {
    const { status, stdout } = check('models/refused/an operator of nobody.onnx');
    assert.equal(status, 1);
    assert.match(stdout, /check with 512 tokens: failed: .*Frobnicate/);
    const { check: said } = JSON.parse(check('fixtures/clip-eager-script17.onnx', '--tokens', '512', '--json').stdout);
    assert.deepEqual([said.isSame, said.tokens], [false, 512]);
    assert.match(said.failure, /20 by 512/);
  });
});
