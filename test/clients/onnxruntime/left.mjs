// What cannot be swapped: onnxruntime runs it, the reason is named, and errors of onnxruntime are its own.
// Reader: someone who adds a reason, or takes one away.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';
import { fuse } from 'tilewise/onnxruntime';
import { folderOf } from './feeds.mjs';
import { differenceOf, quiet } from './fixtures.mjs';

const reasons = {
  'a mask of rank 5': 'its mask has rank 5',
  'an unknown domain': "the domain 'my.ops' is unknown here",
  'dynamic heads': 'its heads are dynamic: their number or dim is not known before a run',
  'quantized products': 'its product is quantized (MatMulInteger)',
  'rounded scores': 'its scores are cast to int32',
  'true and false for weights': 'its weights are cast to bool',
  'weights that are hidden': 'its weights are replaced by a Where behind the softmax',
  'weights that are read elsewhere': 'its weights are read elsewhere',
};

const numbers = (seed, dims) => {
  const size = dims.reduce((a, b) => a * b, 1);
  const data = Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i));
  return new ort.Tensor('float32', data, dims);
};

/** Runs a model whole and fused on the same feeds. */
async function both(file, feeds) {
  const whole = await ort.InferenceSession.create(file, quiet);
  const session = await fuse(ort, file, { sessionOptions: quiet });
  const [want, got] = [await whole.run(feeds), await session.run(feeds)];
  assert.deepEqual(got.y.dims, want.y.dims);
  assert.ok(differenceOf(got.y.data, want.y.data) <= 2e-6, `${differenceOf(got.y.data, want.y.data)}`);
  await Promise.all([session.release(), whole.release()]);
  return session.attention;
}

describe('what stays with onnxruntime', () => {
  it('is all here', () => {
    const names = Object.keys(reasons).map((name) => `${name}.onnx`);
    assert.deepEqual(readdirSync(folderOf('failures')).sort(), names);
  });

  for (const [name, reason] of Object.entries(reasons)) {
    it(`runs, and says why: ${name}`, async () => {
      const feeds = { q: numbers(0, [2, 3, 5, 8]), k: numbers(1, [2, 3, 7, 8]), v: numbers(2, [2, 3, 7, 6]) };
      const more = name.includes('rank 5') ? { bias: numbers(3, [1, 2, 1, 5, 7]) } : {};
      const attention = await both(`${folderOf('failures')}${name}.onnx`, { ...feeds, ...more });
      assert.deepEqual(
        attention.map((site) => [site.swap, site.reason]),
        [[undefined, reason]],
      );
    });
  }
});

describe('weights that are not beside the model', () => {
  const file = `${folderOf('elsewhere')}no weights.onnx`;

  it("are onnxruntime's own error", async () => {
    const words = await ort.InferenceSession.create(file, quiet).then(
      () => assert.fail('it loads'),
      ({ message }) => message,
    );
    assert.match(words, /external.data/);
    await assert.rejects(fuse(ort, file, { sessionOptions: quiet }), ({ code, message }) => {
      assert.ok(!`${code}`.startsWith('ERR_TILEWISE'), message);
      assert.match(message, /external.data/);
      return true;
    });
  });

  it('are named by npx tilewise onnx', () => {
    const command = fileURLToPath(new URL('../node_modules/tilewise/bin/tilewise.mjs', import.meta.url));
    const printed = execFileSync(process.execPath, [command, 'onnx', file], { encoding: 'utf8' });
    assert.match(printed, /^no weights.onnx: 2 attentions/);
    assert.match(printed, /external.data is missing beside the model: onnxruntime cannot load it/);
  });
});

describe('lengths that have one name', () => {
  it('may differ, as in onnxruntime: one batch entry of keys stands for all', async () => {
    const feeds = { q: numbers(0, [2, 3, 5, 8]), k: numbers(1, [1, 7, 3, 8]), v: numbers(2, [1, 3, 7, 6]) };
    const attention = await both(`${folderOf('.')}named.onnx`, feeds);
    assert.deepEqual(
      attention.map(({ reason }) => reason),
      [undefined],
    );
  });

  it('are refused where they do not broadcast, by both', async () => {
    const file = `${folderOf('.')}named.onnx`;
    const feeds = { q: numbers(0, [2, 3, 5, 8]), k: numbers(1, [3, 7, 3, 8]), v: numbers(2, [3, 3, 7, 6]) };
    const whole = await ort.InferenceSession.create(file, { logSeverityLevel: 4 });
    const session = await fuse(ort, file, { sessionOptions: quiet });
    await assert.rejects(whole.run(feeds));
    await assert.rejects(session.run(feeds), { code: 'ERR_TILEWISE_SHAPE_MISMATCH' });
    await Promise.all([session.release(), whole.release()]);
  });
});
