// patch(): sessions that others create of paths and bytes, and get fused ones for. Reader: someone who changes patch.ts.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import ort, { InferenceSession } from 'onnxruntime-node';
import { patch } from 'tilewise/onnxruntime';
import { caseOf, differenceOf, pathOf, quiet } from './fixtures.mjs';

const bert = pathOf('bert-eager-script17.onnx');
const { feeds, y } = caseOf('bert-eager-script17.onnx');
const plain = fileURLToPath(new URL('../models/left/a mask in front of a factor.onnx', import.meta.url));

describe('patch', () => {
  it('gives fused sessions of a path, of bytes and of a buffer, to whoever imports onnxruntime', async () => {
    const patched = patch(ort);
    const bytes = readFileSync(bert);
    const { buffer } = Uint8Array.from([...new Uint8Array(8), ...bytes]);
    for (const args of [
      [bert, quiet],
      [bytes, quiet],
      [buffer, 8, bytes.length, quiet],
    ]) {
      const session = await InferenceSession.create(...args);
      assert.deepEqual(session.inputNames, ['input_ids', 'attention_mask']);
      assert.ok(differenceOf((await session.run(feeds)).y.data, y) <= 1e-4);
      await session.release();
    }
    patched.restore();
    assert.deepEqual(
      patched.sessions.map(({ source, isFused, attention }) => [source, isFused, attention.length]),
      [bert, undefined, undefined].map((source) => [source, true, 2]),
    );
    const own = await InferenceSession.create(bert, quiet);
    assert.ok(own instanceof InferenceSession);
    await own.release();
  });

  it('leaves models of which nothing is swapped, and files that are none, to onnxruntime', async () => {
    const patched = patch(ort);
    const session = await InferenceSession.create(plain, quiet);
    assert.ok(session instanceof InferenceSession);
    await session.release();
    await assert.rejects(InferenceSession.create('missing.onnx'), /missing.onnx/);
    await assert.rejects(InferenceSession.create(new Uint8Array(9)), /protobuf/);
    await assert.rejects(InferenceSession.create(bert, 5), /'options' must be an object/);
    patched.restore();
    assert.deepEqual(
      patched.sessions.map(({ source, isFused, reason }) => [source, isFused, reason]),
      [[plain, false, 'a mask is in front of a factor of the scores']],
    );
  });
});
