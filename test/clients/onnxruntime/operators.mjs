// Operators: each gives what onnxruntime gives for it. Reader: someone who adds an operator, or a form of one.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import ort from 'onnxruntime-node';
import { fuse } from 'tilewise/onnxruntime';
import { differenceOf, quiet } from './fixtures.mjs';

const folderOf = (kind) => fileURLToPath(new URL(`../models/${kind}/`, import.meta.url));

/** Numbers between -1 and 1 that are never alike; of masks, three of four are true. */
function feedOf({ type, shape }, seed) {
  const size = shape.reduce((a, b) => a * b, 1);
  const wave = Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i));
  if (type === 'float32') return new ort.Tensor(type, Float32Array.from(wave), shape);
  const shown = wave.map((x) => Number(x > -0.7));
  return type === 'bool'
    ? new ort.Tensor(type, Uint8Array.from(shown), shape)
    : new ort.Tensor(type, Int32Array.from(shown), shape);
}

/** Compares a fused model with the whole one; returns the reasons of its sites. */
async function compare(file) {
  const whole = await ort.InferenceSession.create(file, quiet);
  const session = await fuse(ort, file, { sessionOptions: quiet });
  const feeds = Object.fromEntries(whole.inputMetadata.map((input, i) => [input.name, feedOf(input, i)]));
  const [expected, out] = [await whole.run(feeds), await session.run(feeds)];
  assert.deepEqual(out.y.dims, expected.y.dims);
  assert.ok(differenceOf(out.y.data, expected.y.data) <= 2e-6, `${differenceOf(out.y.data, expected.y.data)}`);
  await Promise.all([session.release(), whole.release()]);
  return session.attention.map(({ reason }) => reason);
}

describe('the output of onnxruntime', () => {
  for (const name of readdirSync(folderOf('operators'))) {
    it(name, async () => assert.deepEqual(await compare(folderOf('operators') + name), [undefined]));
  }

  it('also of what onnxruntime refuses to have cut', async () => {
    const [reason] = await compare(`${folderOf('left')}a sequence around it.onnx`);
    assert.match(reason, /^onnxruntime refuses the graph without it: /);
  });

  it('also of what stays there', async () => {
    assert.deepEqual(await compare(`${folderOf('left')}projections inside.onnx`), [
      'its projections are inside the operator',
    ]);
  });
});
